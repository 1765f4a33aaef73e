// udp_endpoint_test.cpp - datagrams: who gets them, how many wait, what goes out
#include "stack/udp_endpoint.h"

#include <criterion/criterion.h>

#include <cerrno>
#include <cstring>

#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

struct UdpHost : RawPeer {
  UdpEndpoint* open(const char* local, uint16_t local_port) {
    auto opened =
        UdpEndpoint::open(host.stack(), SocketAddress{ip(local), local_port, 0}, events, 5);
    return opened ? *opened : nullptr;
  }
  void arrive(uint16_t from, uint16_t to, const std::string& payload,
              const char* destination = "10.0.0.1") {
    send_frame(udp_frame({ip("10.0.0.2"), from, 0}, {ip(destination), to, 0}, payload));
  }
  Recorder events;
};

std::string read(UdpEndpoint& endpoint, bool peek = false) {
  char buffer[2000];
  const iovec piece{buffer, sizeof buffer};
  size_t copied = 0;
  auto datagram = endpoint.receive({&piece, 1}, peek, &copied);
  return datagram ? std::string(buffer, copied) : "(error)";
}

Result<void> send_text(Stack& stack, uint16_t from, const SocketAddress& to,
                       const std::string& text) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  return stack.send_udp({ip("10.0.0.1"), from, 0}, to, 64, 0, {&piece, 1}, text.size());
}

constexpr uint8_t kProtocol = 253;

// A raw socket has its protocol for a port.
struct RawHost : UdpHost {
  UdpEndpoint* open_raw(const char* local = "0.0.0.0", uint8_t protocol = kProtocol) {
    auto opened =
        UdpEndpoint::open(host.stack(), SocketAddress{ip(local), protocol, 0}, events, 5, protocol);
    return opened ? *opened : nullptr;
  }
  void arrive_raw(const std::string& payload, uint8_t protocol = kProtocol,
                  const char* from = "10.0.0.2") {
    const auto bytes = static_cast<uint16_t>(kIpv4HeaderBytes + payload.size());
    Bytes frame(kEthernetHeaderBytes + bytes);
    frame[12] = 0x08;
    write_ip_header(&frame[14], {ip(from), ip("10.0.0.1"), bytes, 1, protocol, 9, 0});
    std::copy(payload.begin(), payload.end(), frame.begin() + 34);
    send_frame(std::move(frame));
  }
  // The IP packets that the host has sent.
  std::vector<Bytes> sent;
  RawHost() {
    wire.tap = [this](int side, Bytes& frame) {
      if (side == 0) sent.emplace_back(frame.begin() + 14, frame.end());
      return true;
    };
  }
};

Result<void> send_raw_text(Stack& stack, const std::string& text, bool has_header = false) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  const Stack::RawPacket packet{
      {IpAddress::any(AF_INET), kProtocol, 0}, ip("10.0.0.2"), 7, 4, has_header};
  auto sent = stack.send_raw(packet, {&piece, 1}, text.size());
  stack.flush();
  return sent;
}

}  // namespace

TestSuite(udp_endpoint);

// Six at once, as Linux: whoever is flooded from a forged address is not flooded by us.
Test(udp_endpoint, what_is_sent_to_a_port_that_is_connected_elsewhere_is_refused) {
  RawHost peer;
  UdpEndpoint* endpoint = peer.open("10.0.0.1", 53);
  endpoint->set_remote({ip("10.0.0.2"), 9, 0});
  peer.arrive(8, 53, "others may have it");
  cr_expect_eq(peer.sent.size(), 0);
  endpoint->set_has_port_alone(true);
  peer.arrive(9, 53, "for it");
  cr_expect_eq(peer.sent.size(), 0);
  for (int i = 0; i < 10; ++i) peer.arrive(8, 53, "not for it");
  cr_assert_eq(peer.sent.size(), 6);
  const Bytes& error = peer.sent.front();
  cr_assert_eq(error.size(), 20U + 8 + 20 + 8 + 10);
  cr_expect_eq(error[9], IPPROTO_ICMP);
  cr_expect_eq(error[20], 3);
  cr_expect_eq(error[21], 3);
  cr_expect_eq(checksum(&error[20], error.size() - 20), 0xffff);
  cr_expect_eq(error[28 + 20 + 3], 53, "it quotes the ports");
  peer.sent.clear();
  peer.arrive(8, 53, std::string(1400, 'x'));
  cr_expect_eq(peer.sent.size(), 0);
  endpoint->close();
}

