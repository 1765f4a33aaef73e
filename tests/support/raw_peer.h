// raw_peer.h - a peer that says what a test makes it say, segment by segment
#pragma once

#include <string>
#include <vector>

#include "tests/support/simulated_host.h"

namespace underpass::test {

constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kPsh = 0x08;
constexpr uint8_t kAck = 0x10;
constexpr uint8_t kUrg = 0x20;

struct Segment {
  uint8_t flags = kAck;
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint16_t window = 65535;  // as on the wire, not scaled
  std::string payload;
  Bytes options;  // padded to four bytes by the sender
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t urgent = 0;
  uint64_t arrived_ns = 0;

  bool has(uint8_t wanted) const { return (flags & wanted) == wanted; }
  // The value of that option without kind and length; empty when there is none.
  Bytes option(uint8_t kind) const;
};

Bytes option_mss(uint16_t mss);
Bytes option_window_scale(uint8_t shift);
Bytes option_sack_permitted();
Bytes option_timestamp(uint32_t value, uint32_t echo);
Bytes operator+(Bytes left, const Bytes& right);

// Ethernet, IP and TCP or UDP headers with right checksums, of the addresses' family.
Bytes tcp_frame(const IpAddress& from, const IpAddress& to, const Segment& segment);
Bytes udp_frame(const SocketAddress& from, const SocketAddress& to, const std::string& payload);

// A stack ("host") on a wire without delay, at end_of(family, 0), and the peer at the other end.
// The peer's sequence number and what it has received are kept; next() fills them in.
class RawPeer {
 public:
  explicit RawPeer(int family = AF_INET);

  SimulatedWire wire;
  SimulatedHost host;
  const IpAddress address;  // the peer's

  // The next segment in order from the peer; `sequence` and `acknowledgement` are those kept.
  Segment next(uint8_t flags = kAck, const std::string& payload = "");
  // Sends it and, unless it is a copy of something old, counts it. The host handles it at once.
  void send(const Segment& segment);
  void send_frame(Bytes frame);
  // What the host has sent since the last call. The peer's acknowledgement follows along, as far as
  // it is in order.
  std::vector<Segment> take();
  // The only one, or a failure of the test.
  Segment take_one();
  // Lets time pass, with the host's timers.
  void wait(uint64_t ns);

  // The host connects; the peer answers. Null when it does not come to that.
  TcpEndpoint* connect(const TcpOptions& options = {}, const Bytes& peer_options = {});
  // The peer connects to the host's listener on that port.
  TcpEndpoint* accept(TcpListener& listener, const Bytes& peer_options = {});

  uint32_t sequence = 1000;
  uint32_t acknowledgement = 0;
  uint16_t window = 65535;
  uint16_t port = 80;  // the peer's
  uint16_t host_port = 40000;
  Bytes every_option;  // put on each segment of next()
};

}  // namespace underpass::test
