// tcp_data_test.cpp - acknowledgements, windows, Nagle and cork, order, old duplicates
#include <criterion/criterion.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "tests/support/pattern.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMs = 1'000'000;

size_t payload_bytes(const std::vector<Segment>& segments) {
  size_t bytes = 0;
  for (const Segment& segment : segments) bytes += segment.payload.size();
  return bytes;
}

TcpOptions no_delay() {
  TcpOptions options;
  options.no_delay = true;
  return options;
}

TcpOptions corked() {
  TcpOptions options;
  options.cork = true;
  return options;
}

Bytes usual_options() {
  return option_mss(1460) + option_window_scale(7) + option_sack_permitted();
}

// The byte in a probe of a closed window is not taken.
void answer_probes(RawPeer& peer) {
  for (const Segment& probe : peer.take()) {
    peer.acknowledgement = probe.sequence;
    peer.send(peer.next());
  }
}

}  // namespace

TestSuite(tcp_data);

// ---- acknowledgements

Test(tcp_data, a_young_connection_acknowledges_at_once) {
  RawPeer peer;
  peer.connect();
  peer.send(peer.next(kAck | kPsh, "one"));
  cr_expect_eq(peer.take_one().acknowledgement, peer.sequence);
}

Test(tcp_data, a_single_segment_is_acknowledged_within_40_ms) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "x", 1);  // the program answers: no quick ACKs any more
  peer.take();
  peer.send(peer.next(kAck | kPsh, "one"));
  cr_expect(peer.take().empty());
  peer.wait(40 * kMs);
  cr_expect_eq(peer.take_one().acknowledgement, peer.sequence);
}

Test(tcp_data, every_second_segment_is_acknowledged_at_once) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next(kAck, std::string(1000, 'a')));
  cr_expect(peer.take().empty());
  peer.send(peer.next(kAck, std::string(1000, 'b')));
  cr_expect_eq(peer.take_one().acknowledgement, peer.sequence);
}

Test(tcp_data, an_answer_carries_the_acknowledgement) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(no_delay());
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next(kAck | kPsh, "question"));
  cr_expect_eq(receive_text(*endpoint), "question");
  send_bytes(*endpoint, "answer", 6);
  const Segment answer = peer.take_one();
  cr_expect_eq(answer.payload, "answer");
  cr_expect_eq(answer.acknowledgement, peer.sequence);
  peer.send(peer.next());
  peer.wait(kSecond);
  cr_expect(peer.take().empty());
}

Test(tcp_data, an_idle_connection_has_no_deadline) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(no_delay());
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next(kAck | kPsh, "y"));
  peer.wait(kSecond);
  peer.take();
  cr_expect_eq(peer.host.stack().next_deadline_ns(), UINT64_MAX);
  static_cast<void>(endpoint);
}

Test(tcp_data, acknowledgements_that_are_wrong_to_both_do_not_echo_for_ever) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  size_t answers = 0;
  for (int i = 0; i < 1000; ++i) {
    Segment wrong = peer.next();
    wrong.sequence -= 5000;
    peer.send(wrong);
    answers += peer.take().size();
    peer.wait(kMs);
  }
  cr_expect_geq(answers, 1);
  cr_expect_leq(answers, 4);
  cr_expect(endpoint->connected());
}

Test(tcp_data, a_sequence_number_half_the_circle_away_is_dropped) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  for (uint32_t offset = 0x7fff'fffd; offset != 0x8000'0004; ++offset) {
    for (size_t bytes = 0; bytes < 3; ++bytes) {
      Segment segment = peer.next(kAck, std::string(bytes, 'h'));
      segment.sequence += offset;
      peer.wire.send(1, tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), segment));
      segment = peer.next(kAck, std::string(bytes, 'h'));
      segment.sequence -= 1;
      segment.acknowledgement += offset;
      peer.wire.send(1, tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), segment));
      peer.host.stack().drive(VirtualClock::now_ns);
    }
  }
  cr_expect(endpoint->connected());
  cr_expect_eq(receive_text(*endpoint), "");
}

Test(tcp_data, data_out_of_order_beyond_the_window_is_dropped) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  // Without scaling the window is 65535 bytes.
  Segment beyond = peer.next(kAck | kFin, std::string(1000, 'b'));
  beyond.sequence += 65'000;
  peer.send(beyond);
  for (int i = 0; i < 65; ++i) peer.send(peer.next(kAck, std::string(1000, 'i')));
  cr_expect_eq(endpoint->unread_bytes(), 65'000);
  cr_expect_not(endpoint->readiness() & EPOLLRDHUP);
}

