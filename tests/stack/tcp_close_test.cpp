// tcp_close_test.cpp - the ways a connection ends: FIN, reset, silence
#include <criterion/criterion.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <cerrno>

#include "tests/support/nofile_limit.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMs = 1'000'000;

bool any_has(const std::vector<Segment>& segments, uint8_t flags) {
  for (const Segment& segment : segments) {
    if (segment.has(flags)) return true;
  }
  return false;
}

}  // namespace

TestSuite(tcp_close);

Test(tcp_close, a_half_close_leaves_the_other_half_open) {
  Network network;
  Connection connection = establish(network);
  send_bytes(*connection.client, "question", 8);
  cr_expect(connection.client->shutdown(SHUT_WR).ok());
  network.run_for(10 * kMs);
  cr_expect_eq(receive_text(*connection.server), "question");
  char byte = 0;
  cr_expect_eq(receive_bytes(*connection.server, &byte, 1), 0);
  cr_expect(connection.server->readiness() & EPOLLRDHUP);
  cr_expect_not(connection.server->readiness() & EPOLLHUP);
  cr_expect_eq(connection.client->state(), SocketState::kFinWait2);
  cr_expect_eq(connection.server->state(), SocketState::kCloseWait);
  cr_expect_eq(send_bytes(*connection.client, "x", 1), -EPIPE);
  // Minutes later, the answer.
  network.run_for(300 * kSecond);
  send_bytes(*connection.server, "answer", 6);
  cr_expect(connection.server->shutdown(SHUT_WR).ok());
  network.run_for(10 * kMs);
  cr_expect_eq(receive_text(*connection.client), "answer");
  cr_expect_eq(receive_bytes(*connection.client, &byte, 1), 0);
  cr_expect(connection.client->readiness() & EPOLLHUP);
  cr_expect_eq(connection.client->state(), SocketState::kTimeWait);
  cr_expect_eq(connection.server->state(), SocketState::kClose);
  connection.server->disown(Fd());
}

Test(tcp_close, the_server_may_close_its_half_first) {
  Network network;
  Connection connection = establish(network);
  cr_expect(connection.server->shutdown(SHUT_WR).ok());
  network.run_for(10 * kMs);
  char byte = 0;
  cr_expect_eq(receive_bytes(*connection.client, &byte, 1), 0);
  cr_expect_eq(send_bytes(*connection.client, "more", 4), 4);
  network.run_for(10 * kMs);
  cr_expect_eq(receive_text(*connection.server), "more");
  connection.client->disown(Fd());
  network.run_for(100 * kMs);
  cr_expect_eq(network.a.stack().tcp().size(), 0);
}

Test(tcp_close, both_at_once_end_in_time_wait) {
  Network network;
  Connection connection = establish(network);
  connection.client->shutdown(SHUT_WR).ok();
  connection.server->shutdown(SHUT_WR).ok();
  network.run_for(10 * kMs);
  cr_expect_eq(connection.client->state(), SocketState::kTimeWait);
  cr_expect_eq(connection.server->state(), SocketState::kTimeWait);
  connection.client->disown(Fd());
  connection.server->disown(Fd());
  network.run_for(61 * kSecond);
  cr_expect_eq(network.a.stack().tcp().size(), 0);
  cr_expect_eq(network.b.stack().tcp().size(), 0);
}

Test(tcp_close, time_wait_lasts_60_seconds_and_holds_the_port) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  endpoint->disown(Fd());
  cr_expect(peer.take_one().has(kFin | kAck));
  peer.send(peer.next(kFin | kAck));
  cr_expect(peer.take_one().has(kAck));
  peer.wait(59 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 1);
  cr_expect_eq(peer.host.port_owner(IPPROTO_TCP, peer.host_port), 1);
  // The peer's FIN again: acknowledged again.
  Segment fin = peer.next(kFin | kAck);
  --fin.sequence;
  peer.send(fin);
  cr_expect(peer.take_one().has(kAck));
  peer.wait(2 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
  cr_expect_eq(peer.host.port_owner(IPPROTO_TCP, peer.host_port), 0);
}

