// ipv6_test.cpp - what is different over IPv6
#include <criterion/criterion.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "stack/packet.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr size_t kHeaders = kEthernetHeaderBytes + kIpv6HeaderBytes;

PacketError parse(Bytes frame, bool partial = false, Packet* out = nullptr) {
  Packet packet;
  const RxFrame lent{frame.data(), static_cast<uint32_t>(frame.size()), 1};
  return parse_packet(lent, partial, out != nullptr ? *out : packet);
}

Bytes tcp() {
  Segment segment;
  segment.source_port = 1;
  segment.destination_port = 2;
  segment.payload = "payload";
  return tcp_frame(ip("fd00::2"), ip("fd00::1"), segment);
}

Bytes udp(const char* from = "fd00::2", const char* to = "fd00::1") {
  return udp_frame({ip(from), 1000, 0}, {ip(to), 53, 0}, "datagram");
}

// A host whose frames are kept.
struct Host : RawPeer {
  Host() : RawPeer(AF_INET6) {
    wire.tap = [this](int side, Bytes& frame) {
      if (side == 0) sent.push_back(frame);
      return true;
    };
  }
  Packet last(uint8_t protocol) {
    Packet packet{};
    cr_assert_not(sent.empty());
    kept = sent.back();
    const RxFrame lent{kept.data(), static_cast<uint32_t>(kept.size()), 1};
    cr_assert(parse_packet(lent, false, packet) == PacketError::kNone, "checksum and lengths");
    cr_assert_eq(packet.protocol, protocol);
    return packet;
  }
  std::vector<Bytes> sent;
  Bytes kept;
};

std::string read(UdpEndpoint& endpoint, Datagram* out = nullptr) {
  char buffer[2000];
  const iovec piece{buffer, sizeof buffer};
  size_t copied = 0;
  auto datagram = endpoint.receive({&piece, 1}, false, &copied);
  if (datagram && out != nullptr) *out = *datagram;
  return datagram ? std::string(buffer, copied) : "(error)";
}

Result<void> send_text(Stack& stack, const std::string& text, uint8_t ttl = 0, uint8_t tos = 0) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  auto sent = stack.send_udp({IpAddress::any(AF_INET6), 9, 0}, {ip("fd00::2"), 53, 0}, ttl, tos,
                             {&piece, 1}, text.size());
  stack.flush();
  return sent;
}

}  // namespace

TestSuite(ipv6);

Test(ipv6, a_segment_is_read) {
  Bytes frame = tcp();
  frame[14] = 0x6a;  // traffic class 0xab
  frame[15] = 0xb0;
  frame.resize(frame.size() + 9, 0x55);
  Packet packet;
  const RxFrame lent{frame.data(), static_cast<uint32_t>(frame.size()), 1};
  cr_assert(parse_packet(lent, false, packet) == PacketError::kNone);
  cr_expect(packet.source == ip("fd00::2"));
  cr_expect(packet.destination == ip("fd00::1"));
  cr_expect_eq(packet.source_port, 1);
  cr_expect_eq(packet.destination_port, 2);
  cr_expect_eq(packet.transport_bytes, 27);
  cr_expect_eq(packet.ttl, 64);
  cr_expect_eq(packet.tos, 0xab);
}

Test(ipv6, a_wrong_checksum_is_seen) {
  for (const Bytes& frame : {tcp(), udp()}) {
    for (const size_t at : {size_t{22 + 15}, size_t{38 + 7}, kHeaders, frame.size() - 1}) {
      Bytes broken = frame;
      broken[at] = static_cast<uint8_t>(broken[at] ^ 0x10U);
      cr_expect(parse(broken) == PacketError::kBadChecksum, "byte %zu", at);
    }
  }
}

// RFC 8200, 8.1: IPv4 allows it.
Test(ipv6, a_datagram_without_a_checksum_is_malformed) {
  Bytes frame = udp();
  frame[kHeaders + 6] = frame[kHeaders + 7] = 0;
  cr_expect(parse(frame) == PacketError::kMalformed);
  cr_expect(parse(frame, true) == PacketError::kMalformed);
}

Test(ipv6, a_partial_checksum_is_right_only_where_it_is_allowed) {
  Bytes frame = tcp();
  const auto bytes = static_cast<uint32_t>(frame.size() - kHeaders);
  const auto sum =
      static_cast<uint16_t>(pseudo_header_sum(ip("fd00::2"), ip("fd00::1"), IPPROTO_TCP, bytes));
  std::memcpy(&frame[kHeaders + 16], &sum, 2);
  cr_expect(parse(frame, true) == PacketError::kNone);
  cr_expect(parse(frame, false) == PacketError::kBadChecksum);
}