Test(tcp_data, an_mss_in_the_middle_of_a_connection_is_ignored) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, usual_options());
  std::string data(100'000, 'm');
  send_bytes(*endpoint, data.data(), data.size());
  Segment odd = peer.next(kAck, "x");
  odd.options = option_mss(100);
  peer.send(odd);
  send_bytes(*endpoint, data.data(), data.size());
  cr_expect_eq(endpoint->mss(), 1460);
}

Test(tcp_data, a_tiny_mss_and_a_tiny_window_are_bearable) {
  RawPeer peer;
  peer.window = 10;
  TcpEndpoint* endpoint = peer.connect(no_delay(), option_mss(1) + option_timestamp(1, 0));
  std::string data(3000, 's');
  send_bytes(*endpoint, data.data(), data.size());
  peer.window = 5000;
  peer.send(peer.next());
  std::string got;
  for (int i = 0; i < 1000 && got.size() < data.size(); ++i) {
    for (const Segment& segment : peer.take()) got += segment.payload;
    peer.send(peer.next());
    peer.wait(10 * kMs);
  }
  cr_expect_geq(got.size(), data.size());
}

Test(tcp_data, two_closed_windows_do_not_echo_for_ever) {
  Network network;
  Connection connection = establish(network);
  std::string data(4'000'000, 'e');
  for (int i = 0; i < 100; ++i) {
    send_bytes(*connection.client, data.data(), data.size());
    send_bytes(*connection.server, data.data(), data.size());
    network.run_for(10 * kMs);
  }
  const size_t before = network.a.port().sent_frames();
  network.run_for(10 * kSecond);
  cr_expect_leq(network.a.port().sent_frames() - before, 50);
}

// ---- order

Test(tcp_data, segments_out_of_order_are_put_in_order_and_reported) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, usual_options());
  Segment first = peer.next(kAck, "first ");
  Segment second = peer.next(kAck, "second ");
  second.sequence += 6;
  Segment third = peer.next(kAck | kPsh, "third");
  third.sequence += 13;
  peer.send(third);
  Segment answer = peer.take_one();
  cr_expect_eq(answer.acknowledgement, first.sequence);
  cr_expect_eq(answer.option(TCPOPT_SACK).size(), 8);
  peer.send(second);
  peer.take();
  cr_expect_eq(receive_text(*endpoint), "");
  peer.send(first);
  cr_expect_eq(receive_text(*endpoint), "first second third");
}

Test(tcp_data, overlapping_segments_are_taken_once) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  const Segment start = peer.next(kAck, "abcdef");
  Segment overlap = start;
  overlap.sequence += 3;
  overlap.payload = "defghi";
  Segment inside = start;
  inside.sequence += 1;
  inside.payload = "bc";
  peer.send(start);
  peer.send(inside);
  peer.send(overlap);
  cr_expect_eq(receive_text(*endpoint), "abcdefghi");
}

Test(tcp_data, a_fin_out_of_order_waits_for_its_data) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Segment fin = peer.next(kFin | kAck);
  fin.sequence += 4;
  peer.send(fin);
  cr_expect_not(endpoint->readiness() & EPOLLRDHUP);
  peer.send(peer.next(kAck, "data"));
  cr_expect_eq(receive_text(*endpoint), "data");
  cr_expect(endpoint->readiness() & EPOLLRDHUP);
}

Test(tcp_data, sequence_numbers_may_wrap) {
  RawPeer peer;
  peer.sequence = 0xffff'ff00;
  TcpEndpoint* endpoint = peer.connect();
  std::string all;
  for (int i = 0; i < 20; ++i) {
    const std::string piece(100, static_cast<char>('a' + i));
    peer.send(peer.next(kAck, piece));
    all += piece;
  }
  cr_expect_eq(receive_text(*endpoint), all);
  cr_expect_lt(peer.sequence, 0x1000);
}

