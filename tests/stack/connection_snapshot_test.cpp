// connection_snapshot_test.cpp - a connection's numbers and bytes, and what is left when it moves
#include <criterion/criterion.h>

#include <cerrno>
#include <string>

#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kMs = 1'000'000;

std::string text(const ConnectionSnapshot& snapshot, uint32_t from, uint32_t bytes) {
  return {reinterpret_cast<const char*>(snapshot.bytes.data()) + from, bytes};
}
std::string unread(const ConnectionSnapshot& snapshot) {
  return text(snapshot, 0, snapshot.state.unread_bytes);
}
std::string outgoing(const ConnectionSnapshot& snapshot) {
  return text(snapshot, snapshot.state.unread_bytes,
              snapshot.state.in_flight_bytes + snapshot.state.unsent_bytes);
}

MovedState state_of(const TcpEndpoint& endpoint) { return endpoint.snapshot()->state.state; }

}  // namespace

TestSuite(connection_snapshot);

Test(connection_snapshot, has_what_both_ends_agreed_on) {
  Network network;
  Connection connection = establish(network);
  network.run_for(100 * kMs);
  const auto client = connection.client->snapshot();
  const auto server = connection.server->snapshot();
  cr_assert(client && server);
  cr_expect(client->state.local == server->state.remote);
  cr_expect(client->state.remote == server->state.local);
  cr_expect_eq(client->state.state, MovedState::kEstablished);
  cr_expect_eq(client->state.receive_next, server->state.send_unacked);
  cr_expect_eq(server->state.receive_next, client->state.send_unacked);
  cr_expect_eq(client->state.mss, 1460);
  cr_expect(client->state.window_scaling && client->state.selective_acks &&
            client->state.timestamps);
  cr_expect_eq(client->state.send_scale, server->state.receive_scale);
  cr_expect_eq(client->state.receive_window, server->state.send_window);
  cr_expect_eq(client->state.queued_bytes(), 0);
  cr_expect(client->bytes.empty());
  // The peer has seen no later time of ours.
  cr_expect_geq(client->state.timestamp, server->state.peer_timestamp);
}

Test(connection_snapshot, has_unread_bytes_from_where_the_program_reads) {
  Network network;
  Connection connection = establish(network);
  send_bytes(*connection.client, "first", 5);
  network.run_for(10 * kMs);
  send_bytes(*connection.client, "second", 6);
  network.run_for(100 * kMs);
  char part[3];
  cr_assert_eq(receive_bytes(*connection.server, part, 3), 3);
  const auto server = connection.server->snapshot();
  cr_expect_eq(unread(*server), "stsecond");
  cr_expect_eq(server->state.receive_next, connection.client->snapshot()->state.send_unacked);
  cr_expect_eq(receive_text(*connection.server), "stsecond");
}

