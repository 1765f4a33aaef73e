// simulated_host.h - a stack on one end of a simulated wire, and the kernel it believes to stand on
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "stack/host_view.h"
#include "stack/stack.h"
#include "stack/tcp_endpoint.h"
#include "stack/tcp_listener.h"
#include "stack/udp_endpoint.h"
#include "tests/support/one_thread.h"
#include "tests/support/simulated_wire.h"

namespace underpass::test {

// Of either family.
IpAddress ip(const char* text);
// 10.0.0.1 and 10.0.0.2, or fd00::1 and fd00::2: the ends of the wire, by their side.
const char* end_of(int family, int side);

// Routes and neighbours. Whoever is not in the tables is on the wire, with the peer's MAC.
class SimulatedView : public HostView {
 public:
  explicit SimulatedView(const IpAddress& own) : own_(own) {}
  Result<Route> route(const IpAddress& destination, const IpAddress& source) override;
  uint64_t route_generation() const override { return routes_; }
  NeighbourView neighbour(const IpAddress& ip) override;
  void resolve(const IpAddress& ip) override;
  uint64_t neighbour_generation() const override { return neighbours_; }
  std::optional<uint8_t> setting(const char* name) const override;
  std::optional<Unreachable> next_unreachable() override { return std::exchange(said_, {}); }
  Result<void> move_out(const ConnectionState& connection, std::span<const uint8_t> bytes,
                        int fd) override;

  Result<void> hand_over(const SocketAddress& listener, int fd) override;
  void collect(const SocketAddress&) override { ++collected; }
  std::optional<HandedOver> next_handed_over() override {
    return std::exchange(coming_, std::nullopt);
  }
  // From another process.
  void bring(const SocketAddress& listener, Fd socket) {
    coming_ = HandedOver{listener, std::move(socket)};
  }
  // What it has given away last, once.
  Result<ConnectionSnapshot> move_in(int fd) override;

  void set_peer_mac(const MacAddress& mac) { peer_mac_ = mac; }
  // kFailed: the kernel gives up, once more.
  void set_neighbour(const IpAddress& ip, NeighbourState state);
  // Its entry makes room for another.
  void evict(const IpAddress& ip);
  void set_route_error(int error);
  void set_setting(const char* name, uint8_t value) { settings_[name] = value; }
  void say_unreachable(const Unreachable& said) { said_ = said; }
  // Routes lead over another interface.
  void set_elsewhere(bool elsewhere);
  size_t resolves() const { return resolves_; }

  // What the kernel was given; it refuses with `error` instead.
  struct Moved {
    ConnectionState connection;
    std::vector<uint8_t> bytes;
    int fd;
  };
  std::vector<Moved> moved;
  int move_error = 0;
  // What went to other processes, and how often others were asked for theirs.
  std::vector<SocketAddress> handed_over;
  size_t collected = 0;

 private:
  IpAddress own_;
  MacAddress peer_mac_{};
  std::map<std::array<uint8_t, 16>, NeighbourView> entries_;
  std::map<std::string, uint8_t> settings_;
  std::optional<Unreachable> said_;
  std::optional<HandedOver> coming_;
  int route_error_ = 0;
  bool elsewhere_ = false;
  uint64_t routes_ = 1;
  uint64_t neighbours_ = 1;
  size_t resolves_ = 0;
};

// What an owner was told. Sticky until clear().
class Recorder : public EndpointOwner {
 public:
  void endpoint_event(Readiness events) override {
    seen |= events;
    ++count;
  }
  void clear() { seen = 0, count = 0; }
  Readiness seen = 0;
  size_t count = 0;
  bool endpoint_is_shared() const override { return shared; }
  bool shared = false;
};

class SimulatedHost {
 public:
  SimulatedHost(SimulatedPort& port, const char* address, const MacAddress& peer_mac);

  Stack& stack() { return *stack_; }
  SimulatedView& view() { return view_; }
  SimulatedPort& port() { return port_; }
  ClientCounters& counters() { return slot_->counters; }
  ClientSlot& slot() { return *slot_; }
  // Who has the port in the port table: 0 nobody, 1 this host's stack.
  uint32_t port_owner(uint8_t protocol, uint16_t port, int family = AF_INET) const;
  // The local address of that claim.
  IpAddress port_claim(uint8_t protocol, uint16_t port) const;
  // Another process has a share of the TCP port, and waits for a connection, or does not; or has
  // none any more.
  void share_port(uint16_t port, bool waits);
  void unshare_port(uint16_t port);
  // Whether this host's stack has one.
  bool has_share(uint16_t port) const;
  // Another process's stack takes it.
  void give_port_away(uint8_t protocol, uint16_t port, int family = AF_INET);

  // On the wildcard of the address's family.
  TcpListener* listen(uint16_t port, int backlog = 128);
  TcpListener* listen_on(const Binding& local, int backlog = 128);
  Result<TcpEndpoint*> try_connect(const SimulatedHost& to, uint16_t port, uint16_t from_port,
                                   const TcpOptions& options = {});
  TcpEndpoint* connect(const SimulatedHost& to, uint16_t port, uint16_t from_port,
                       const TcpOptions& options = {});
  IpAddress address() const { return address_; }

  Recorder listener_events;
  Recorder client_events;

 private:
  IpAddress address_;
  SimulatedPort& port_;
  SimulatedView view_;
  std::vector<up_port_entry> entries_;
  PortTable ports_;
  std::unique_ptr<ClientSlot> slot_;
  std::unique_ptr<Stack> stack_;
};

// Two hosts and the wire between them.
class Network {
 public:
  explicit Network(uint64_t seed = 1, int family = AF_INET);

  SimulatedWire wire;
  SimulatedHost a;
  SimulatedHost b;

  // Lets time pass until done() or for `limit_ns`. done() is asked after every step and may use the
  // sockets. Returns what it said last.
  template <class Done>
  bool run_until(Done done, uint64_t limit_ns = 10'000'000'000);
  void run_for(uint64_t ns) {
    run_until([] { return false; }, ns);
  }
  size_t steps() const { return steps_; }

 private:
  uint64_t next_event_ns();
  size_t steps_ = 0;
};

template <class Done>
bool Network::run_until(Done done, uint64_t limit_ns) {
  const uint64_t end = VirtualClock::now_ns + limit_ns;
  for (;;) {
    a.stack().drive(VirtualClock::now_ns);
    b.stack().drive(VirtualClock::now_ns);
    const bool finished = done();
    a.stack().flush();
    b.stack().flush();
    ++steps_;
    if (finished) return true;
    const uint64_t next = next_event_ns();
    if (next > end || VirtualClock::now_ns >= end) {
      VirtualClock::now_ns = end;
      a.stack().drive(end);
      b.stack().drive(end);
      return done();
    }
    VirtualClock::now_ns = std::max(next, VirtualClock::now_ns + 1000);
  }
}

// An established connection between the two, accepted at `b`.
struct Connection {
  TcpEndpoint* client = nullptr;
  TcpEndpoint* server = nullptr;
  TcpListener* listener = nullptr;
};
Connection establish(Network& network, uint16_t port = 80, const TcpOptions& options = {});

// The verbs with plain buffers. Negative results are -errno.
ssize_t send_bytes(TcpEndpoint& endpoint, const void* data, size_t bytes, int flags = 0);
ssize_t receive_bytes(TcpEndpoint& endpoint, void* data, size_t bytes, int flags = 0);
std::string receive_text(TcpEndpoint& endpoint);

}  // namespace underpass::test