Test(tcp_data, an_old_duplicate_from_before_a_wrap_is_dropped) {
  RawPeer peer;
  peer.every_option = option_timestamp(100'000, 0);
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460) + option_timestamp(100'000, 0));
  peer.send(peer.next(kAck, "new"));
  peer.take();
  Segment old = peer.next(kAck, "old");
  old.options = option_timestamp(50'000, 0);
  peer.send(old);
  peer.sequence -= 3;
  // RFC 7323 5.3: an acknowledgement is the answer.
  cr_expect_eq(peer.take_one().acknowledgement, peer.sequence);
  cr_expect_eq(receive_text(*endpoint), "new");
  peer.send(peer.next(kAck, "good"));
  cr_expect_eq(receive_text(*endpoint), "good");
}

Test(tcp_data, urgent_data_stays_in_line_where_that_is_wanted) {
  TcpOptions options;
  options.urgent_inline = true;
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(options);
  Segment segment = peer.next(kAck | kUrg | kPsh, "plain!");
  segment.urgent = 6;
  peer.send(segment);
  cr_expect_eq(receive_text(*endpoint), "plain");
  cr_expect_eq(receive_text(*endpoint), "!");
  cr_expect(endpoint->connected());
}

Test(tcp_data, many_tiny_segments_out_of_order_are_bounded) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  const uint32_t base = peer.sequence;
  for (uint32_t i = 0; i < 5000; ++i) {
    Segment tiny = peer.next(kAck, "t");
    tiny.sequence = base + 1 + 2 * i;
    peer.wire.send(1, tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), tiny));
    if (i % 32 == 0) peer.host.stack().drive(VirtualClock::now_ns);
  }
  peer.host.stack().drive(VirtualClock::now_ns);
  cr_expect_leq(peer.host.port().lent_frames(), 600);
  peer.take();
  cr_expect(endpoint->connected());
}

// ---- reading

Test(tcp_data, peek_leaves_and_trunc_discards) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.send(peer.next(kAck, "abcdef"));
  char text[8] = {};
  cr_expect_eq(receive_bytes(*endpoint, text, 3, MSG_PEEK), 3);
  cr_expect_str_eq(text, "abc");
  cr_expect_eq(receive_bytes(*endpoint, nullptr, 2, MSG_TRUNC), 2);
  cr_expect_eq(receive_text(*endpoint), "cdef");
  cr_expect_eq(receive_bytes(*endpoint, text, 1), -EAGAIN);
}