Test(tcp_close, the_oldest_time_wait_goes_where_descriptors_are_short) {
  const rlimit limit{64, 64};
  cr_assert(test::set_nofile_limit(limit));
  constexpr size_t kKept = 64 / 4 / 4 * 3;
  Network network;
  Stack& stack = network.a.stack();
  const Fd kernel_socket(sys::eventfd(0, 0));
  std::vector<uint16_t> ports;
  for (uint16_t i = 0; i < 40; ++i) {
    Connection connection = establish(network, static_cast<uint16_t>(1000 + i));
    ports.push_back(connection.client->flow().local.port);
    Fd kept = stack.keep_kernel_socket(kernel_socket.get());
    cr_assert(kept.valid());
    connection.client->disown(std::move(kept));
    network.run_for(10 * kMs);
    connection.server->disown(Fd());
    network.run_for(10 * kMs);
  }
  cr_expect_eq(stack.tcp().size(), kKept);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, ports.back()), 1);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, ports.front()), 0);
  network.run_for(61 * kSecond);
  cr_expect_eq(stack.tcp().size(), 0);
}

Test(tcp_close, a_new_syn_ends_time_wait) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpEndpoint* endpoint = peer.accept(*listener);
  endpoint->disown(Fd());
  peer.take();
  peer.send(peer.next(kFin | kAck));
  peer.take();
  cr_expect_eq(endpoint->state(), SocketState::kTimeWait);
  Segment syn = peer.next(kSyn);
  syn.sequence += 100'000;
  syn.acknowledgement = 0;
  peer.sequence = syn.sequence;
  peer.send(syn);
  cr_expect(peer.take_one().has(kSyn | kAck));
  peer.send(peer.next(kAck));
  cr_expect(listener->ready());
  cr_expect_eq(peer.host.stack().tcp().size(), 1);
}

Test(tcp_close, an_old_syn_does_not_end_time_wait) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpEndpoint* endpoint = peer.accept(*listener);
  endpoint->disown(Fd());
  peer.take();
  peer.send(peer.next(kFin | kAck));
  peer.take();
  Segment syn = peer.next(kSyn);
  syn.sequence -= 5000;
  peer.send(syn);
  cr_expect_not(any_has(peer.take(), kSyn));
  cr_expect_eq(endpoint->state(), SocketState::kTimeWait);
}

Test(tcp_close, unread_data_at_close_is_a_reset) {
  Network network;
  Connection connection = establish(network);
  send_bytes(*connection.client, "unread", 6);
  network.run_for(10 * kMs);
  connection.server->disown(Fd());
  network.run_for(10 * kMs);
  cr_expect_eq(connection.client->take_error(), ECONNRESET);
  cr_expect_eq(network.b.stack().tcp().size(), 0);
  connection.client->disown(Fd());
}

Test(tcp_close, linger_0_is_a_reset) {
  Network network;
  TcpOptions options;
  options.linger_s = 0;
  Connection connection = establish(network, 80, options);
  connection.client->disown(Fd());
  network.run_for(10 * kMs);
  cr_expect_eq(connection.server->take_error(), ECONNRESET);
  cr_expect(connection.server->readiness() & EPOLLHUP);
  char byte = 0;
  cr_expect_eq(receive_bytes(*connection.server, &byte, 1), 0);
  cr_expect_eq(send_bytes(*connection.server, "x", 1), -EPIPE);
  connection.server->disown(Fd());
}

Test(tcp_close, data_for_a_closed_socket_is_answered_by_a_reset) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  endpoint->disown(Fd());
  peer.take();
  peer.send(peer.next(kAck | kPsh, "too late"));
  cr_expect(any_has(peer.take(), kRst));
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