Test(udp_endpoint, a_socket_of_both_families_is_the_second_choice_over_ipv4) {
  UdpHost peer;
  const SocketAddress any_v6{IpAddress::any(AF_INET6), 53, 0};
  const Binding binding{any_v6, Families::kBoth};
  auto both = UdpEndpoint::open(peer.host.stack(), binding, peer.events, 5);
  cr_assert(both.ok());
  peer.arrive(9, 53, "both");
  cr_expect(read(**both) == "both");
  UdpEndpoint* over_v4 = peer.open("0.0.0.0", 53);
  peer.arrive(9, 53, "v4");
  cr_expect(read(*over_v4) == "v4");
  cr_expect((*both)->rebind(any_v6).ok());
  over_v4->close();
  peer.arrive(9, 53, "nobody's");
  cr_expect_not((*both)->readable());
}

Test(udp_endpoint, a_datagram_arrives_with_its_sender) {
  UdpHost host;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  host.arrive(1234, 53, "query");
  cr_expect(host.events.seen & EPOLLIN);
  cr_expect_eq(endpoint->next_bytes(), 5);
  char buffer[3];
  const iovec piece{buffer, sizeof buffer};
  size_t copied = 0;
  auto datagram = endpoint->receive({&piece, 1}, false, &copied);
  cr_assert(datagram.ok());
  cr_expect_eq(copied, 3);
  cr_expect_eq(datagram->bytes, 5);
  cr_expect(datagram->from == (SocketAddress{ip("10.0.0.2"), 1234, 0}));
  cr_expect(datagram->to == ip("10.0.0.1"));
  size_t none = 0;
  cr_expect_eq(endpoint->receive({&piece, 1}, false, &none).error(), EAGAIN);
}

Test(udp_endpoint, peek_leaves_it_there) {
  UdpHost host;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  host.arrive(1, 53, "again");
  cr_expect_eq(read(*endpoint, true), "again");
  cr_expect_eq(read(*endpoint), "again");
}

Test(udp_endpoint, empty_datagrams_count) {
  UdpHost host;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  host.arrive(1, 53, "");
  cr_expect(endpoint->readable());
  cr_expect_eq(read(*endpoint), "");
  cr_expect_not(endpoint->readable());
}

Test(udp_endpoint, a_connected_socket_hears_only_its_peer) {
  UdpHost host;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  endpoint->set_remote({ip("10.0.0.2"), 1000, 0});
  host.arrive(1001, 53, "stranger");
  cr_expect_not(endpoint->readable());
  host.arrive(1000, 53, "friend");
  cr_expect_eq(read(*endpoint), "friend");
  endpoint->set_remote({IpAddress::any(AF_INET), 0, 0});
  host.arrive(1001, 53, "stranger");
  cr_expect_eq(read(*endpoint), "stranger");
}

Test(udp_endpoint, the_best_match_gets_it) {
  UdpHost host;
  UdpEndpoint* any = host.open("0.0.0.0", 53);
  UdpEndpoint* own = host.open("10.0.0.1", 53);
  UdpEndpoint* connected = host.open("0.0.0.0", 53);
  connected->set_remote({ip("10.0.0.2"), 1000, 0});
  host.arrive(1000, 53, "to the connected one");
  host.arrive(1001, 53, "to the address");
  host.arrive(1002, 53, "to anybody", "10.0.0.9");
  cr_expect_eq(read(*connected), "to the connected one");
  cr_expect_eq(read(*own), "to the address");
  cr_expect_eq(read(*any), "to anybody");
}

Test(udp_endpoint, a_full_receive_buffer_drops_and_counts) {
  UdpHost host;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  endpoint->set_receive_buffer(4000);
  for (int i = 0; i < 20; ++i) host.arrive(1, 53, std::string(500, 'u'));
  size_t kept = 0;
  while (endpoint->readable()) {
    read(*endpoint);
    ++kept;
  }
  cr_expect_geq(kept, 3);
  cr_expect_leq(kept, 8);
  cr_expect_eq(host.host.counters().udp_drops.load(), 20 - kept);
  host.host.stack().flush();
  cr_expect_eq(host.host.port().lent_frames(), 0);
  host.arrive(1, 53, "room again");
  cr_expect_eq(read(*endpoint), "room again");
}