Test(tcp_data, a_slow_reader_gives_the_frames_back) {
  Network network;
  network.b.port().settings().hold_limit_frames = 16;
  Connection connection = establish(network);
  static const Pattern pattern;
  uint64_t sent = 0;
  uint64_t received = 0;
  uint8_t buffer[3000];
  constexpr uint64_t kTotal = 3'000'000;
  size_t most_lent = 0;
  for (int i = 0; i < 100'000 && received < kTotal; ++i) {
    if (sent < kTotal) {
      const ssize_t n = send_bytes(*connection.client, pattern.at(sent),
                                   std::min<uint64_t>(kTotal - sent, Pattern::kMaxPiece));
      if (n > 0) sent += static_cast<uint64_t>(n);
    }
    network.run_for(20'000);
    most_lent = std::max(most_lent, network.b.port().lent_frames());
    const ssize_t n = receive_bytes(*connection.server, buffer, sizeof buffer);
    if (n <= 0) continue;
    cr_assert(pattern.matches(received, buffer, static_cast<size_t>(n)));
    received += static_cast<uint64_t>(n);
  }
  cr_expect_eq(received, kTotal);
  cr_expect_leq(most_lent, 16);
  cr_expect_gt(network.b.counters().rx_copied_frames.load(), 100);
}

Test(tcp_data, who_never_reads_does_not_stop_others) {
  Network network;
  network.b.port().settings().hold_limit_frames = 64;
  Connection lazy = establish(network, 80);
  Connection busy = establish(network, 81);
  std::string data(2'000'000, 'l');
  send_bytes(*lazy.client, data.data(), data.size());
  network.run_for(100 * kMs);
  cr_expect_geq(lazy.server->unread_bytes(), 900'000);
  cr_expect_leq(lazy.server->unread_bytes(), 1024 * 1024);
  for (int i = 0; i < 100; ++i) {
    send_bytes(*busy.client, "ping", 4);
    cr_assert(network.run_until([&] { return receive_text(*busy.server) == "ping"; }, kSecond));
  }
  cr_expect_leq(network.b.port().lent_frames(), 64);
  lazy.server->disown(Fd());
  network.run_for(10 * kMs);
  lazy.client->disown(Fd());
  cr_expect_eq(network.b.port().lent_frames(), 0);
}

// ---- windows

Test(tcp_data, a_closed_window_is_probed_and_reopened) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.window = 0;
  send_bytes(*endpoint, "before", 6);
  peer.take();
  peer.send(peer.next());
  send_bytes(*endpoint, "after", 5);
  cr_expect(peer.take().empty());
  const uint64_t start = VirtualClock::now_ns;
  std::vector<uint64_t> at_ms;
  while (at_ms.size() < 5 && VirtualClock::now_ns - start < 60 * kSecond) {
    for (const Segment& probe : peer.take()) {
      at_ms.push_back((probe.arrived_ns - start) / kMs);
      cr_expect_leq(probe.payload.size(), 1);
      peer.acknowledgement = probe.sequence;
      peer.send(peer.next());
    }
    peer.wait(10 * kMs);
  }
  const uint64_t expected[] = {200, 600, 1400, 3000, 6200};
  for (size_t i = 0; i < 5; ++i) {
    cr_expect_geq(at_ms[i] + 20, expected[i], "%zu: %lu", i, at_ms[i]);
    cr_expect_leq(at_ms[i], expected[i] + 100, "%zu: %lu", i, at_ms[i]);
  }
  peer.window = 65535;
  peer.send(peer.next());
  const std::vector<Segment> rest = peer.take();
  cr_assert_geq(rest.size(), 1);
  cr_expect_eq(rest.back().payload, "after");
}

// tcp(7), TCP_USER_TIMEOUT: bytes that nobody acknowledges, and those that find no window.
Test(tcp_data, the_user_timeout_ends_a_connection_without_progress) {
  for (const bool closed_window : {false, true}) {
    RawPeer peer;
    TcpOptions options;
    options.user_timeout_ms = 5000;
    TcpEndpoint* endpoint = peer.connect(options);
    if (closed_window) peer.window = 0;
    send_bytes(*endpoint, "first", 5);
    peer.take();
    if (closed_window) peer.send(peer.next());
    send_bytes(*endpoint, "second", 6);
    // Probes of a closed window are answered: that is no progress either.
    for (int i = 0; i < 49; ++i) {
      if (closed_window) answer_probes(peer);
      peer.wait(100 * kMs);
    }
    cr_expect(endpoint->connected(), "%d", closed_window);
    peer.wait(kSecond);
    cr_expect_eq(endpoint->take_error(), ETIMEDOUT, "%d", closed_window);
    endpoint->disown(Fd());
  }
}

Test(tcp_data, a_window_that_stays_closed_is_waited_for) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.window = 0;
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next());
  send_bytes(*endpoint, "y", 1);
  // An hour in which every probe is answered.
  for (int i = 0; i < 3600; ++i) {
    peer.wait(kSecond);
    answer_probes(peer);
  }
  cr_expect(endpoint->connected());
}

Test(tcp_data, an_acknowledgement_of_everything_with_a_closed_window_is_fine) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "abc", 3);
  peer.take();
  // The window closes over data in flight; the retransmission cannot be sent, then all is taken.
  Segment closed = peer.next();
  closed.window = 0;
  closed.acknowledgement -= 3;
  closed.sequence += 0;
  peer.send(closed);
  peer.wait(2 * kSecond);
  peer.take();
  peer.window = 0;
  peer.send(peer.next());
  peer.wait(10 * kSecond);
  cr_expect(endpoint->connected());
  cr_expect_eq(endpoint->unsent_bytes(), 0);
}

Test(tcp_data, a_small_window_is_used_after_a_while) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460));
  peer.window = 500;
  peer.send(peer.next(kAck, "w"));
  peer.take();
  std::string data(2000, 's');
  send_bytes(*endpoint, data.data(), data.size());
  std::string got;
  for (int i = 0; i < 100 && got.size() < 2000; ++i) {
    for (const Segment& segment : peer.take()) {
      cr_expect_leq(segment.payload.size(), 500);
      got += segment.payload;
      peer.send(peer.next());
    }
    peer.wait(100 * kMs);
  }
  cr_expect_eq(got.size(), 2000);
}