Test(tcp_close, the_fin_waits_for_a_full_send_buffer) {
  Network network;
  Connection connection = establish(network);
  std::string data(4 * 1024 * 1024, 'd');
  size_t sent = 0;
  for (;;) {
    const ssize_t n = send_bytes(*connection.client, data.data(), data.size());
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  cr_expect_geq(sent, 1024 * 1024);
  connection.client->disown(Fd());
  size_t got = 0;
  bool end = false;
  network.run_until([&] {
    ssize_t n = 0;
    while ((n = receive_bytes(*connection.server, data.data(), data.size())) > 0) {
      got += static_cast<size_t>(n);
    }
    end = n == 0;
    return end;
  });
  cr_expect(end);
  cr_expect_eq(got, sent);
}

Test(tcp_close, a_closed_socket_gives_up_after_a_while_when_nobody_acknowledges) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "last words", 10);
  endpoint->disown(Fd());
  peer.wait(90 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 1);
  peer.wait(200 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

Test(tcp_close, fin_wait_2_of_a_closed_socket_lasts_60_seconds) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  endpoint->disown(Fd());
  peer.take();
  peer.send(peer.next(kAck));
  peer.wait(58 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 1);
  peer.wait(4 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

Test(tcp_close, a_reset_is_econnreset_once_and_then_the_end) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.send(peer.next(kAck | kPsh, "data"));
  peer.take();
  peer.send(peer.next(kRst | kAck));
  cr_expect(endpoint->gone());
  const Readiness all = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP;
  cr_expect_eq(endpoint->readiness() & all, all);
  // What had arrived can still be read.
  cr_expect_eq(receive_text(*endpoint), "data");
  char byte = 0;
  cr_expect_eq(receive_bytes(*endpoint, &byte, 1), -ECONNRESET);
  cr_expect_eq(receive_bytes(*endpoint, &byte, 1), 0);
  cr_expect_eq(send_bytes(*endpoint, "x", 1), -EPIPE);
  endpoint->disown(Fd());
}

Test(tcp_close, a_reset_after_the_peers_fin_is_epipe) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.send(peer.next(kFin | kAck));
  peer.take();
  peer.send(peer.next(kRst | kAck));
  cr_expect_eq(endpoint->take_error(), EPIPE);
  endpoint->disown(Fd());
}

Test(tcp_close, a_reset_in_fin_wait_is_econnreset) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  endpoint->shutdown(SHUT_WR).ok();
  peer.take();
  peer.send(peer.next(kRst | kAck));
  cr_expect_eq(endpoint->take_error(), ECONNRESET);
  endpoint->disown(Fd());
}

Test(tcp_close, a_reset_beside_the_next_byte_is_challenged) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Segment forged = peer.next(kRst);
  forged.sequence += 10;
  peer.send(forged);
  cr_expect(peer.take_one().has(kAck));
  cr_expect(endpoint->connected());
}

Test(tcp_close, a_syn_into_a_connection_is_challenged) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Segment forged = peer.next(kSyn);
  forged.sequence += 10;
  peer.send(forged);
  const Segment answer = peer.take_one();
  cr_expect_eq(answer.flags, kAck);
  cr_expect(endpoint->connected());
}

Test(tcp_close, a_reset_before_accept_is_seen_by_the_first_read) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  peer.port = 50000;
  peer.host_port = 80;
  Segment syn = peer.next(kSyn);
  syn.acknowledgement = 0;
  peer.send(syn);
  peer.take();
  peer.send(peer.next(kAck));
  peer.send(peer.next(kRst | kAck));
  cr_assert(listener->ready());
  TcpEndpoint* endpoint = listener->take();
  char byte = 0;
  cr_expect_eq(receive_bytes(*endpoint, &byte, 1), -ECONNRESET);
  endpoint->disown(Fd());
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

Test(tcp_close, a_reset_during_the_handshake_leaves_nothing) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  peer.port = 50000;
  peer.host_port = 80;
  peer.send(peer.next(kSyn));
  peer.take();
  peer.send(peer.next(kRst));
  cr_expect_not(listener->ready());
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

Test(tcp_close, data_is_given_up_after_fifteen_minutes) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  send_bytes(*endpoint, "anybody there?", 14);
  peer.wait(900 * kSecond);
  cr_expect(endpoint->connected());
  peer.wait(180 * kSecond);
  cr_expect_eq(endpoint->take_error(), ETIMEDOUT);
  endpoint->disown(Fd());
}

Test(tcp_close, a_retransmission_comes_after_200_ms_and_then_ever_later) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  const uint64_t start = VirtualClock::now_ns;
  send_bytes(*endpoint, "hello", 5);
  std::vector<uint64_t> at_ms;
  for (int i = 0; i < 700; ++i) {
    for (const Segment& segment : peer.take()) {
      at_ms.push_back((segment.arrived_ns - start) / kMs);
      peer.acknowledgement = segment.sequence;
    }
    peer.wait(10 * kMs);
  }
  cr_assert_geq(at_ms.size(), 5);
  const uint64_t expected[] = {0, 200, 600, 1400, 3000};
  for (size_t i = 0; i < 5; ++i) {
    cr_expect_geq(at_ms[i], expected[i]);
    cr_expect_leq(at_ms[i], expected[i] + 60, "%zu: %lu", i, at_ms[i]);
  }
}

