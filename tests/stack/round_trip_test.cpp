// round_trip_test.cpp - what TCP_INFO says of the time that an acknowledgement takes
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/tcp.h>

#include <cstring>

#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMs = 1'000'000;
constexpr uint8_t kTimestampOption = 8;

tcp_info info_of(const TcpEndpoint& endpoint) {
  tcp_info info{};
  socklen_t length = sizeof info;
  endpoint.info(-1, &info, &length);
  return info;
}

// So many bytes, one after the other, each answered after so long. Returns how many segments came
// twice. `echo_off` is added to the timestamps that the peer echoes, if there are any.
size_t exchange(RawPeer& peer, TcpEndpoint& endpoint, int bytes, uint64_t takes_ns,
                uint32_t echo_off = 0) {
  size_t twice = 0;
  for (int i = 0; i < bytes; ++i) {
    send_bytes(endpoint, "x", 1);
    const Segment first = peer.take_one();
    peer.wait(takes_ns);
    twice += peer.take().size();
    const Bytes stamp = first.option(kTimestampOption);
    if (stamp.size() == 8) {
      uint32_t echo = 0;
      std::memcpy(&echo, stamp.data(), sizeof echo);
      peer.every_option = option_timestamp(2, ntohl(echo) + echo_off);
    }
    peer.send(peer.next());
  }
  return twice;
}

}  // namespace

TestSuite(round_trip);

Test(round_trip, the_round_trip_is_measured_in_microseconds) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  // The peer's answers take 20 ms, then 300 us.
  for (int i = 0; i < 60; ++i) {
    send_bytes(*endpoint, "x", 1);
    peer.take();
    const uint64_t before = VirtualClock::now_ns;
    VirtualClock::advance(i < 10 ? 20 * kMs : 300'000);
    peer.send(peer.next());
    const uint64_t took_us = (VirtualClock::now_ns - before) / 1000;
    if (i != 9 && i != 59) continue;
    const uint32_t rtt_us = info_of(*endpoint).tcpi_rtt;
    cr_expect_leq(rtt_us, took_us + 200, "%d: %u of %lu", i, rtt_us, took_us);
    cr_expect_geq(rtt_us, took_us * 2 / 3, "%d: %u of %lu", i, rtt_us, took_us);
  }
  cr_expect_leq(info_of(*endpoint).tcpi_rttvar, 2000);
  cr_expect_leq(info_of(*endpoint).tcpi_min_rtt, 320);
}

// net.ipv4.tcp_min_rtt_wlen: the path may have become longer.
Test(round_trip, the_smallest_round_trip_is_that_of_the_last_five_minutes) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  const auto round_trip = [&](uint64_t ns) {
    send_bytes(*endpoint, "x", 1);
    peer.take();
    VirtualClock::advance(ns);
    peer.send(peer.next());
  };
  round_trip(300'000);
  round_trip(5 * kMs);
  cr_expect_leq(info_of(*endpoint).tcpi_min_rtt, 320);
  peer.wait(301 * kSecond);
  round_trip(5 * kMs);
  cr_expect_geq(info_of(*endpoint).tcpi_min_rtt, 5000);
  cr_expect_leq(info_of(*endpoint).tcpi_min_rtt, 5020);
}

// tcp_rto_min and RFC 6298 2.3: 200 ms above the smoothed round trip, however short that is.
Test(round_trip, the_timeout_is_200_ms_above_it) {
  for (const uint64_t round_trip_ms : std::initializer_list<uint64_t>{0, 15, 45}) {
    RawPeer peer;
    TcpEndpoint* endpoint = peer.connect();
    exchange(peer, *endpoint, 60, round_trip_ms * kMs);
    const uint32_t rto_ms = info_of(*endpoint).tcpi_rto / 1000;
    cr_expect_geq(rto_ms, 200 + round_trip_ms / 10 * 10, "%lu: %u", round_trip_ms, rto_ms);
    cr_expect_leq(rto_ms, 210 + round_trip_ms, "%lu: %u", round_trip_ms, rto_ms);
  }
}