Test(tcp_data, reading_reopens_the_window) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460) + option_window_scale(7));
  size_t sent = 0;
  uint32_t announced = 0xffff;
  while (announced >= 1460 && sent < 2'000'000) {
    peer.send(peer.next(kAck, std::string(1460, 'r')));
    sent += 1460;
    for (const Segment& segment : peer.take()) announced = uint32_t{segment.window} << 7U;
  }
  cr_expect_geq(sent, 1'000'000);
  cr_expect_leq(sent, 1024 * 1024 + 1460);
  peer.wait(kSecond);
  peer.take();
  std::string buffer(20'000, 0);
  cr_expect_eq(receive_bytes(*endpoint, buffer.data(), buffer.size()), 20'000);
  const std::vector<Segment> updates = peer.take();
  cr_assert_eq(updates.size(), 1);
  cr_expect_geq(uint32_t{updates[0].window} << 7U, 19'000);
}

Test(tcp_data, reading_from_a_wide_window_needs_no_update) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460) + option_window_scale(7));
  for (int i = 0; i < 20; ++i) peer.send(peer.next(kAck, std::string(1460, 'r')));
  peer.wait(kSecond);
  peer.take();
  std::string buffer(29'200, 0);
  cr_expect_eq(receive_bytes(*endpoint, buffer.data(), buffer.size()), 29'200);
  cr_expect(peer.take().empty());
}

// ---- Nagle, cork

Test(tcp_data, nagle_holds_a_short_segment_behind_another_short_one) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "one", 3);
  cr_expect_eq(peer.take_one().payload, "one");
  send_bytes(*endpoint, "two", 3);
  send_bytes(*endpoint, "three", 5);
  cr_expect(peer.take().empty());
  cr_expect_eq(endpoint->unsent_bytes(), 11);
  peer.send(peer.next());
  cr_expect_eq(peer.take_one().payload, "twothree");
}

Test(tcp_data, nagle_does_not_hold_a_tail_behind_full_segments) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, usual_options() + option_timestamp(1, 0));
  std::string data(3000, 'n');
  send_bytes(*endpoint, data.data(), data.size());
  const std::vector<Segment> segments = peer.take();
  cr_expect_eq(payload_bytes(segments), 3000);
  cr_expect(segments.back().has(kPsh));
}

Test(tcp_data, no_delay_sends_every_write) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(no_delay());
  for (int i = 0; i < 5; ++i) send_bytes(*endpoint, "w", 1);
  cr_expect_eq(peer.take().size(), 5);
}

Test(tcp_data, setting_no_delay_sends_what_was_held) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "one", 3);
  send_bytes(*endpoint, "two", 3);
  peer.take();
  endpoint->set_options(no_delay());
  cr_expect_eq(peer.take_one().payload, "two");
}

Test(tcp_data, a_cork_holds_the_tail_until_it_is_drawn) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(corked(), option_mss(1460));
  std::string data(2000, 'c');
  send_bytes(*endpoint, data.data(), data.size());
  cr_expect_eq(peer.take_one().payload.size(), 1460);
  send_bytes(*endpoint, data.data(), 500);
  cr_expect(peer.take().empty());
  endpoint->set_options({});
  cr_expect_eq(peer.take_one().payload.size(), 1040);
}

Test(tcp_data, a_cork_is_drawn_after_200_ms) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(corked());
  send_bytes(*endpoint, "corked", 6);
  peer.wait(190 * kMs);
  cr_expect(peer.take().empty());
  peer.wait(30 * kMs);
  cr_expect_eq(peer.take_one().payload, "corked");
}

Test(tcp_data, msg_more_waits_for_the_next_write) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(no_delay());
  send_bytes(*endpoint, "head", 4, MSG_MORE);
  cr_expect(peer.take().empty());
  send_bytes(*endpoint, "body", 4);
  cr_expect_eq(peer.take_one().payload, "headbody");
}

Test(tcp_data, closing_sends_what_was_held) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(corked());
  send_bytes(*endpoint, "held", 4);
  endpoint->disown(Fd());
  std::string got;
  bool fin = false;
  for (const Segment& segment : peer.take()) {
    got += segment.payload;
    fin = fin || segment.has(kFin);
  }
  cr_expect_eq(got, "held");
  cr_expect(fin);
}

Test(tcp_data, a_reset_with_a_held_segment_leaks_nothing) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(corked());
  send_bytes(*endpoint, "held", 4);
  peer.send(peer.next(kRst | kAck));
  cr_expect_eq(endpoint->take_error(), ECONNRESET);
  endpoint->disown(Fd());
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

// ---- the send buffer

