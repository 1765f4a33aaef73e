// connection_adoption_test.cpp - a connection leaves a stack and comes back, in the middle of it
#include <criterion/criterion.h>

#include <cerrno>
#include <string>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr int kFd = 9;

// Out and in again: the same connection by another endpoint, at once. Null: not adopted.
TcpEndpoint* move_around(SimulatedHost& host, TcpEndpoint& endpoint, Recorder& events,
                         uint64_t clock_ahead_ms = 0) {
  if (!endpoint.move_out(kFd)) return nullptr;
  auto away = host.view().move_in(kFd);
  if (!away) return nullptr;
  // The kernel's clock is another, and it tells no timestamp of the peer's.
  away->state.timestamp += static_cast<uint32_t>(clock_ahead_ms);
  away->state.peer_timestamp = 0;
  auto adopted = TcpEndpoint::adopt(host.stack(), *away, {}, kFd);
  if (!adopted) return nullptr;
  (*adopted)->set_owner(&events, kFd);
  return *adopted;
}

// Sends `bytes` from one to the other, which reads them slowly; both move after every `step` bytes.
// Returns how often.
size_t move_while_sending(Network& network, TcpEndpoint*& from, TcpEndpoint*& to, size_t bytes,
                          size_t step) {
  size_t sent = 0;
  size_t received = 0;
  size_t moves = 0;
  size_t next_move = step;
  const Pattern pattern;
  std::vector<uint8_t> room(20000);
  const auto step_once = [&] {
    for (;;) {
      const size_t part = std::min(room.size(), bytes - sent);
      const ssize_t taken = part == 0 ? 0 : send_bytes(*from, pattern.at(sent), part);
      if (taken <= 0) break;
      sent += static_cast<size_t>(taken);
    }
    const ssize_t got = receive_bytes(*to, room.data(), 3000);
    if (got > 0) {
      cr_assert(pattern.matches(received, room.data(), static_cast<size_t>(got)));
      received += static_cast<size_t>(got);
    }
    if (received >= next_move && received < bytes) {
      next_move += step;
      from = move_around(network.a, *from, network.a.client_events, 7 * moves);
      to = move_around(network.b, *to, network.b.client_events, 5000);
      cr_assert(from != nullptr && to != nullptr);
      ++moves;
    }
    return received == bytes;
  };
  // Where nothing happens any more on the wire the reader goes on.
  bool done = false;
  for (int i = 0; i < 400'000 && !done; ++i) done = network.run_until(step_once, 1 * kMs);
  cr_assert(done, "%zu of %zu bytes, %zu moves", received, bytes, moves);
  return moves;
}

}  // namespace

TestSuite(connection_adoption);

Test(connection_adoption, has_all_that_it_had) {
  Network network;
  Connection connection = establish(network);
  send_bytes(*connection.client, "for the server", 14);
  network.run_for(100 * kMs);
  send_bytes(*connection.server, "unacknowledged", 14);
  const auto before = connection.server->snapshot();
  TcpEndpoint* const server =
      move_around(network.b, *connection.server, network.b.client_events, 1000);
  cr_assert_not_null(server);
  const auto after = server->snapshot();
  cr_assert(before && after);
  const ConnectionState& was = before->state;
  const ConnectionState& is = after->state;
  cr_expect(was.local == is.local);
  cr_expect(was.remote == is.remote);
  cr_expect_eq(is.state, MovedState::kEstablished);
  cr_expect_eq(is.receive_next, was.receive_next);
  cr_expect_eq(is.send_unacked, was.send_unacked);
  cr_expect_eq(is.unread_bytes, was.unread_bytes);
  cr_expect_eq(is.in_flight_bytes + is.unsent_bytes, was.in_flight_bytes + was.unsent_bytes);
  cr_expect(before->bytes == after->bytes);
  cr_expect_eq(is.mss, was.mss);
  cr_expect_eq(is.send_scale, was.send_scale);
  cr_expect_eq(is.receive_scale, was.receive_scale);
  cr_expect_eq(is.window_scaling, was.window_scaling);
  cr_expect_eq(is.selective_acks, was.selective_acks);
  cr_expect_eq(is.timestamps, was.timestamps);
  cr_expect_geq(is.timestamp, was.timestamp + 1000);
  // What was announced is not taken back.
  cr_expect_geq(static_cast<int32_t>(is.receive_next + is.receive_window - was.receive_next -
                                     was.receive_window),
                0);
  cr_expect_eq(network.b.counters().tcp_moved_in.load(), 1);
  cr_expect(receive_text(*server) == "for the server");
  network.run_for(100 * kMs);
  cr_expect(receive_text(*connection.client) == "unacknowledged");
  server->disown(Fd());
  connection.client->disown(Fd());
}