Test(udp_endpoint, past_the_hold_limit_datagrams_are_copied_out) {
  UdpHost host;
  host.host.port().settings().hold_limit_frames = 4;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  for (int i = 0; i < 10; ++i) host.arrive(1, 53, "datagram " + std::to_string(i));
  cr_expect_eq(host.host.port().lent_frames(), 4);
  cr_expect_eq(host.host.counters().rx_copied_frames.load(), 6);
  for (int i = 0; i < 10; ++i) cr_expect_eq(read(*endpoint), "datagram " + std::to_string(i));
}

Test(udp_endpoint, closing_gives_back_frames_and_port) {
  UdpHost host;
  UdpEndpoint* endpoint = host.open("0.0.0.0", 53);
  cr_expect_eq(host.host.port_owner(IPPROTO_UDP, 53), 1);
  host.arrive(1, 53, "unread");
  cr_expect_eq(host.host.port().lent_frames(), 1);
  endpoint->close();
  cr_expect_eq(host.host.port().lent_frames(), 0);
  cr_expect_eq(host.host.port_owner(IPPROTO_UDP, 53), 0);
  host.arrive(1, 53, "nobody");
  cr_expect_eq(host.host.counters().rx_no_socket.load(), 1);
}

Test(udp_endpoint, what_goes_out_is_well_formed) {
  Network network;
  Recorder events;
  auto opened =
      UdpEndpoint::open(network.b.stack(), SocketAddress{IpAddress::any(AF_INET), 9, 0}, events, 5);
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{2}, size_t{63}, size_t{1471}, size_t{1472}}) {
    cr_expect(
        send_text(network.a.stack(), 7, {network.b.address(), 9, 0}, std::string(bytes, 'w')).ok());
    network.run_for(1'000'000);
    cr_expect_eq(read(**opened), std::string(bytes, 'w'), "%zu", bytes);
  }
  cr_expect_eq(network.b.counters().rx_bad_checksum.load(), 0);
}

Test(udp_endpoint, what_does_not_fit_the_mtu_is_emsgsize) {
  Network network;
  cr_expect_eq(
      send_text(network.a.stack(), 7, {network.b.address(), 9, 0}, std::string(1473, 'x')).error(),
      EMSGSIZE);
}

Test(udp_endpoint, no_neighbour_no_route_and_no_chunk_are_told) {
  Network network;
  const SocketAddress to{network.b.address(), 9, 0};
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kEmpty);
  cr_expect_eq(send_text(network.a.stack(), 7, to, "x").error(), EHOSTUNREACH);
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kReachable);
  cr_expect(send_text(network.a.stack(), 7, to, "x").ok());
  network.a.view().set_route_error(ENETUNREACH);
  cr_expect_not(send_text(network.a.stack(), 7, to, "x").ok());
  network.a.view().set_route_error(0);
  network.a.port().set_transmitting(false);
  cr_expect_eq(send_text(network.a.stack(), 7, to, "x").error(), EAGAIN);
}

Test(udp_endpoint, a_raw_socket_receives_from_the_ip_header_on) {
  RawHost host;
  UdpEndpoint* const endpoint = host.open_raw();
  host.arrive_raw("payload");
  cr_expect(host.events.seen & EPOLLIN);
  char buffer[100];
  const iovec piece{buffer, sizeof buffer};
  size_t copied = 0;
  auto datagram = endpoint->receive({&piece, 1}, false, &copied);
  cr_assert(datagram.ok());
  cr_expect_eq(copied, 27);
  cr_expect_eq(buffer[0], 0x45);
  cr_expect_eq(buffer[9], static_cast<char>(kProtocol));
  cr_expect_eq(std::string(buffer + 20, 7), "payload");
  cr_expect(datagram->from == (SocketAddress{ip("10.0.0.2"), 0, 0}));
  cr_expect_eq(datagram->ttl, 9);
}