Test(tcp_data, a_full_send_buffer_is_eagain_and_tells_when_there_is_room) {
  Network network;
  Connection connection = establish(network);
  std::string data(4'000'000, 'f');
  while (send_bytes(*connection.client, data.data(), data.size()) > 0) {
  }
  cr_expect_eq(send_bytes(*connection.client, "x", 1), -EAGAIN);
  cr_expect_not(connection.client->readiness() & EPOLLOUT);
  network.a.client_events.clear();
  network.run_until([&] {
    while (receive_bytes(*connection.server, data.data(), data.size()) > 0) {
    }
    return (network.a.client_events.seen & EPOLLOUT) != 0;
  });
  cr_expect(network.a.client_events.seen & EPOLLOUT);
  cr_expect(connection.client->readiness() & EPOLLOUT);
}

Test(tcp_data, many_small_writes_into_a_closed_window_stay_within_bounds) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(no_delay());
  peer.window = 0;
  send_bytes(*endpoint, "x", 1);
  peer.take();
  peer.send(peer.next());
  size_t bytes = 0;
  for (int i = 0; i < 300'000; ++i) {
    const ssize_t n = send_bytes(*endpoint, "1234567", 7);
    if (n <= 0) break;
    bytes += static_cast<size_t>(n);
  }
  cr_expect_geq(bytes, 1'000'000);
}

Test(tcp_data, no_free_chunk_delays_but_does_not_lose) {
  Network network;
  Connection connection = establish(network);
  network.a.port().set_transmitting(false);
  send_bytes(*connection.client, "later", 5);
  network.run_for(5 * kMs);
  cr_expect_eq(receive_text(*connection.server), "");
  network.a.port().set_transmitting(true);
  cr_expect(
      network.run_until([&] { return receive_text(*connection.server) == "later"; }, 50 * kMs));
  cr_expect_gt(network.a.counters().tx_no_frame.load(), 0);
}

// ---- loss

Test(tcp_data, three_blocks_bring_the_lost_segment_again_at_once) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, usual_options());
  std::string data(1460 * 6, 'l');
  send_bytes(*endpoint, data.data(), data.size());
  std::vector<Segment> sent = peer.take();
  cr_assert_eq(sent.size(), 6);
  peer.acknowledgement = sent[0].sequence;
  Segment report = peer.next();
  for (size_t i = 1; i <= 3; ++i) {
    const uint32_t left = htonl(sent[1].sequence);
    const uint32_t right = htonl(sent[i].sequence + 1460);
    Bytes block(8);
    std::memcpy(block.data(), &left, 4);
    std::memcpy(block.data() + 4, &right, 4);
    report.options = Bytes{TCPOPT_SACK, 10} + block;
    peer.send(report);
  }
  const Segment again = peer.take_one();
  cr_expect_eq(again.sequence, sent[0].sequence);
  cr_expect_eq(peer.host.counters().tcp_retransmits.load(), 1);
}

Test(tcp_data, the_loss_of_a_tail_is_noticed_before_the_retransmission_timer) {
  Network network;
  Connection connection = establish(network);
  std::string data(20'000, 't');
  size_t frames = 0;
  network.wire.tap = [&](int side, Bytes&) { return side != 0 || ++frames < 9; };
  send_bytes(*connection.client, data.data(), data.size());
  const uint64_t start = VirtualClock::now_ns;
  network.run_for(kMs);
  network.wire.tap = nullptr;
  size_t got = receive_text(*connection.server).size();
  network.run_until([&] { return (got += receive_text(*connection.server).size()) == 20'000; });
  cr_expect_eq(got, 20'000);
  cr_expect_lt(VirtualClock::now_ns - start, 190 * kMs);
}

// As tcp_send_loss_probe(): then the usual time for an answer to the probe, and twice that.
Test(tcp_data, the_retransmission_timer_starts_anew_with_a_tail_probe) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, usual_options());
  send_bytes(*endpoint, "hello", 5);
  std::vector<uint64_t> at_ms;
  for (int i = 0; i < 300; ++i) {
    for (const Segment& segment : peer.take()) at_ms.push_back(segment.arrived_ns / kMs);
    peer.wait(10 * kMs);
  }
  cr_assert_geq(at_ms.size(), 5, "%zu", at_ms.size());
  cr_expect_lt(at_ms[1] - at_ms[0], 200);
  for (size_t i = 2; i < 5; ++i) {
    const uint64_t expected_ms = 200U << (i - 2);
    const uint64_t gap_ms = at_ms[i] - at_ms[i - 1];
    cr_expect_geq(gap_ms, expected_ms, "%zu: %lu", i, gap_ms);
    cr_expect_leq(gap_ms, expected_ms + 60, "%zu: %lu", i, gap_ms);
  }
}
