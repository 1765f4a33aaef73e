// raw_peer.cpp - frames made and read by hand
#include "tests/support/raw_peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/tcp.h>

#include <cstring>

#include "stack/packet.h"

namespace underpass::test {

namespace {

void put16(Bytes& out, uint16_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8U));
  out.push_back(static_cast<uint8_t>(value));
}

void put32(Bytes& out, uint32_t value) {
  put16(out, static_cast<uint16_t>(value >> 16U));
  put16(out, static_cast<uint16_t>(value));
}

uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8U | at[1]); }
uint32_t get32(const uint8_t* at) { return uint32_t{get16(at)} << 16U | get16(at + 2); }

void store_sum(uint8_t* at, uint16_t folded) {
  const auto sum = static_cast<uint16_t>(~folded);
  std::memcpy(at, &sum, sizeof sum);
}

// `transport` gets its checksum, at `checksum_at`.
Bytes ip_frame(const IpAddress& from, const IpAddress& to, uint8_t protocol, Bytes transport,
               size_t checksum_at) {
  const auto bytes = static_cast<uint32_t>(transport.size());
  store_sum(&transport[checksum_at],
            checksum(transport.data(), bytes, pseudo_header_sum(from, to, protocol, bytes)));
  Bytes out = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  if (!from.is_v4()) {
    put16(out, 0x86dd);
    put32(out, 0x60000000);
    put16(out, static_cast<uint16_t>(bytes));
    out.push_back(protocol);
    out.push_back(64);
    out.insert(out.end(), from.bytes.begin(), from.bytes.end());
    out.insert(out.end(), to.bytes.begin(), to.bytes.end());
    out.insert(out.end(), transport.begin(), transport.end());
    return out;
  }
  put32(out, 0x08004500);
  put16(out, static_cast<uint16_t>(20 + bytes));
  put32(out, 0x00014000);
  out.push_back(64);
  out.push_back(protocol);
  put16(out, 0);
  put32(out, ntohl(from.v4()));
  put32(out, ntohl(to.v4()));
  store_sum(&out[24], checksum(&out[14], 20));
  out.insert(out.end(), transport.begin(), transport.end());
  return out;
}

Segment read_segment(const uint8_t* frame) {
  const uint8_t* ip = frame + 14;
  const bool is_v4 = ip[0] >> 4U == 4;
  const uint8_t* tcp = ip + (is_v4 ? 20 : 40);
  const size_t header = (tcp[12] >> 4U) * 4U;
  const size_t bytes = is_v4 ? get16(ip + 2) - 20 : get16(ip + 4);
  Segment segment;
  segment.source_port = get16(tcp);
  segment.destination_port = get16(tcp + 2);
  segment.sequence = get32(tcp + 4);
  segment.acknowledgement = get32(tcp + 8);
  segment.flags = tcp[13];
  segment.window = get16(tcp + 14);
  segment.urgent = get16(tcp + 18);
  segment.options.assign(tcp + 20, tcp + header);
  segment.payload.assign(reinterpret_cast<const char*>(tcp) + header, bytes - header);
  segment.arrived_ns = VirtualClock::now_ns;
  return segment;
}

}  // namespace

Bytes Segment::option(uint8_t kind) const {
  for (size_t i = 0; i < options.size() && options[i] != TCPOPT_EOL;) {
    if (options[i] == TCPOPT_NOP) {
      ++i;
      continue;
    }
    if (options[i] == kind)
      return {options.begin() + static_cast<long>(i) + 2,
              options.begin() + static_cast<long>(i + options[i + 1])};
    i += options[i + 1];
  }
  return {};
}

Bytes option_mss(uint16_t mss) {
  Bytes out = {TCPOPT_MAXSEG, TCPOLEN_MAXSEG};
  put16(out, mss);
  return out;
}
Bytes option_window_scale(uint8_t shift) { return {TCPOPT_WINDOW, TCPOLEN_WINDOW, shift}; }
Bytes option_sack_permitted() { return {TCPOPT_SACK_PERMITTED, TCPOLEN_SACK_PERMITTED}; }
Bytes option_timestamp(uint32_t value, uint32_t echo) {
  Bytes out = {TCPOPT_TIMESTAMP, TCPOLEN_TIMESTAMP};
  put32(out, value);
  put32(out, echo);
  return out;
}
Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

