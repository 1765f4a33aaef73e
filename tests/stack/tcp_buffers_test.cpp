// tcp_buffers_test.cpp - windows and send buffers as small as asked, and connections shown late
#include <criterion/criterion.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "stack/error_queue.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

size_t send_much(TcpEndpoint& endpoint, size_t bytes) {
  const std::string data(bytes, 'a');
  const iovec piece{const_cast<char*>(data.data()), data.size()};
  const auto sent = endpoint.send({&piece, 1}, 0, 0);
  return sent ? *sent : 0;
}

size_t read_much(TcpEndpoint& endpoint, size_t bytes) {
  std::string data(bytes, '\0');
  const iovec piece{data.data(), data.size()};
  const auto got = endpoint.receive({&piece, 1}, 0, 0);
  return got ? *got : 0;
}

// What the peer may have sent beyond what was acknowledged.
uint32_t window_of(const Segment& segment) { return uint32_t{segment.window} << 7U; }

}  // namespace

TestSuite(tcp_buffers);

Test(tcp_buffers, a_small_receive_buffer_is_a_small_window_from_the_first_segment_on) {
  TcpOptions options;
  options.receive_buffer_bytes = 32768;  // as SO_RCVBUF 16384 reads back
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), peer.host_port, 0},
                                   {ip("10.0.0.2"), peer.port, 0}, options, 4);
  cr_assert(made.ok());
  const Segment syn = peer.take_one();
  cr_expect_eq(syn.window, 16384);
  Segment answer = peer.next(kSyn | kAck);
  answer.options = option_mss(1460) + option_window_scale(7);
  peer.send(answer);
  cr_expect_eq(window_of(peer.take_one()), 16384);
  for (int i = 0; i < 16; ++i) peer.send(peer.next(kAck, std::string(1024, 'x')));
  cr_expect_eq((*made)->unread_bytes(), 16384);
  const std::vector<Segment> answers = peer.take();
  cr_expect_eq(window_of(answers.back()), 0);
  cr_expect_eq(read_much(**made, 20000), 16384);
  cr_expect_eq(window_of(peer.take().back()), 16384);
  (*made)->disown(Fd());
}

Test(tcp_buffers, a_listeners_buffer_is_the_window_of_what_it_accepts) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpOptions options;
  options.receive_buffer_bytes = 16384;
  listener->set_options(options);
  std::swap(peer.port, peer.host_port);
  peer.host_port = 80;
  Segment syn = peer.next(kSyn);
  syn.acknowledgement = 0;
  syn.options = option_mss(1460) + option_window_scale(7);
  peer.send(syn);
  cr_expect_eq(peer.take_one().window, 8192);
}

Test(tcp_buffers, a_window_is_made_smaller_by_reading_not_by_taking_back) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460) + option_window_scale(7));
  peer.send(peer.next(kAck, std::string(1400, 'x')));
  const uint32_t edge = window_of(peer.take().back()) + peer.sequence;
  TcpOptions options;
  options.receive_buffer_bytes = 32768;
  endpoint->set_options(options);
  cr_expect_eq(read_much(*endpoint, 2000), 1400);
  peer.send(peer.next(kAck, std::string(1400, 'x')));
  const Segment last = peer.take().back();
  const uint32_t moved = last.acknowledgement + window_of(last) - edge;
  cr_expect(moved < 128 || moved > 0U - 128U, "the edge has moved by %u", moved);
}

Test(tcp_buffers, a_small_send_buffer_takes_as_much_and_tells_when_there_is_room) {
  TcpOptions options;
  options.send_buffer_bytes = 20000;
  RawPeer peer;
  peer.window = 100;
  TcpEndpoint* endpoint = peer.connect(options);
  cr_expect_eq(send_much(*endpoint, 100000), 20000);
  cr_expect_eq(endpoint->readiness() & EPOLLOUT, 0);
  options.send_buffer_bytes = 40000;
  peer.host.client_events.clear();
  endpoint->set_options(options);
  cr_expect_neq(peer.host.client_events.seen & EPOLLOUT, 0);
  cr_expect_eq(send_much(*endpoint, 100000), 20000);
}

Test(tcp_buffers, more_is_taken_only_when_little_was_not_sent) {
  TcpOptions options;
  options.not_sent_low_water = 4000;
  RawPeer peer;
  peer.window = 1000;
  TcpEndpoint* endpoint = peer.connect(options);
  const size_t taken = send_much(*endpoint, 4500);
  cr_expect_eq(taken, 4500);
  cr_expect_eq(endpoint->not_sent_bytes(), 3500);
  send_much(*endpoint, 1000);
  cr_expect_eq(send_much(*endpoint, 1000), 0);
  cr_expect_eq(endpoint->readiness() & EPOLLOUT, 0);
}

Test(tcp_buffers, a_deferred_connection_is_shown_with_its_first_byte) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpOptions options;
  options.defer_accept_s = 3;
  listener->set_options(options);
  cr_expect_null(peer.accept(*listener));
  cr_expect(!listener->ready());
  peer.send(peer.next(kAck | kPsh, "x"));
  cr_expect(listener->ready());
}

Test(tcp_buffers, a_deferred_connection_is_shown_when_it_has_waited_long_enough) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpOptions options;
  options.defer_accept_s = 3;
  listener->set_options(options);
  cr_expect_null(peer.accept(*listener));
  peer.wait(2 * kSecond);
  cr_expect(!listener->ready());
  peer.wait(2 * kSecond);
  cr_expect(listener->ready());
}

Test(tcp_buffers, a_deferred_connection_that_is_reset_is_never_shown) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpOptions options;
  options.defer_accept_s = 3;
  listener->set_options(options);
  cr_expect_null(peer.accept(*listener));
  peer.send(peer.next(kRst | kAck));
  peer.wait(5 * kSecond);
  cr_expect(!listener->ready());
}

Test(tcp_buffers, an_orphan_waits_for_the_end_as_long_as_tcp_linger2_says) {
  TcpOptions options;
  options.linger2_s = 5;
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect(options);
  endpoint->disown(Fd());
  peer.take();
  peer.send(peer.next());
  peer.wait(4 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().all().size(), 1);
  peer.wait(2 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().all().size(), 0);
}

Test(tcp_buffers, notes_of_sends_join_until_they_are_read) {
  ErrorQueue queue;
  msghdr message{};
  cr_expect_eq(queue.receive(message, AF_INET).error(), EAGAIN);
  queue.zero_copy_done();
  queue.zero_copy_done();
  cr_expect(queue.receive(message, AF_INET).ok());
  cr_expect_eq(message.msg_flags, MSG_ERRQUEUE | MSG_CTRUNC);
  cr_expect(queue.empty());
}