Test(connection_snapshot, tells_what_is_in_flight_from_what_was_never_sent) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  const std::string data(10'000, 'x');
  peer.window = 3000;
  peer.send(peer.next(kAck));
  peer.take();
  cr_assert_eq(send_bytes(*endpoint, data.data(), data.size()), 10'000);
  peer.host.stack().flush();
  uint32_t sent = 0;
  for (const Segment& segment : peer.take()) sent += static_cast<uint32_t>(segment.payload.size());
  cr_expect_gt(sent, 0);
  const auto snapshot = endpoint->snapshot();
  cr_expect_eq(snapshot->state.in_flight_bytes, sent);
  cr_expect_eq(snapshot->state.unsent_bytes, 10'000 - sent);
  cr_expect_eq(outgoing(*snapshot), data);
  cr_expect_eq(snapshot->state.send_window, 3000);
}

Test(connection_snapshot, has_the_tail_that_waits_for_company) {
  Network network;
  TcpOptions options;
  options.cork = true;
  Connection connection = establish(network);
  connection.client->set_options(options);
  send_bytes(*connection.client, "corked", 6);
  const auto snapshot = connection.client->snapshot();
  cr_expect_eq(snapshot->state.unsent_bytes, 6);
  cr_expect_eq(outgoing(*snapshot), "corked");
}

// FINs are no bytes: the numbers leave them out.
Test(connection_snapshot, knows_every_way_of_being_half_closed) {
  Network network;
  Connection connection = establish(network);
  network.run_for(100 * kMs);
  const uint32_t client_next = connection.client->snapshot()->state.send_unacked;
  const uint32_t server_next = connection.server->snapshot()->state.send_unacked;
  cr_assert(connection.client->shutdown(SHUT_WR).ok());
  cr_expect_eq(state_of(*connection.client), MovedState::kFinWait1);
  network.run_for(100 * kMs);
  cr_expect_eq(state_of(*connection.client), MovedState::kFinWait2);
  cr_expect_eq(state_of(*connection.server), MovedState::kCloseWait);
  cr_expect_eq(connection.client->snapshot()->state.send_unacked, client_next);
  cr_expect_eq(connection.server->snapshot()->state.receive_next, client_next);
  cr_assert(connection.server->shutdown(SHUT_WR).ok());
  cr_expect_eq(state_of(*connection.server), MovedState::kLastAck);
  cr_expect_eq(connection.server->snapshot()->state.send_unacked, server_next);
  network.run_for(100 * kMs);
  cr_expect_eq(state_of(*connection.client), MovedState::kTimeWait);
  cr_expect_eq(connection.client->snapshot()->state.receive_next, server_next);
  cr_expect_eq(connection.client->snapshot()->state.send_unacked, client_next);
  cr_expect_not(connection.server->snapshot().has_value());
  connection.server->disown(Fd());
}

Test(connection_snapshot, knows_that_both_have_closed_at_once) {
  Network network;
  Connection connection = establish(network);
  network.run_for(100 * kMs);
  const uint32_t server_next = connection.server->snapshot()->state.send_unacked;
  connection.client->shutdown(SHUT_WR).ok();
  connection.server->shutdown(SHUT_WR).ok();
  const bool closing = network.run_until([&]() UP_NO_THREAD_SAFETY {
    const auto now = connection.client->snapshot();
    return now && now->state.state == MovedState::kClosing;
  });
  cr_assert(closing);
  cr_expect_eq(connection.client->snapshot()->state.receive_next, server_next);
}

// At any moment of a transfer over a bad wire: what the sender still has begins with the first byte
// that is not acknowledged, and what the receiver has ends with the last one that came in order.
Test(connection_snapshot, is_exact_at_any_moment_of_a_bad_transfer, .timeout = 60) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Network network(seed);
    Connection connection = establish(network);
    network.wire.faults.loss = 0.05;
    network.wire.faults.reordering = 0.1;
    network.wire.faults.duplication = 0.02;
    const uint32_t first = connection.client->snapshot()->state.send_unacked;
    std::string data(600'000, '\0');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>((i * 7919 + seed) >> 3U);
    size_t written = 0, read = 0, looks = 0;
    const bool whole = network.run_until(
        [&]() UP_NO_THREAD_SAFETY {
          if (written < data.size()) {
            const ssize_t done = send_bytes(*connection.client, data.data() + written,
                                            std::min<size_t>(data.size() - written, 30'000));
            if (done > 0) written += static_cast<size_t>(done);
          }
          const auto sender = connection.client->snapshot();
          const size_t acknowledged = sender->state.send_unacked - first;
          cr_assert_eq(outgoing(*sender).size(), written - acknowledged);
          cr_assert(outgoing(*sender) == data.substr(acknowledged, written - acknowledged));
          const auto receiver = connection.server->snapshot();
          const size_t arrived = receiver->state.receive_next - first;
          cr_assert(unread(*receiver) == data.substr(read, arrived - read));
          ++looks;
          char piece[5000];
          const ssize_t got = receive_bytes(*connection.server, piece, sizeof piece);
          if (got > 0) read += static_cast<size_t>(got);
          return read == data.size();
        },
        600'000 * kMs);
    cr_assert(whole);
    cr_assert_gt(looks, 100);
  }
}

Test(connection_snapshot, a_connection_that_moves_leaves_nothing_and_says_nothing) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpEndpoint* endpoint = peer.accept(*listener);
  Recorder owner;
  endpoint->set_owner(&owner, 5);
  Segment data = peer.next(kPsh | kAck, "unread");
  peer.send(data);
  peer.take();
  cr_assert(endpoint->move_out(5).ok());
  cr_assert_eq(peer.host.view().moved.size(), 1);
  const auto& moved = peer.host.view().moved[0];
  cr_expect_eq(moved.fd, 5);
  cr_expect_eq(std::string(moved.bytes.begin(), moved.bytes.end()), "unread");
  cr_expect_eq(owner.count, 1, "only the bytes were told");
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
  cr_expect_eq(peer.host.counters().tcp_moved_out, 1);
  // What was still in the rings.
  peer.send(peer.next(kAck));
  peer.send(peer.next(kFin | kAck));
  cr_expect(peer.take().empty());
  // The listener goes on, for the same peer too.
  Segment syn = peer.next(kSyn);
  syn.acknowledgement = 0;
  peer.send(syn);
  cr_expect(peer.take_one().has(kSyn | kAck));
  // Later, a stranger's segment is a stranger's.
  peer.wait(3000 * kMs);
  listener->close();
  peer.wait(100 * kMs);
  peer.take();
  peer.send(peer.next(kAck));
  cr_expect(peer.take_one().has(kRst));
}

Test(connection_snapshot, a_connection_that_is_refused_goes_on) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  peer.host.view().move_error = ENOTCONN;
  cr_expect_eq(endpoint->move_out(5).error(), ENOTCONN);
  send_bytes(*endpoint, "still here", 10);
  peer.host.stack().flush();
  cr_expect_eq(peer.take_one().payload, "still here");
}

Test(connection_snapshot, nobody_knows_where_a_connection_is_when_the_broker_is_silent) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Recorder owner;
  endpoint->set_owner(&owner, 5);
  peer.host.view().move_error = ETIMEDOUT;
  cr_expect_eq(endpoint->move_out(5).error(), ECONNABORTED);
  cr_expect_eq(endpoint->take_error(), ECONNABORTED);
  cr_expect(endpoint->gone());
  endpoint->disown(Fd());
}

Test(connection_snapshot, what_is_connecting_or_over_cannot_move) {
  Network network;
  TcpEndpoint* connecting = network.a.connect(network.b, 81, 4000);
  cr_expect_eq(connecting->move_out(5).error(), EAGAIN);
  network.run_for(100 * kMs);
  cr_expect(connecting->gone());
  cr_expect_eq(connecting->move_out(5).error(), ENOTCONN);
  cr_expect(network.a.view().moved.empty());
  connecting->disown(Fd());
}