Test(ipv6, lengths_must_agree) {
  Bytes frame = tcp();
  ++frame[19];
  cr_expect(parse(frame) == PacketError::kMalformed);
  frame = udp();
  frame[19] = 7;
  cr_expect(parse(frame) == PacketError::kMalformed);
  frame = udp();
  frame.resize(kHeaders - 1);
  cr_expect(parse(frame) == PacketError::kMalformed);
}

Test(ipv6, what_is_the_kernels_is_malformed) {
  for (const int next : {0, 43, 44, 58, 59, 60}) {
    Bytes frame = udp();
    frame[20] = static_cast<uint8_t>(next);
    cr_expect(parse(frame) == PacketError::kMalformed, "next header %d", next);
  }
  Bytes version = udp();
  version[14] = 0x50;
  cr_expect(parse(version) == PacketError::kMalformed);
}

// It would be taken for an IPv4 host (RFC 4942, 2.2).
Test(ipv6, mapped_addresses_are_malformed) {
  Bytes from = udp();
  Bytes to = udp();
  const IpAddress mapped = ip("10.0.0.2");
  std::memcpy(&from[22], mapped.bytes.data(), 16);
  std::memcpy(&to[38], mapped.bytes.data(), 16);
  cr_expect(parse(from) == PacketError::kMalformed);
  cr_expect(parse(to) == PacketError::kMalformed);
}

Test(ipv6, a_connection_is_opened_used_and_closed) {
  Network network(1, AF_INET6);
  Connection connection = establish(network);
  cr_assert_not_null(connection.server);
  cr_expect(connection.server->flow().remote.ip == ip("fd00::1"));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, connection.client->flow().local.port, AF_INET6),
               1);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, connection.client->flow().local.port), 0);
  cr_expect_eq(send_bytes(*connection.client, "question", 8), 8);
  cr_assert(network.run_until([&] { return connection.server->unread_bytes() == 8; }));
  cr_expect(receive_text(*connection.server) == "question");
  cr_expect_eq(send_bytes(*connection.server, "answer", 6), 6);
  connection.server->disown(Fd());
  cr_assert(network.run_until([&] { return connection.client->unread_bytes() == 6; }));
  cr_expect(receive_text(*connection.client) == "answer");
  connection.client->disown(Fd());
  connection.listener->close();
  network.run_for(200'000'000'000);
  cr_expect_eq(network.a.stack().tcp().size(), 0);
  cr_expect_eq(network.b.stack().tcp().size(), 0);
  cr_expect_eq(network.b.port().lent_frames(), 0);
}

Test(ipv6, a_closed_port_refuses) {
  Network network(1, AF_INET6);
  TcpEndpoint* client = network.a.connect(network.b, 80, 40000);
  cr_assert(network.run_until([&] { return client->peek_error() != 0; }));
  cr_expect_eq(client->take_error(), ECONNREFUSED);
  client->disown(Fd());
}

Test(ipv6, the_syn_offers_a_header_less) {
  Host host;
  auto made = TcpEndpoint::connect(host.host.stack(), {host.host.address(), 5000, 0},
                                   {host.address, 80, 0}, {}, 4);
  cr_assert(made.ok());
  cr_expect_eq(host.take_one().option(TCPOPT_MAXSEG), (Bytes{1440 >> 8, 1440 & 0xff}));
  cr_expect_eq(host.last(IPPROTO_TCP).ttl, 64);
}

Test(ipv6, segments_have_the_sockets_hop_limit_and_traffic_class) {
  Host host;
  TcpOptions options;
  options.ttl = 3;
  options.tos = 4;
  options.hop_limit = 5;
  options.traffic_class = 6;
  cr_assert_not_null(host.connect(options));
  cr_expect_eq(host.last(IPPROTO_TCP).ttl, 5);
  cr_expect_eq(host.last(IPPROTO_TCP).tos, 6);
}

Test(ipv6, a_listener_of_both_families_accepts_over_each) {
  Network over_v6(1, AF_INET6);
  Network over_v4(1, AF_INET);
  const SocketAddress any_v6{IpAddress::any(AF_INET6), 80, 0};
  for (Network* network : {&over_v6, &over_v4}) {
    TcpListener* both = network->b.listen_on({any_v6, Families::kBoth});
    network->a.connect(network->b, 80, 40000);
    cr_assert(network->run_until([&] { return both->ready(); }));
    cr_expect(both->take()->flow().local.ip == network->b.address());
  }
}

