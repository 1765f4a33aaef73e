// simulated_host.cpp - routes, neighbours and the port table in plain memory
#include "tests/support/simulated_host.h"

#include <arpa/inet.h>

#include <algorithm>

#include "xdp/steer_abi.h"

namespace underpass::test {

namespace {
// As give_port_away() has it.
constexpr uint32_t kOtherSlot = 6;
}  // namespace

IpAddress ip(const char* text) {
  in6_addr v6{};
  if (inet_pton(AF_INET6, text, &v6) == 1) return IpAddress::from_v6(v6);
  return IpAddress::from_v4(inet_addr(text));
}

const char* end_of(int family, int side) {
  if (family == AF_INET) return side == 0 ? "10.0.0.1" : "10.0.0.2";
  return side == 0 ? "fd00::1" : "fd00::2";
}

Result<Route> SimulatedView::route(const IpAddress& destination, const IpAddress&) {
  if (route_error_ != 0) return Error{route_error_};
  Route route;
  // (127.0.0.0/8 may be on the wire: tests of what needs kernel sockets have their hosts there.)
  const bool to_ourselves = destination == own_ || destination == ip("::1");
  route.through_interface = !to_ourselves && !elsewhere_;
  route.next_hop = destination;
  route.source = own_;
  route.mtu_bytes = 1500;
  return route;
}

NeighbourView SimulatedView::neighbour(const IpAddress& ip) {
  const auto it = entries_.find(ip.bytes);
  NeighbourView view = it == entries_.end() ? NeighbourView{} : it->second;
  if (it == entries_.end()) view.state = NeighbourState::kReachable;
  view.ip = ip;
  view.mac = peer_mac_;
  return view;
}

Result<void> SimulatedView::move_out(const ConnectionState& connection,
                                     std::span<const uint8_t> bytes, int fd) {
  if (move_error != 0) return Error{move_error};
  moved.push_back({connection, {bytes.begin(), bytes.end()}, fd});
  return {};
}

Result<void> SimulatedView::hand_over(const SocketAddress& listener, int) {
  if (move_error != 0) return Error{move_error};
  handed_over.push_back(listener);
  return {};
}

Result<ConnectionSnapshot> SimulatedView::move_in(int) {
  if (move_error != 0 || moved.empty()) return Error{move_error != 0 ? move_error : EINVAL};
  ConnectionSnapshot last{moved.back().connection, moved.back().bytes};
  moved.pop_back();
  return last;
}

void SimulatedView::resolve(const IpAddress& ip) {
  ++resolves_;
  const auto it = entries_.find(ip.bytes);
  if (it != entries_.end() && it->second.state == NeighbourState::kEmpty) {
    it->second.state = NeighbourState::kIncomplete;
    ++neighbours_;
  }
}

std::optional<uint8_t> SimulatedView::setting(const char* name) const {
  const auto it = settings_.find(name);
  if (it == settings_.end()) return std::nullopt;
  return it->second;
}

void SimulatedView::set_neighbour(const IpAddress& ip, NeighbourState state) {
  NeighbourView& entry = entries_[ip.bytes];
  entry.state = state;
  if (state == NeighbourState::kFailed) ++entry.failures;
  ++neighbours_;
}

void SimulatedView::set_route_error(int error) {
  route_error_ = error;
  ++routes_;
}

void SimulatedView::evict(const IpAddress& ip) {
  entries_[ip.bytes] = {};
  ++neighbours_;
}

void SimulatedView::set_elsewhere(bool elsewhere) {
  elsewhere_ = elsewhere;
  ++routes_;
}

SimulatedHost::SimulatedHost(SimulatedPort& port, const char* address, const MacAddress& peer_mac)
    : address_(ip(address)),
      port_(port),
      view_(address_),
      entries_(UP_PORT_ENTRIES),
      ports_(entries_.data(), -1, 0),
      slot_(std::make_unique<ClientSlot>()) {
  view_.set_peer_mac(peer_mac);
  stack_ = std::make_unique<Stack>(
      Stack::Setup{port_, view_, ports_, *slot_, address_, 24, VirtualClock::now});
}

uint32_t SimulatedHost::port_owner(uint8_t protocol, uint16_t port, int family) const {
  const uint32_t index = port_index_of(protocol, {IpAddress::any(family), port, 0});
  return static_cast<uint32_t>(entries_[index].value & UP_PORT_SLOT_MASK);
}

IpAddress SimulatedHost::port_claim(uint8_t protocol, uint16_t port) const {
  const uint64_t entry =
      entries_[port_index_of(protocol, {IpAddress::any(AF_INET), port, 0})].value;
  return IpAddress::from_v4(static_cast<uint32_t>(entry >> UP_PORT_ADDRESS_SHIFT));
}

void SimulatedHost::give_port_away(uint8_t protocol, uint16_t port, int family) {
  entries_[port_index_of(protocol, {IpAddress::any(family), port, 0})].value = 7;
}

void SimulatedHost::share_port(uint16_t port, bool waits) {
  PortTable others(entries_.data(), -1, kOtherSlot);
  const SocketAddress local{IpAddress::any(address_.family()), port, 0};
  static_cast<void>(others.join(IPPROTO_TCP, local).ok());
  others.wait(IPPROTO_TCP, local, waits);
}

void SimulatedHost::unshare_port(uint16_t port) {
  PortTable others(entries_.data(), -1, kOtherSlot);
  others.leave(IPPROTO_TCP, {IpAddress::any(address_.family()), port, 0});
}

bool SimulatedHost::has_share(uint16_t port) const {
  const SocketAddress local{IpAddress::any(address_.family()), port, 0};
  return (entries_[port_index_of(IPPROTO_TCP, local)].members & UP_MEMBER(0)) != 0;
}

TcpListener* SimulatedHost::listen(uint16_t port, int backlog) {
  return listen_on(SocketAddress{IpAddress::any(address_.family()), port, 0}, backlog);
}

TcpListener* SimulatedHost::listen_on(const Binding& local, int backlog) {
  auto opened = TcpListener::open(*stack_, local, backlog, listener_events, 3);
  return opened ? *opened : nullptr;
}

Result<TcpEndpoint*> SimulatedHost::try_connect(const SimulatedHost& to, uint16_t port,
                                                uint16_t from_port, const TcpOptions& options) {
  auto made =
      TcpEndpoint::connect(*stack_, {address_, from_port, 0}, {to.address_, port, 0}, options, 4);
  if (made) (*made)->set_owner(&client_events, 4);
  return made;
}

TcpEndpoint* SimulatedHost::connect(const SimulatedHost& to, uint16_t port, uint16_t from_port,
                                    const TcpOptions& options) {
  auto made = try_connect(to, port, from_port, options);
  return made ? *made : nullptr;
}

Network::Network(uint64_t seed, int family)
    : wire(seed),
      a(wire.port(0), end_of(family, 0), wire.port(1).capabilities().mac),
      b(wire.port(1), end_of(family, 1), wire.port(0).capabilities().mac) {}

uint64_t Network::next_event_ns() {
  return std::min(
      {wire.next_arrival_ns(), a.stack().next_deadline_ns(), b.stack().next_deadline_ns()});
}

Connection establish(Network& network, uint16_t port, const TcpOptions& options) {
  static uint16_t from_port = 40000;
  Connection made;
  made.listener = network.b.listen(port);
  if (made.listener == nullptr) return made;
  made.client = network.a.connect(network.b, port, ++from_port, options);
  network.run_until([&] { return made.listener->ready() && !made.client->connecting(); });
  made.server = made.listener->take();
  return made;
}

ssize_t send_bytes(TcpEndpoint& endpoint, const void* data, size_t bytes, int flags) {
  const iovec piece{const_cast<void*>(data), bytes};
  auto sent = endpoint.send({&piece, 1}, 0, flags);
  return sent ? static_cast<ssize_t>(*sent) : -sent.error();
}

ssize_t receive_bytes(TcpEndpoint& endpoint, void* data, size_t bytes, int flags) {
  const iovec piece{data, bytes};
  auto got = endpoint.receive({&piece, 1}, 0, flags);
  return got ? static_cast<ssize_t>(*got) : -got.error();
}

std::string receive_text(TcpEndpoint& endpoint) {
  std::string text(65536, '\0');
  const ssize_t got = receive_bytes(endpoint, text.data(), text.size());
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

}  // namespace underpass::test