Test(udp_endpoint, raw_sockets_of_a_protocol_have_a_copy_each_and_no_frame_is_kept) {
  RawHost host;
  UdpEndpoint* const one = host.open_raw();
  UdpEndpoint* const two = host.open_raw("10.0.0.1");
  UdpEndpoint* const elsewhere = host.open_raw("10.0.0.7");
  UdpEndpoint* const other = host.open_raw("0.0.0.0", 254);
  UdpEndpoint* const connected = host.open_raw();
  connected->set_remote({ip("10.0.0.3"), kProtocol, 0});
  host.arrive_raw("x");
  cr_expect(one->readable());
  cr_expect(two->readable());
  cr_expect_not(elsewhere->readable());
  cr_expect_not(other->readable());
  cr_expect_not(connected->readable());
  cr_expect_eq(read(*one).size(), 21);
  cr_expect_eq(read(*two).size(), 21);
  host.host.stack().flush();
  cr_expect_eq(host.wire.port(0).lent_frames(), 0);
}

Test(udp_endpoint, a_raw_socket_that_is_full_drops) {
  RawHost host;
  UdpEndpoint* const endpoint = host.open_raw();
  endpoint->set_receive_buffer(1);
  host.arrive_raw("first");
  host.arrive_raw("second");
  cr_expect_eq(read(*endpoint).size(), 25);
  cr_expect_not(endpoint->readable());
  cr_expect_eq(host.host.counters().udp_drops, 1);
  host.host.stack().flush();
  cr_expect_eq(host.wire.port(0).lent_frames(), 0);
}

Test(udp_endpoint, a_protocol_is_claimed_by_its_first_socket_and_released_by_its_last) {
  RawHost host;
  UdpEndpoint* const one = host.open_raw();
  UdpEndpoint* const two = host.open_raw();
  one->close();
  host.arrive_raw("x");
  cr_expect(two->readable());
  two->close();
  host.arrive_raw("x");
  cr_expect_eq(host.host.counters().rx_no_socket, 1);
}

Test(udp_endpoint, a_raw_packet_has_a_whole_header) {
  RawHost host;
  cr_assert(send_raw_text(host.host.stack(), "abc"));
  cr_assert_eq(host.sent.size(), 1);
  const Bytes& packet = host.sent[0];
  cr_expect_eq(packet.size(), 23);
  cr_expect_eq(packet[0], 0x45);
  cr_expect_eq(packet[1], 4);
  cr_expect_eq(packet[8], 7);
  cr_expect_eq(packet[9], kProtocol);
  cr_expect_eq(checksum(packet.data(), 20), 0xffff);
  cr_expect_eq(std::memcmp(&packet[20], "abc", 3), 0);
}

Test(udp_endpoint, an_included_header_is_completed) {
  RawHost host;
  std::string packet(20, '\0');
  packet[0] = 0x45;
  packet[8] = 33;
  packet[9] = 99;
  packet[19] = 2;
  cr_assert(send_raw_text(host.host.stack(), packet + "abc", true));
  cr_assert_eq(host.sent.size(), 1);
  const Bytes& sent = host.sent[0];
  cr_expect_eq(sent[3], 23, "the length");
  cr_expect_eq(sent[8], 33);
  cr_expect_eq(sent[9], 99);
  cr_expect(sent[4] != 0 || sent[5] != 0, "the identification");
  cr_expect_eq(sent[12], 10, "the source");
  cr_expect_eq(checksum(sent.data(), 20), 0xffff);
  packet[5] = 77;
  packet[12] = 1;
  cr_assert(send_raw_text(host.host.stack(), packet, true));
  cr_expect_eq(host.sent[1][5], 77);
  cr_expect_eq(host.sent[1][12], 1);
}

Test(udp_endpoint, an_included_header_that_is_none_is_refused) {
  RawHost host;
  std::string packet(20, '\0');
  cr_expect_eq(send_raw_text(host.host.stack(), "short", true).error(), EINVAL);
  packet[0] = 0x41;
  cr_expect_eq(send_raw_text(host.host.stack(), packet, true).error(), EINVAL);
  packet[0] = 0x4f;
  cr_expect_eq(send_raw_text(host.host.stack(), packet, true).error(), EINVAL);
  cr_expect_eq(send_raw_text(host.host.stack(), std::string(1501, 'E'), true).error(), EMSGSIZE);
  cr_expect_eq(send_raw_text(host.host.stack(), std::string(1481, 'E')).error(), EMSGSIZE);
  cr_expect(host.sent.empty());
}