// A tail probe asks after 60 ms. Whether the answer is meant for it or for what it repeats, the
// peer's timestamp tells (RFC 7323 4); without one nothing is learnt.
Test(round_trip, timestamps_tell_it_of_what_was_probed) {
  for (const bool timestamps : {true, false}) {
    RawPeer peer;
    Bytes options = option_sack_permitted();
    if (timestamps) options = options + option_timestamp(1, 0);
    TcpEndpoint* endpoint = peer.connect({}, options);
    const uint32_t before_us = info_of(*endpoint).tcpi_rtt;
    const size_t probes = exchange(peer, *endpoint, 60, 95 * kMs);
    const uint32_t rtt_us = info_of(*endpoint).tcpi_rtt;
    if (!timestamps) {
      cr_expect_eq(rtt_us, before_us);
      cr_expect_eq(probes, 60);
      continue;
    }
    cr_expect_geq(rtt_us, 94'000, "%u", rtt_us);
    cr_expect_leq(rtt_us, 97'000, "%u", rtt_us);
    cr_expect_geq(info_of(*endpoint).tcpi_rto, 290'000);
    // As soon as it is known that answers take their time, nobody asks any more.
    cr_expect_lt(probes, 10, "%zu", probes);
  }
}

// What the peer's timestamp says must be possible.
Test(round_trip, an_absurd_echo_is_not_believed) {
  for (const uint32_t off : {1'000'000U, 0U - 1'000'000U}) {
    RawPeer peer;
    TcpEndpoint* endpoint = peer.connect({}, option_sack_permitted() + option_timestamp(1, 0));
    const uint32_t before_us = info_of(*endpoint).tcpi_rtt;
    exchange(peer, *endpoint, 3, 95 * kMs, off);
    cr_expect_eq(info_of(*endpoint).tcpi_rtt, before_us, "%u", off);
  }
}

// What is sent while the window is closed waits for the program of the peer.
Test(round_trip, a_window_probe_does_not_count) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  exchange(peer, *endpoint, 5, 300'000);
  const uint32_t before_us = info_of(*endpoint).tcpi_rtt;
  peer.window = 0;
  peer.send(peer.next());
  send_bytes(*endpoint, "waits", 5);
  peer.wait(10 * kSecond);
  peer.window = 65535;
  cr_expect_gt(peer.take().size(), 2);
  peer.send(peer.next());
  peer.take();
  cr_expect_leq(info_of(*endpoint).tcpi_rtt, before_us);
}

// Karn: an acknowledgement of what was sent twice says nothing.
Test(round_trip, a_segment_that_is_sent_again_does_not_count_for_the_round_trip) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next());
  const uint32_t before_us = info_of(*endpoint).tcpi_rtt;
  send_bytes(*endpoint, "y", 1);
  peer.wait(5 * kSecond);
  cr_expect_gt(peer.take().size(), 3);
  peer.send(peer.next());
  cr_expect_eq(info_of(*endpoint).tcpi_rtt, before_us);
}

Test(round_trip, a_pause_before_a_segment_is_not_taken_for_its_round_trip) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  VirtualClock::advance(100 * kSecond);  // nobody drives the stack meanwhile
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next());
  const tcp_info info = info_of(*endpoint);
  cr_expect_geq(info.tcpi_rto, 200'000);
  cr_expect_leq(info.tcpi_rto, 220'000);
  cr_expect_leq(info.tcpi_rtt, 20'000);
}

// Which of the two SYN-ACKs it was that arrived is not known either.
Test(round_trip, a_handshake_whose_syn_was_repeated_does_not_count) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  std::swap(peer.port, peer.host_port);
  const Segment syn = peer.next(kSyn);
  peer.send(syn);
  peer.take();
  peer.wait(900 * kMs);
  peer.send(syn);
  peer.take();
  peer.send(peer.next());
  cr_assert(listener->ready());
  TcpEndpoint* endpoint = listener->take();
  cr_expect_eq(info_of(*endpoint).tcpi_rtt, 0);
  endpoint->disown(Fd());
}