Test(tcp_close, closing_a_listener_resets_what_nobody_accepted) {
  Network network;
  TcpListener* listener = network.b.listen(80);
  TcpEndpoint* client = network.a.connect(network.b, 80, 5000);
  network.run_until([&] { return listener->ready(); });
  listener->close();
  network.run_for(10 * kMs);
  cr_expect_eq(client->take_error(), ECONNRESET);
  cr_expect_eq(network.b.port_owner(IPPROTO_TCP, 80), 0);
  cr_expect_eq(network.b.stack().tcp().size(), 0);
  client->disown(Fd());
}

Test(tcp_close, close_all_lets_what_is_unsent_go_out) {
  Network network;
  Connection connection = establish(network);
  std::string data(300'000, 'e');
  send_bytes(*connection.client, data.data(), data.size());
  network.a.stack().close_all();
  cr_expect_gt(network.a.stack().unacknowledged_bytes(), 200'000);
  size_t got = 0;
  cr_expect(network.run_until([&] {
    ssize_t n = 0;
    while ((n = receive_bytes(*connection.server, data.data(), data.size())) > 0) {
      got += static_cast<size_t>(n);
    }
    return n == 0;
  }));
  cr_expect_eq(got, 300'000);
  network.run_for(10 * kMs);
  cr_expect_eq(network.a.stack().unacknowledged_bytes(), 0);
}

// Other threads go on during exit(3): what they use stays, and they hear of nothing.
Test(tcp_close, close_all_leaves_the_endpoints_to_their_owners) {
  Network network;
  Connection connection = establish(network);
  Recorder& owner = network.a.client_events;
  send_bytes(*connection.client, "last", 4);
  network.a.stack().close_all();
  network.run_for(10 * kMs);
  cr_expect_eq(receive_text(*connection.server), "last");
  cr_expect_eq(connection.client->state(), SocketState::kFinWait2);
  cr_expect_eq(send_bytes(*connection.client, "more", 4), -EAGAIN);
  char byte = 0;
  cr_expect_eq(receive_bytes(*connection.client, &byte, 1), -EAGAIN);
  owner.clear();
  connection.server->disown(Fd());
  network.run_for(61 * kSecond);
  cr_expect(connection.client->gone());
  cr_expect_eq(owner.count, 0);
  cr_expect_eq(connection.client->readiness(), 0);
  cr_expect_eq(send_bytes(*connection.client, "more", 4), -EAGAIN);
  connection.client->disown(Fd());
  cr_expect_eq(network.a.stack().tcp().size(), 0);
}

// The peer's answer resets it, as nobody is there to read: no error for a thread that goes on.
Test(tcp_close, close_all_keeps_what_the_peer_does_from_the_owners) {
  Network network;
  Connection connection = establish(network);
  network.a.stack().close_all();
  network.a.client_events.clear();
  send_bytes(*connection.server, "too late", 8);
  network.run_for(10 * kMs);
  cr_expect_eq(connection.server->take_error(), EPIPE);
  cr_expect(connection.client->gone());
  cr_expect_eq(network.a.client_events.count, 0);
  char byte = 0;
  cr_expect_eq(receive_bytes(*connection.client, &byte, 1), -EAGAIN);
  connection.client->disown(Fd());
  connection.server->disown(Fd());
}

// What other threads open after that is not waited for.
Test(tcp_close, only_what_is_closed_counts_as_unacknowledged) {
  Network network;
  network.b.listen(80);
  network.a.stack().close_all();
  TcpEndpoint* late = network.a.connect(network.b, 80, 5000);
  cr_expect_eq(network.a.stack().unacknowledged_bytes(), 0);
  late->disown(Fd());
}

Test(tcp_close, close_all_resets_a_connection_with_unread_data) {
  Network network;
  Connection connection = establish(network);
  send_bytes(*connection.server, "unread", 6);
  network.run_for(10 * kMs);
  network.a.stack().close_all();
  network.run_for(10 * kMs);
  cr_expect_eq(connection.server->take_error(), ECONNRESET);
  cr_expect(connection.client->gone());
  connection.client->disown(Fd());
  connection.server->disown(Fd());
}

// Nobody waits for a handshake that a stranger has begun.
Test(tcp_close, an_embryonic_connection_is_nothing_unacknowledged) {
  RawPeer peer;
  peer.host.listen(80);
  Segment syn = peer.next(kSyn);
  syn.destination_port = 80;
  peer.send(syn);
  cr_expect(peer.take_one().has(kSyn | kAck));
  cr_expect_eq(peer.host.stack().unacknowledged_bytes(), 0);
}