Test(ipv6, a_listener_on_ipv4_alone_is_nobody) {
  Network network(1, AF_INET6);
  cr_assert_not_null(network.b.listen_on(SocketAddress{IpAddress::any(AF_INET), 80, 0}));
  TcpEndpoint* client = network.a.connect(network.b, 80, 40000);
  cr_assert(network.run_until([&] { return client->peek_error() != 0; }));
  cr_expect_eq(client->take_error(), ECONNREFUSED);
  client->disown(Fd());
}

Test(ipv6, datagrams_come_and_go) {
  Host host;
  Recorder events;
  const SocketAddress any_v6{IpAddress::any(AF_INET6), 53, 0};
  auto opened = UdpEndpoint::open(host.host.stack(), any_v6, events, 5);
  cr_assert(opened.ok());
  host.send_frame(udp());
  Datagram datagram{};
  cr_expect(read(**opened, &datagram) == "datagram");
  cr_expect(datagram.from == (SocketAddress{ip("fd00::2"), 1000, 0}));
  cr_expect(datagram.to == ip("fd00::1"));
  cr_expect_eq(datagram.ttl, 64);
  cr_assert(send_text(host.host.stack(), "reply", 7, 0xab));
  const Packet sent = host.last(IPPROTO_UDP);
  cr_expect(sent.source == ip("fd00::1"), "the route's source");
  cr_expect(sent.destination == ip("fd00::2"));
  cr_expect_eq(sent.ttl, 7);
  cr_expect_eq(sent.tos, 0xab);
  cr_expect_eq(std::memcmp(sent.transport + kUdpHeaderBytes, "reply", 5), 0);
  (*opened)->close();
}

Test(ipv6, the_longest_datagram_has_a_longer_header) {
  Host host;
  const size_t most = 1500 - kIpv6HeaderBytes - kUdpHeaderBytes;
  cr_expect(send_text(host.host.stack(), std::string(most, 'a')));
  cr_expect_eq(host.last(IPPROTO_UDP).ttl, 64, "the route's hop limit");
  cr_expect_eq(send_text(host.host.stack(), std::string(most + 1, 'a')).error(), EMSGSIZE);
}

// rawv6_rcv(): without the header, unlike IPv4's.
Test(ipv6, a_raw_socket_is_given_what_stands_behind_the_header) {
  Host host;
  Recorder events;
  constexpr uint8_t kProtocol = 253;
  const SocketAddress local{IpAddress::any(AF_INET6), kProtocol, 0};
  auto opened = UdpEndpoint::open(host.host.stack(), local, events, 5, kProtocol);
  cr_assert(opened.ok());
  Bytes frame = udp();
  frame[20] = kProtocol;
  host.send_frame(frame);
  cr_expect_eq(read(**opened).size(), 16);
  const std::string text = "out";
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  cr_assert(host.host.stack().send_raw({local, ip("fd00::2"), 9, 4, false}, {&piece, 1}, 3));
  host.host.stack().flush();
  const Packet sent = host.last(kProtocol);
  cr_expect_eq(sent.transport_bytes, 3);
  cr_expect_eq(sent.ttl, 9);
  cr_expect_eq(sent.tos, 4);
  (*opened)->close();
}

// RFC 8201: no router fragments.
Test(ipv6, a_packet_that_is_too_big_is_cut_anew) {
  Network network(1, AF_INET6);
  size_t limit = 1514;
  size_t lost = 0;
  network.wire.tap = [&](int, Bytes& frame) {
    lost += frame.size() > limit ? 1 : 0;
    return frame.size() <= limit;
  };
  Connection connection = establish(network);
  cr_assert_not_null(connection.server);
  limit = 1300 + 14;
  const std::string text(20'000, 'x');
  cr_expect_eq(send_bytes(*connection.client, text.data(), text.size()), 20'000);
  network.run_for(1'000'000);
  cr_expect_gt(lost, 0);
  const SocketRecord* record = &network.a.slot().records[0];
  const FourTuple flow = connection.client->flow();
  // Not what was never sent, and not below the least MTU: that is no router's word.
  network.a.view().say_unreachable(
      {flow.local, flow.remote, record->snd_nxt.load() + 100'000, EMSGSIZE, 1300});
  network.run_for(1'000'000);
  cr_expect_eq(connection.client->mss(), 1440 - 12);
  network.a.view().say_unreachable(
      {flow.local, flow.remote, record->snd_nxt.load() - 1, EMSGSIZE, 1300});
  cr_assert(network.run_until([&] { return connection.server->unread_bytes() == text.size(); }));
  cr_expect_eq(connection.client->mss(), 1240 - 12);
  network.a.view().say_unreachable(
      {flow.local, flow.remote, record->snd_nxt.load(), EMSGSIZE, 100});
  send_bytes(*connection.client, "x", 1);
  network.run_for(1'000'000);
  cr_expect_eq(connection.client->mss(), 1220 - 12);
}
