// fuzz_test.cpp - hostile frames: random, mutated with right checksums, replayed; and random calls
//
// Seeded, so that a failure can be repeated. Its worth comes from the sanitizers: a frame is a heap
// block of its own length, and lwIP's assertions are on. FUZZ_ROUNDS= makes it go on for longer.
#include <criterion/criterion.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include "stack/packet.h"
#include "stack/tcp_options.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

using Random = std::mt19937_64;

size_t rounds(size_t usual) {
  const char* asked = std::getenv("FUZZ_ROUNDS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : usual;
}

size_t below(Random& random, size_t limit) { return random() % limit; }

bool is_v6(const Bytes& frame) { return frame.size() > 13 && frame[12] == 0x86; }
size_t transport_at(const Bytes& frame) { return is_v6(frame) ? 54 : 34; }

IpAddress address_at(const Bytes& frame, size_t at) {
  IpAddress ip;
  if (is_v6(frame)) {
    std::memcpy(ip.bytes.data(), &frame[at], 16);
    return ip;
  }
  uint32_t v4 = 0;
  std::memcpy(&v4, &frame[at], 4);
  return IpAddress::from_v4(v4);
}

void put_length(Bytes& frame, size_t at, size_t bytes) {
  frame[at] = static_cast<uint8_t>(bytes >> 8U);
  frame[at + 1] = static_cast<uint8_t>(bytes);
}

void repair_ipv4_header(Bytes& frame) {
  frame[14] = 0x45;
  put_length(frame, 16, frame.size() - 14);
  frame[24] = frame[25] = 0;
  const auto header = static_cast<uint16_t>(~checksum(&frame[14], 20));
  std::memcpy(&frame[24], &header, 2);
}

void repair_ipv6_header(Bytes& frame) {
  frame[14] = static_cast<uint8_t>(0x60U | (frame[14] & 0x0fU));
  put_length(frame, 18, frame.size() - 54);
}

// Makes the lengths and checksums right, so that what was changed gets further.
void repair(Bytes& frame) {
  const size_t transport = transport_at(frame);
  if (frame.size() < transport) return;
  if (is_v6(frame)) {
    repair_ipv6_header(frame);
  } else {
    repair_ipv4_header(frame);
  }
  const uint8_t protocol = frame[is_v6(frame) ? 20 : 23];
  const size_t at = transport + (protocol == IPPROTO_UDP ? 6 : 16);
  if (frame.size() < at + 2) return;
  const size_t bytes = frame.size() - transport;
  if (protocol == IPPROTO_UDP) put_length(frame, transport + 4, bytes);
  const IpAddress from = address_at(frame, is_v6(frame) ? 22 : 26);
  const IpAddress to = address_at(frame, is_v6(frame) ? 38 : 30);
  frame[at] = frame[at + 1] = 0;
  const uint32_t pseudo = pseudo_header_sum(from, to, protocol, static_cast<uint32_t>(bytes));
  const auto sum = static_cast<uint16_t>(~checksum(&frame[transport], bytes, pseudo));
  std::memcpy(&frame[at], &sum, 2);
}

void mutate(Random& random, Bytes& frame) {
  if (frame.empty()) return;
  const size_t tcp = transport_at(frame);
  switch (below(random, 8)) {
    case 0:
      frame[below(random, frame.size())] = static_cast<uint8_t>(random());
      break;
    case 1:
      frame.resize(below(random, frame.size() + 1));
      break;
    case 2:
      frame.resize(std::min<size_t>(frame.size() + below(random, 100), 1514),
                   static_cast<uint8_t>(random()));
      break;
    case 3:  // flags, and more often than not only one of them
      if (frame.size() > tcp + 13)
        frame[tcp + 13] = static_cast<uint8_t>(random() & (random() | 0x10U));
      break;
    case 4:  // sequence or acknowledgement number, a little or a lot
      if (frame.size() > tcp + 11)
        frame[tcp + 4 + below(random, 8)] ^= static_cast<uint8_t>(random());
      break;
    case 5:  // window
      if (frame.size() > tcp + 15) {
        frame[tcp + 14] = static_cast<uint8_t>(random() & random());
        frame[tcp + 15] = static_cast<uint8_t>(random() & random());
      }
      break;
    case 6:  // header length, options
      if (frame.size() > tcp + 12) frame[tcp + 12] = static_cast<uint8_t>(random());
      if (frame.size() > tcp + 26)
        frame[tcp + 20 + below(random, 6)] = static_cast<uint8_t>(random() % 12);
      break;
    default:
      for (int i = 0; i < 4; ++i) {
        frame[below(random, frame.size())] ^= static_cast<uint8_t>(1U << below(random, 8));
      }
  }
  if (below(random, 10) != 0) repair(frame);
}

// Two hosts that open, use and close connections as the dice fall.
class Chaos {
 public:
  explicit Chaos(uint64_t seed)
      : random_(seed), network_(seed, seed % 3 == 0 ? AF_INET6 : AF_INET) {
    network_.a.port().settings().hold_limit_frames = 32;
    network_.b.port().settings().hold_limit_frames = 32;
    network_.b.port().settings().rx_partial_checksum = seed % 2 == 0;
    listener_ = network_.b.listen(80, 4);
    network_.wire.faults.loss = 0.01;
    network_.wire.faults.reordering = 0.02;
    network_.wire.faults.duplication = 0.02;
    network_.wire.tap = [this](int side, Bytes& frame) { return pass(side, frame); };
  }

  void run(size_t steps) {
    for (size_t i = 0; i < steps; ++i) {
      act();
      network_.run_for(below(random_, 20) == 0 ? below(random_, 2'000'000'000)
                                               : below(random_, 300'000));
    }
  }

  // Whatever has happened, closing everything must leave nothing behind.
  void finish() {
    network_.wire.tap = nullptr;
    while (!open_.empty()) close(0);
    listener_->close();
    network_.run_for(2'000'000'000'000);
    cr_assert_eq(network_.a.stack().tcp().size(), 0);
    cr_assert_eq(network_.b.stack().tcp().size(), 0);
    cr_assert_eq(network_.a.port().lent_frames(), 0);
    cr_assert_eq(network_.b.port().lent_frames(), 0);
    cr_assert_eq(network_.a.stack().next_deadline_ns(), UINT64_MAX);
    cr_assert_eq(network_.b.stack().next_deadline_ns(), UINT64_MAX);
  }

 private:
  bool pass(int side, Bytes& frame) {
    if (below(random_, 30) == 0) mutate(random_, frame);
    if (below(random_, 50) == 0) kept_.push_back(frame);
    if (!kept_.empty() && below(random_, 100) == 0 && !replaying_) {
      replaying_ = true;
      network_.wire.send(side, kept_[below(random_, kept_.size())]);
      replaying_ = false;
    }
    return true;
  }

  void act() {
    while (TcpEndpoint* accepted = listener_->take()) open_.push_back(accepted);
    if (open_.size() < 6 && below(random_, 3) == 0) return connect();
    if (open_.empty()) return;
    const size_t index = below(random_, open_.size());
    TcpEndpoint& endpoint = *open_[index];
    switch (below(random_, 12)) {
      case 0:
        return close(index);
      case 1:
        static_cast<void>(endpoint.shutdown(static_cast<int>(below(random_, 3))));
        return;
      case 2:
        return set_options(endpoint);
      case 3:
      case 4:
      case 5:
      case 6: {
        const size_t bytes = below(random_, 4) == 0 ? below(random_, 200'000) : below(random_, 300);
        send_bytes(endpoint, buffer_.data(), bytes, below(random_, 5) == 0 ? MSG_MORE : 0);
        return;
      }
      default:
        receive_bytes(endpoint, buffer_.data(), 1 + below(random_, buffer_.size()),
                      below(random_, 8) == 0 ? MSG_PEEK : 0);
    }
  }

  void connect() {
    const uint16_t to = below(random_, 10) == 0 ? 81 : 80;
    auto made =
        network_.a.try_connect(network_.b, to, static_cast<uint16_t>(5000 + below(random_, 200)));
    if (made) open_.push_back(*made);
  }

  void close(size_t index) {
    open_[index]->disown(Fd());
    open_.erase(open_.begin() + static_cast<long>(index));
  }

  void set_options(TcpEndpoint& endpoint) {
    TcpOptions options;
    options.no_delay = below(random_, 2) == 0;
    options.cork = below(random_, 4) == 0;
    options.keep_alive = below(random_, 2) == 0;
    options.keep_idle_ms = 1000;
    options.keep_interval_ms = 500;
    options.linger_s = below(random_, 4) == 0 ? 0 : -1;
    endpoint.set_options(options);
  }

  Random random_;
  Network network_;
  TcpListener* listener_ = nullptr;
  std::vector<TcpEndpoint*> open_;
  std::vector<Bytes> kept_;
  bool replaying_ = false;
  Bytes buffer_ = Bytes(200'000);
};

}  // namespace

TestSuite(fuzz);

Test(fuzz, random_bytes_are_no_packet) {
  Random random(1);
  for (size_t i = 0; i < rounds(100'000); ++i) {
    const size_t size = below(random, 120);
    auto block = std::make_unique<uint8_t[]>(size);
    for (size_t at = 0; at < size; ++at) block[at] = static_cast<uint8_t>(random());
    if (i % 4 != 0 && size > 14) {  // so that it is looked at
      put_be16(&block[12], i % 4 == 1 ? kEtherTypeIpv4 : kEtherTypeIpv6);
      block[14] = i % 4 == 1 ? 0x45 : 0x60;
    }
    Packet packet;
    static_cast<void>(
        parse_packet({block.get(), static_cast<uint32_t>(size), 1}, i % 2 == 0, packet));
  }
}

Test(fuzz, mutated_packets_are_read_within_their_frames) {
  Random random(2);
  Segment segment;
  segment.payload = "some payload";
  segment.options = option_mss(1460) + option_timestamp(1, 2);
  const Bytes models[] = {
      tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), segment),
      udp_frame({ip("10.0.0.2"), 1, 0}, {ip("10.0.0.1"), 2, 0}, "some datagram"),
      tcp_frame(ip("fd00::2"), ip("fd00::1"), segment),
      udp_frame({ip("fd00::2"), 1, 0}, {ip("fd00::1"), 2, 0}, "some datagram")};
  for (size_t i = 0; i < rounds(100'000); ++i) {
    Bytes frame = models[i % std::size(models)];
    for (size_t n = below(random, 4); n != 0; --n) mutate(random, frame);
    auto block = std::make_unique<uint8_t[]>(frame.size());
    std::copy(frame.begin(), frame.end(), block.get());
    Packet packet;
    const RxFrame lent{block.get(), static_cast<uint32_t>(frame.size()), 1};
    if (parse_packet(lent, i % 3 == 0, packet) != PacketError::kNone) continue;
    cr_assert_geq(packet.transport, lent.data);
    cr_assert_leq(packet.transport + packet.transport_bytes, lent.data + lent.length_bytes);
    if (packet.protocol == IPPROTO_TCP) static_cast<void>(parse_tcp_options(packet));
  }
}

Test(fuzz, mutated_conversations_end_and_leave_nothing) {
  for (uint64_t seed = 1; seed <= rounds(40); ++seed) {
    cr_log_info("seed %lu\n", seed);
    Chaos chaos(seed);
    chaos.run(300);
    chaos.finish();
  }
}

Test(fuzz, hostile_datagrams_reach_sockets_or_nobody) {
  Random random(3);
  RawPeer peer;
  Recorder events;
  const SocketAddress any_v6{IpAddress::any(AF_INET6), 2, 0};
  auto opened = UdpEndpoint::open(peer.host.stack(), Binding{any_v6, Families::kBoth}, events, 5);
  char buffer[2000];
  const iovec piece{buffer, sizeof buffer};
  for (size_t i = 0; i < rounds(20'000); ++i) {
    const int family = i % 2 == 0 ? AF_INET : AF_INET6;
    Bytes frame =
        udp_frame({ip(end_of(family, 1)), 1, 0}, {ip(end_of(family, 0)), 2, 0}, "some datagram");
    mutate(random, frame);
    peer.send_frame(frame);
    size_t copied = 0;
    if (below(random, 3) == 0) {
      static_cast<void>((*opened)->receive({&piece, 1}, false, &copied));
    }
  }
  (*opened)->close();
  cr_expect_eq(peer.host.port().lent_frames(), 0);
}
