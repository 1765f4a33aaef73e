// tcp_keepalive_test.cpp - asking a silent peer whether it is there
#include <criterion/criterion.h>

#include <cerrno>

#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

TcpOptions quick() {
  TcpOptions options;
  options.keep_alive = true;
  options.keep_idle_ms = 10'000;
  options.keep_interval_ms = 2'000;
  options.keep_count = 3;
  return options;
}

}  // namespace

TestSuite(tcp_keepalive);

Test(tcp_keepalive, a_silent_peer_is_probed_and_given_up) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(quick());
  const uint64_t start = VirtualClock::now_ns;
  std::vector<uint64_t> at_s;
  while (endpoint->connected() && VirtualClock::now_ns - start < 60 * kSecond) {
    for (const Segment& probe : peer.take()) {
      cr_expect_eq(probe.sequence, peer.acknowledgement - 1);
      at_s.push_back((probe.arrived_ns - start + kSecond / 2) / kSecond);
    }
    peer.wait(kSecond / 10);
  }
  cr_expect_eq(at_s, (std::vector<uint64_t>{10, 12, 14}));
  cr_expect_eq((VirtualClock::now_ns - start + kSecond / 2) / kSecond, 16);
  cr_expect_eq(endpoint->take_error(), ETIMEDOUT);
  cr_expect(peer.take_one().has(kRst));
  endpoint->disown(Fd());
}

// tcp(7): TCP_USER_TIMEOUT takes the place of the count.
Test(tcp_keepalive, the_user_timeout_ends_it) {
  RawPeer peer;
  TcpOptions options = quick();
  options.user_timeout_ms = 25'000;
  TcpEndpoint* endpoint = peer.connect(options);
  peer.wait(24 * kSecond);
  cr_expect(endpoint->connected());
  cr_expect_gt(peer.take().size(), options.keep_count);
  peer.wait(3 * kSecond);
  cr_expect_eq(endpoint->take_error(), ETIMEDOUT);
  endpoint->disown(Fd());
}

Test(tcp_keepalive, an_answer_starts_it_over) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(quick());
  size_t probes = 0;
  for (int i = 0; i < 1000; ++i) {
    for (const Segment& probe : peer.take()) {
      static_cast<void>(probe);
      ++probes;
      peer.send(peer.next());
    }
    peer.wait(kSecond / 10);
  }
  cr_expect(endpoint->connected());
  cr_expect_geq(probes, 8);
  cr_expect_leq(probes, 10);
}

Test(tcp_keepalive, is_off_unless_asked_for) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.wait(100'000 * kSecond);
  cr_expect(peer.take().empty());
  cr_expect(endpoint->connected());
}

Test(tcp_keepalive, shorter_times_count_at_once) {
  RawPeer peer;
  TcpOptions options;
  options.keep_alive = true;
  TcpEndpoint* endpoint = peer.connect(options);
  peer.wait(100 * kSecond);
  cr_expect(peer.take().empty());
  endpoint->set_options(quick());
  peer.wait(11 * kSecond);
  cr_expect_geq(peer.take().size(), 1);
  endpoint->set_options({});
  peer.send(peer.next());
  peer.wait(100 * kSecond);
  cr_expect(endpoint->connected());
}
