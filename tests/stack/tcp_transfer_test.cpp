// tcp_transfer_test.cpp - much data, over wires good and bad
#include <criterion/criterion.h>

#include "tests/support/pattern.h"
#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif
constexpr uint64_t kBulkBytes = kSanitized ? 4'000'000 : 100'000'000;

// One direction of a connection.
struct Flow {
  TcpEndpoint* from;
  TcpEndpoint* to;
  uint64_t sent = 0;
  uint64_t received = 0;
  bool intact = true;
};

void pump(Flow& flow, const Pattern& pattern, uint64_t total) {
  static uint8_t buffer[Pattern::kMaxPiece];
  while (flow.sent < total) {
    const size_t piece = std::min<uint64_t>(Pattern::kMaxPiece, total - flow.sent);
    const ssize_t sent = send_bytes(*flow.from, pattern.at(flow.sent), piece);
    if (sent <= 0) break;
    flow.sent += static_cast<uint64_t>(sent);
  }
  for (;;) {
    const ssize_t got = receive_bytes(*flow.to, buffer, sizeof buffer);
    if (got <= 0) break;
    flow.intact = flow.intact && pattern.matches(flow.received, buffer, static_cast<size_t>(got));
    flow.received += static_cast<uint64_t>(got);
  }
}

// Returns the virtual time that it took, in milliseconds; 0 when it did not end.
uint64_t transfer(Network& network, uint64_t bytes_up, uint64_t bytes_down) {
  static const Pattern pattern;
  Connection connection = establish(network);
  Flow up{connection.client, connection.server};
  Flow down{connection.server, connection.client};
  const uint64_t start = VirtualClock::now_ns;
  const bool done = network.run_until(
      [&] {
        pump(up, pattern, bytes_up);
        pump(down, pattern, bytes_down);
        return up.received == bytes_up && down.received == bytes_down;
      },
      1'000'000'000'000);
  cr_expect(done, "arrived: %lu and %lu", up.received, down.received);
  cr_expect(up.intact && down.intact);
  const uint64_t took_ms = (VirtualClock::now_ns - start) / 1'000'000;
  cr_log_info(
      "%lu + %lu bytes in %lu ms of virtual time, %lu steps; lost %lu, sent again %lu\n", bytes_up,
      bytes_down, took_ms, network.steps(), network.wire.lost_frames(),
      network.a.counters().tcp_retransmits.load() + network.b.counters().tcp_retransmits.load());
  return done ? std::max<uint64_t>(took_ms, 1) : 0;
}

void make_bad(SimulatedWire& wire) {
  wire.faults.loss = 0.01;
  wire.faults.duplication = 0.005;
  wire.faults.reordering = 0.01;
}

}  // namespace

TestSuite(tcp_transfer);

Test(tcp_transfer, a_hundred_megabytes_arrive_whole_over_a_good_wire) {
  Network network;
  cr_expect(transfer(network, kBulkBytes, 0) != 0);
}

Test(tcp_transfer, a_hundred_megabytes_survive_loss_reordering_and_duplication) {
  Network network;
  make_bad(network.wire);
  cr_expect(transfer(network, kBulkBytes, 0) != 0);
}

Test(tcp_transfer, a_hundred_megabytes_survive_it_in_the_other_direction) {
  Network network(7);
  make_bad(network.wire);
  cr_expect(transfer(network, 0, kBulkBytes) != 0);
}

Test(tcp_transfer, both_directions_at_once_survive_it) {
  Network network(3);
  make_bad(network.wire);
  cr_expect(transfer(network, kBulkBytes / 4, kBulkBytes / 4) != 0);
}

Test(tcp_transfer, a_long_wire_that_loses_is_survived) {
  Network network(5);
  make_bad(network.wire);
  network.wire.faults.delay_ns = 20'000'000;
  network.wire.faults.reorder_ns = 3'000'000;
  cr_expect(transfer(network, kBulkBytes / 20, 0) != 0);
}

Test(tcp_transfer, ipv6_is_as_good) {
  Network good(1, AF_INET6);
  cr_expect(transfer(good, kBulkBytes / 4, kBulkBytes / 4) != 0);
  Network bad(13, AF_INET6);
  make_bad(bad.wire);
  cr_expect(transfer(bad, kBulkBytes / 4, kBulkBytes / 4) != 0);
}

Test(tcp_transfer, bursts_of_loss_are_survived) {
  Network network(11);
  size_t frames = 0;
  // As a ring that overflows: 30 frames in a row, now and then.
  network.wire.tap = [&](int side, Bytes&) { return side != 0 || ++frames % 2000 < 1970; };
  cr_expect(transfer(network, kBulkBytes / 4, 0) != 0);
}