Bytes tcp_frame(const IpAddress& from, const IpAddress& to, const Segment& segment) {
  Bytes options = segment.options;
  while (options.size() % 4 != 0) options.push_back(TCPOPT_NOP);
  Bytes tcp;
  put16(tcp, segment.source_port);
  put16(tcp, segment.destination_port);
  put32(tcp, segment.sequence);
  put32(tcp, segment.acknowledgement);
  tcp.push_back(static_cast<uint8_t>((5 + options.size() / 4) << 4U));
  tcp.push_back(segment.flags);
  put16(tcp, segment.window);
  put16(tcp, 0);
  put16(tcp, segment.urgent);
  tcp.insert(tcp.end(), options.begin(), options.end());
  tcp.insert(tcp.end(), segment.payload.begin(), segment.payload.end());
  return ip_frame(from, to, IPPROTO_TCP, std::move(tcp), 16);
}

Bytes udp_frame(const SocketAddress& from, const SocketAddress& to, const std::string& payload) {
  Bytes udp;
  put16(udp, from.port);
  put16(udp, to.port);
  put16(udp, static_cast<uint16_t>(8 + payload.size()));
  put16(udp, 0);
  udp.insert(udp.end(), payload.begin(), payload.end());
  return ip_frame(from.ip, to.ip, IPPROTO_UDP, std::move(udp), 6);
}

RawPeer::RawPeer(int family)
    : host(wire.port(0), end_of(family, 0), wire.port(1).capabilities().mac),
      address(ip(end_of(family, 1))) {
  wire.faults.delay_ns = 0;
}

Segment RawPeer::next(uint8_t flags, const std::string& payload) {
  Segment segment;
  segment.flags = flags;
  segment.sequence = sequence;
  segment.acknowledgement = acknowledgement;
  segment.window = window;
  segment.payload = payload;
  segment.options = every_option;
  segment.source_port = port;
  segment.destination_port = host_port;
  return segment;
}

void RawPeer::send(const Segment& segment) {
  if (segment.sequence == sequence) {
    sequence += static_cast<uint32_t>(segment.payload.size()) +
                ((segment.flags & (kSyn | kFin)) != 0 ? 1 : 0);
  }
  send_frame(tcp_frame(address, host.address(), segment));
}

void RawPeer::send_frame(Bytes frame) {
  wire.send(1, std::move(frame));
  host.stack().drive(VirtualClock::now_ns);
}

std::vector<Segment> RawPeer::take() {
  host.stack().flush();
  std::vector<Segment> out;
  RxFrame frame;
  while (wire.port(1).receive({&frame, 1}) == 1) {
    out.push_back(read_segment(frame.data));
    wire.port(1).release({&frame.id, 1});
    const Segment& segment = out.back();
    if (segment.has(kSyn)) acknowledgement = segment.sequence;
    if (segment.sequence == acknowledgement) {
      acknowledgement += static_cast<uint32_t>(segment.payload.size()) +
                         ((segment.flags & (kSyn | kFin)) != 0 ? 1 : 0);
    }
  }
  return out;
}

Segment RawPeer::take_one() {
  const std::vector<Segment> all = take();
  cr_assert_eq(all.size(), 1, "%zu segments", all.size());
  return all.front();
}

void RawPeer::wait(uint64_t ns) {
  const uint64_t end = VirtualClock::now_ns + ns;
  while (VirtualClock::now_ns < end) {
    const uint64_t next = std::max(host.stack().next_deadline_ns(), VirtualClock::now_ns + 1);
    VirtualClock::now_ns = std::min(end, next);
    host.stack().drive(VirtualClock::now_ns);
  }
}

TcpEndpoint* RawPeer::connect(const TcpOptions& options, const Bytes& peer_options) {
  auto made = TcpEndpoint::connect(host.stack(), {host.address(), host_port, 0}, {address, port, 0},
                                   options, 4);
  if (!made) return nullptr;
  (*made)->set_owner(&host.client_events, 4);
  take();
  Segment answer = next(kSyn | kAck);
  answer.options = peer_options;
  send(answer);
  take();
  return *made;
}

TcpEndpoint* RawPeer::accept(TcpListener& listener, const Bytes& peer_options) {
  std::swap(port, host_port);
  port = 50000;
  host_port = listener.local().address.port;
  Segment syn = next(kSyn);
  syn.acknowledgement = 0;
  syn.options = peer_options;
  send(syn);
  take();
  send(next(kAck));
  take();
  return listener.take();
}

}  // namespace underpass::test