// The next word is the kernel's: an acknowledgement of the stack's would have another time stamp,
// and a peer that has seen a later one takes nothing any more (PAWS).
Test(connection_adoption, says_nothing_after_it_has_left) {
  Network network;
  Connection connection = establish(network);
  TcpEndpoint* const server =
      move_around(network.b, *connection.server, network.b.client_events, 1'000'000'000);
  cr_assert_not_null(server);
  network.run_for(100 * kMs);
  // Young connections acknowledge at once, until they answer.
  send_bytes(*server, "hello", 5);
  network.run_for(100 * kMs);
  cr_expect(receive_text(*connection.client) == "hello");
  send_bytes(*connection.client, "put off", 7);
  network.run_until([&] { return server->unread_bytes() != 0; });
  network.b.stack().flush();
  const size_t before = network.b.port().sent_frames();
  cr_assert(server->move_out(kFd).ok());
  network.b.stack().flush();
  cr_expect_eq(network.b.port().sent_frames(), before);
  connection.client->disown(Fd());
}

Test(connection_adoption, loses_no_byte_in_many_moves_on_a_bad_wire) {
  for (const int family : {AF_INET, AF_INET6}) {
    Network network(3, family);
    Connection connection = establish(network);
    network.wire.faults.loss = 0.02;
    network.wire.faults.duplication = 0.02;
    network.wire.faults.reordering = 0.05;
    const size_t moves =
        move_while_sending(network, connection.client, connection.server, 1'500'000, 60'000);
    cr_expect_geq(moves, 20);
    cr_expect_geq(network.a.counters().tcp_moved_in.load(), moves);
    cr_expect_geq(network.b.counters().tcp_moved_in.load(), moves);
    connection.client->disown(Fd());
    connection.server->disown(Fd());
  }
}

// The kernel has measured nothing, so the wait before data is sent again is a second.
Test(connection_adoption, goes_on_where_moves_are_faster_than_the_timer) {
  Network network;
  Connection connection = establish(network);
  const std::string text(5000, 't');
  network.wire.tap = [](int side, Bytes&) { return side == 0; };
  cr_assert_eq(send_bytes(*connection.server, text.data(), text.size()), 5000);
  network.run_for(10 * kMs);
  network.wire.tap = nullptr;
  TcpEndpoint* server = connection.server;
  std::string received;
  for (int moves = 0; moves < 8; ++moves) {
    cr_assert(server->move_out(kFd).ok());
    auto away = network.b.view().move_in(kFd);
    cr_assert(away.ok());
    away->state.round_trip_us = 0;
    auto adopted = TcpEndpoint::adopt(network.b.stack(), *away, {}, kFd);
    cr_assert(adopted.ok());
    server = *adopted;
    server->set_owner(&network.b.client_events, kFd);
    network.run_for(50 * kMs);
    received += receive_text(*connection.client);
  }
  cr_expect(received == text, "%zu bytes", received.size());
  server->disown(Fd());
  connection.client->disown(Fd());
}

Test(connection_adoption, goes_on_from_a_closed_window) {
  Network network;
  Connection connection = establish(network);
  const std::string much(3'000'000, 'x');
  size_t sent = 0;
  network.run_until(
      [&] {
        const ssize_t taken =
            send_bytes(*connection.client, much.data() + sent, much.size() - sent);
        sent += taken > 0 ? static_cast<size_t>(taken) : 0;
        return false;
      },
      2'000 * kMs);
  // Full on both sides.
  TcpEndpoint* const client = move_around(network.a, *connection.client, network.a.client_events);
  TcpEndpoint* const server = move_around(network.b, *connection.server, network.b.client_events);
  cr_assert(client != nullptr && server != nullptr);
  size_t received = 0;
  const bool all = network.run_until(
      [&] {
        for (size_t got = 1; got != 0; received += got) got = receive_text(*server).size();
        return received == sent;
      },
      60'000 * kMs);
  cr_expect(all, "%zu of %zu", received, sent);
  client->disown(Fd());
  server->disown(Fd());
}

Test(connection_adoption, knows_of_the_peers_end) {
  Network network;
  Connection connection = establish(network);
  send_bytes(*connection.client, "last", 4);
  cr_assert(connection.client->shutdown(SHUT_WR).ok());
  network.run_for(100 * kMs);
  cr_assert_eq(connection.server->snapshot()->state.state, MovedState::kCloseWait);
  TcpEndpoint* const server = move_around(network.b, *connection.server, network.b.client_events);
  cr_assert_not_null(server);
  cr_expect((server->readiness() & EPOLLRDHUP) != 0);
  cr_expect(receive_text(*server) == "last");
  char byte = 0;
  cr_expect_eq(receive_bytes(*server, &byte, 1), 0);
  cr_expect_eq(send_bytes(*server, "answer", 6), 6);
  server->disown(Fd());
  network.run_for(200 * kMs);
  cr_expect(receive_text(*connection.client) == "answer");
  cr_expect_eq(receive_bytes(*connection.client, &byte, 1), 0);
  cr_expect_eq(connection.client->state(), SocketState::kTimeWait);
  connection.client->disown(Fd());
}

Test(connection_adoption, refuses_what_it_cannot_carry) {
  Network network;
  Connection connection = establish(network);
  auto snapshot = connection.client->snapshot();
  cr_assert(snapshot);
  auto twice = TcpEndpoint::adopt(network.a.stack(), *snapshot, {}, kFd);
  cr_expect_eq(twice.error(), EADDRINUSE);
  snapshot->state.local.port = 50000;
  snapshot->state.state = MovedState::kFinWait1;
  cr_expect_eq(TcpEndpoint::adopt(network.a.stack(), *snapshot, {}, kFd).error(), EINVAL);
  snapshot->state.state = MovedState::kEstablished;
  snapshot->state.unsent_bytes = 2 * 1024 * 1024;
  snapshot->bytes.resize(snapshot->state.queued_bytes());
  cr_expect_eq(TcpEndpoint::adopt(network.a.stack(), *snapshot, {}, kFd).error(), EINVAL);
  cr_expect_eq(network.a.counters().tcp_moved_in.load(), 0);
  connection.client->disown(Fd());
  connection.server->disown(Fd());
}
