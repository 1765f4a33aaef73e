// tcp_connect_test.cpp - opening connections, and what may come instead
#include <criterion/criterion.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMs = 1'000'000;

// Offsets in whole seconds at which the host sent a SYN, until it gives up or `limit_s` is over.
std::vector<uint64_t> syn_seconds(RawPeer& peer, uint64_t limit_s) {
  const uint64_t start = VirtualClock::now_ns;
  std::vector<uint64_t> seconds;
  for (uint64_t s = 0; s <= limit_s * 10; ++s) {
    for (const Segment& segment : peer.take()) {
      if (segment.has(kSyn)) seconds.push_back((segment.arrived_ns - start) / kSecond);
    }
    peer.wait(kSecond / 10);
  }
  return seconds;
}

}  // namespace

TestSuite(tcp_connect);

Test(tcp_connect, a_listener_on_the_other_side_accepts) {
  Network network;
  Connection connection = establish(network);
  cr_assert(connection.server != nullptr);
  cr_expect(connection.client->connected());
  cr_expect_eq(connection.client->state(), SocketState::kEstablished);
  cr_expect_eq(connection.server->state(), SocketState::kEstablished);
  cr_expect(network.a.client_events.seen & EPOLLOUT);
  cr_expect(network.b.listener_events.seen & EPOLLIN);
  cr_expect_eq(connection.client->flow().local.port, connection.server->flow().remote.port);
}

Test(tcp_connect, a_listener_on_both_families_accepts_over_ipv4_unless_an_ipv4_one_is_there) {
  Network network;
  const SocketAddress any_v6{IpAddress::any(AF_INET6), 80, 0};
  TcpListener* both = network.b.listen_on({any_v6, Families::kBoth});
  network.a.connect(network.b, 80, 40000);
  cr_assert(network.run_until([&] { return both->ready(); }));
  TcpListener* over_v4 = network.b.listen(80);
  TcpEndpoint* reset = network.a.connect(network.b, 80, 40001);
  cr_assert(network.run_until([&] { return over_v4->ready(); }));
  over_v4->close();
  network.a.connect(network.b, 80, 40002);
  TcpEndpoint* first = both->take();
  cr_assert(network.run_until([&] { return both->ready(); }));
  cr_assert_eq(first->flow().local.ip, network.b.address());
  reset->disown(Fd());
}

Test(tcp_connect, a_listener_on_ipv6_alone_is_nobody_over_ipv4) {
  Network network;
  cr_assert_not_null(network.b.listen_on(SocketAddress{IpAddress::any(AF_INET6), 80, 0}));
  TcpEndpoint* client = network.a.connect(network.b, 80, 40000);
  cr_assert(network.run_until([&] { return client->peek_error() != 0; }));
  cr_assert_eq(client->take_error(), ECONNREFUSED);
  client->disown(Fd());
}

Test(tcp_connect, the_syn_offers_what_linux_offers) {
  RawPeer peer;
  cr_assert(peer.host.try_connect(peer.host, 1, 1).ok());
  peer.take();
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  cr_assert(made.ok());
  const Segment syn = peer.take_one();
  cr_expect_eq(syn.flags, kSyn);
  cr_expect_eq(syn.option(TCPOPT_MAXSEG), (Bytes{1460 >> 8, 1460 & 0xff}));
  cr_expect_eq(syn.option(TCPOPT_WINDOW), Bytes{7});
  cr_expect_eq(syn.option(TCPOPT_TIMESTAMP).size(), 8);
  cr_expect(syn.options.size() >= 20);
}

// A router that knows no way (tcp_v4_err()). The sequence number is what a forger does not know.
Test(tcp_connect, a_router_that_says_unreachable_ends_it_if_it_quotes_the_syn) {
  RawPeer peer;
  const SocketAddress local{ip("10.0.0.1"), 5000, 0}, remote{ip("10.0.0.2"), 80, 0};
  const auto made = TcpEndpoint::connect(peer.host.stack(), local, remote, {}, 4);
  cr_assert(made.ok());
  const Segment syn = peer.take_one();
  peer.host.view().say_unreachable({local, remote, syn.sequence + 100, EHOSTUNREACH});
  peer.wait(1000);
  cr_expect((*made)->connecting());
  peer.host.view().say_unreachable({local, remote, syn.sequence, EHOSTUNREACH});
  peer.wait(1000);
  cr_expect_not((*made)->connecting());
  cr_expect_eq((*made)->take_error(), EHOSTUNREACH);
  (*made)->disown(Fd());
}

Test(tcp_connect, an_open_connection_outlives_what_a_router_says) {
  Network network;
  const Connection c = establish(network);
  const FourTuple flow = c.client->flow();
  network.a.view().say_unreachable({flow.local, flow.remote, 0, EHOSTUNREACH});
  network.run_for(1'000'000);
  cr_expect(c.client->connected());
  cr_expect_eq(c.client->peek_error(), 0);
}

Test(tcp_connect, a_closed_port_refuses) {
  Network network;
  TcpEndpoint* client = network.a.connect(network.b, 81, 5000);
  network.run_until([&] { return !client->connecting(); });
  cr_expect_eq(client->take_error(), ECONNREFUSED);
  cr_expect_eq(client->take_error(), 0);
  cr_expect(client->gone());
  cr_expect(client->readiness() & EPOLLHUP);
  cr_expect_eq(network.b.counters().rx_no_socket.load(), 1);
  client->disown(Fd());
}

Test(tcp_connect, the_syn_is_sent_again_after_1_2_4_seconds_and_so_on) {
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  const std::vector<uint64_t> seconds = syn_seconds(peer, 140);
  cr_expect_eq(seconds, (std::vector<uint64_t>{0, 1, 3, 7, 15, 31, 63}));
  cr_expect_eq((*made)->take_error(), ETIMEDOUT);
  (*made)->disown(Fd());
}

// tcp(7), TCP_SYNCNT: so many more, and as long again for an answer to the last.
Test(tcp_connect, as_many_syns_are_sent_again_as_are_asked_for) {
  for (const uint8_t retries : std::initializer_list<uint8_t>{1, 3, 8}) {
    RawPeer peer;
    TcpOptions options;
    options.syn_retries = retries;
    auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                     {ip("10.0.0.2"), 80, 0}, options, 4);
    // Twice as long each time, up to 120 s.
    uint64_t last = 0;
    uint64_t interval = 1;
    for (int i = 0; i < retries; ++i, interval = std::min<uint64_t>(2 * interval, 120)) {
      last += interval;
    }
    const std::vector<uint64_t> seconds = syn_seconds(peer, last + interval - 1);
    cr_expect_eq(seconds.size(), retries + 1U, "%u: %zu", retries, seconds.size());
    cr_expect_eq(seconds.back(), last, "%u", retries);
    cr_expect((*made)->connecting());
    peer.wait(2 * kSecond);
    cr_expect_eq((*made)->take_error(), ETIMEDOUT);
    (*made)->disown(Fd());
  }
}

// net.ipv4.tcp_syn_linear_timeouts is 4 since Linux 6.5. The seconds are what Linux 6.18 takes.
Test(tcp_connect, the_first_syns_are_sent_again_every_second_where_linux_does) {
  struct Case {
    uint8_t retries;
    uint32_t user_timeout_ms;
    std::vector<uint64_t> seconds;
    uint64_t ends_s;
  };
  const Case cases[] = {
      {1, 0, {0, 1, 2}, 3},
      {2, 0, {0, 1, 2, 3, 4, 5}, 7},
      {3, 0, {0, 1, 2, 3, 4, 5, 7, 11}, 19},
      {6, 0, {0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67}, 131},
      {6, 4500, {0, 1, 2, 3, 4}, 5},
      {2, 2000, {0, 1}, 2},
      {1, 20'000, {0, 1, 2, 3, 4, 5}, 7},
  };
  for (const Case& one : cases) {
    RawPeer peer;
    peer.host.view().set_setting("tcp_syn_linear_timeouts", 4);
    TcpOptions options;
    options.syn_retries = one.retries;
    options.user_timeout_ms = one.user_timeout_ms;
    auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                     {ip("10.0.0.2"), 80, 0}, options, 4);
    const std::vector<uint64_t> seconds = syn_seconds(peer, one.ends_s - 1);
    cr_expect((*made)->connecting(), "%u", one.retries);
    peer.wait(kSecond);
    cr_expect_eq((*made)->take_error(), ETIMEDOUT, "%u", one.retries);
    cr_expect_eq(seconds, one.seconds, "%u, %zu SYNs", one.retries, seconds.size());
    cr_expect(peer.take().empty(), "%u", one.retries);
    (*made)->disown(Fd());
  }
}

// Counted from the first SYN on (tcp_connect() sets retrans_stamp), and looked at when one has been
// sent again. The milliseconds are what Linux 6.18 takes.
Test(tcp_connect, the_user_timeout_ends_a_connect) {
  struct Case {
    uint32_t timeout_ms;
    uint32_t takes_ms;
  };
  for (const Case one : {Case{500, 1000}, Case{1500, 1500}, Case{2500, 2500}, Case{9000, 9000}}) {
    RawPeer peer;
    TcpOptions options;
    options.user_timeout_ms = one.timeout_ms;
    auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                     {ip("10.0.0.2"), 80, 0}, options, 4);
    peer.wait((one.takes_ms - 20) * kMs);
    cr_expect((*made)->connecting(), "%u", one.timeout_ms);
    peer.wait(60 * kMs);
    cr_expect_eq((*made)->take_error(), ETIMEDOUT, "%u", one.timeout_ms);
    (*made)->disown(Fd());
  }
}

Test(tcp_connect, a_silent_host_times_out_after_127_seconds) {
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  peer.wait(126 * kSecond);
  cr_expect((*made)->connecting());
  peer.wait(2 * kSecond);
  cr_expect_not((*made)->connecting());
  cr_expect_eq((*made)->take_error(), ETIMEDOUT);
  (*made)->disown(Fd());
}

Test(tcp_connect, the_first_syn_to_an_unknown_neighbour_is_kept_and_sent) {
  Network network;
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kEmpty);
  TcpListener* listener = network.b.listen(80);
  TcpEndpoint* client = network.a.connect(network.b, 80, 5000);
  network.run_for(100'000'000);
  cr_expect(client->connecting());
  cr_expect_eq(network.a.view().resolves(), 1);
  const uint64_t start = VirtualClock::now_ns;
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kReachable);
  cr_expect(network.run_until([&] { return listener->ready(); }, kSecond / 2));
  cr_expect_lt(VirtualClock::now_ns - start, kSecond / 100);
}

Test(tcp_connect, an_unreachable_neighbour_is_ehostunreach) {
  Network network;
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kEmpty);
  TcpEndpoint* client = network.a.connect(network.b, 80, 5000);
  network.run_for(3 * kSecond);
  cr_expect(client->connecting());
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kFailed);
  network.run_for(1'000'000);
  cr_expect_not(client->connecting());
  cr_expect_eq(client->take_error(), EHOSTUNREACH);
  // No reset is sent where nothing was ever connected, and nobody is asked for again.
  const size_t asked = network.a.view().resolves();
  network.run_for(kSecond);
  cr_expect_eq(network.a.view().resolves(), asked);
  client->disown(Fd());
}

Test(tcp_connect, an_old_failure_of_the_neighbour_does_not_count) {
  Network network;
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kFailed);
  network.b.listen(80);
  TcpEndpoint* client = network.a.connect(network.b, 80, 5000);
  network.run_for(10'000'000);
  cr_expect(client->connecting());
  network.a.view().set_neighbour(network.b.address(), NeighbourState::kReachable);
  cr_expect(network.run_until([&] { return client->connected(); }, kSecond));
}

Test(tcp_connect, a_lost_syn_ack_is_sent_again) {
  Network network;
  TcpListener* listener = network.b.listen(80);
  size_t from_b = 0;
  network.wire.tap = [&](int side, Bytes&) { return side != 1 || ++from_b > 1; };
  TcpEndpoint* client = network.a.connect(network.b, 80, 5000);
  cr_expect(network.run_until([&] { return listener->ready() && client->connected(); }));
}

// net.ipv4.tcp_synack_retries, or TCP_SYNCNT of the listener; the user timeout has no part in it.
Test(tcp_connect, as_many_syn_acks_are_sent_again_as_are_asked_for) {
  for (const uint8_t retries : std::initializer_list<uint8_t>{1, 2, 5, 7}) {
    RawPeer peer;
    TcpListener* listener = peer.host.listen(80);
    TcpOptions options;
    options.synack_retries = retries;
    options.user_timeout_ms = 1500;
    listener->set_options(options);
    std::swap(peer.port, peer.host_port);
    const uint64_t last = (uint64_t{1} << retries) - 1;
    peer.send(peer.next(kSyn));
    const std::vector<uint64_t> seconds = syn_seconds(peer, last + std::min<uint64_t>(last, 119));
    cr_expect_eq(seconds.size(), retries + 1U, "%u: %zu", retries, seconds.size());
    cr_expect_eq(seconds.back(), last, "%u", retries);
    cr_expect_eq(peer.host.stack().tcp().size(), 1, "%u", retries);
    // As long again for an answer to the last; then without a word.
    peer.wait(2 * kSecond);
    cr_expect(peer.take().empty());
    cr_expect_eq(peer.host.stack().tcp().size(), 0, "%u", retries);
  }
}

// As tcp_check_req(): a SYN that comes again is answered, and the wait begins anew.
Test(tcp_connect, a_repeated_syn_prolongs_the_wait_and_is_not_counted) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80);
  TcpOptions options;
  options.synack_retries = 2;
  listener->set_options(options);
  std::swap(peer.port, peer.host_port);
  Segment syn = peer.next(kSyn);
  for (int i = 0; i < 7; ++i) {
    if (i != 0) peer.wait(900 * kMs);
    peer.send(syn);
    cr_expect(peer.take_one().has(kSyn | kAck), "%d", i);
  }
  const std::vector<uint64_t> seconds = syn_seconds(peer, 6);
  cr_expect_eq(seconds, (std::vector<uint64_t>{1, 3}));
  cr_expect_eq(peer.host.stack().tcp().size(), 1);
  peer.wait(kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
}

Test(tcp_connect, a_lost_final_ack_does_not_stop_the_server) {
  Network network;
  TcpListener* listener = network.b.listen(80);
  size_t from_a = 0;
  network.wire.tap = [&](int side, Bytes&) { return side != 0 || ++from_a != 2; };
  TcpEndpoint* client = network.a.connect(network.b, 80, 5000);
  cr_expect(network.run_until([&] { return client->connected(); }));
  cr_expect(network.run_until([&] { return listener->ready(); }, 5 * kSecond));
}

Test(tcp_connect, a_4_tuple_in_use_is_eaddrnotavail) {
  Network network;
  establish(network);
  network.b.listen(90);
  cr_assert(network.a.try_connect(network.b, 90, 5000).ok());
  cr_expect_eq(network.a.try_connect(network.b, 90, 5000).error(), EADDRNOTAVAIL);
}

Test(tcp_connect, a_port_of_another_process_is_eaddrinuse) {
  Network network;
  network.a.give_port_away(IPPROTO_TCP, 5000);
  cr_expect_eq(network.a.try_connect(network.b, 90, 5000).error(), EADDRINUSE);
}

Test(tcp_connect, closing_while_connecting_sends_nothing) {
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  peer.take();
  (*made)->disown(Fd());
  cr_expect(peer.take().empty());
  cr_expect_eq(peer.host.stack().tcp().size(), 0);
  cr_expect_eq(peer.host.port_owner(IPPROTO_TCP, 5000), 0);
}

Test(tcp_connect, shutdown_while_connecting_is_econnreset) {
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), 5000, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  cr_expect((*made)->shutdown(SHUT_RDWR).ok());
  cr_expect_eq((*made)->take_error(), ECONNRESET);
  (*made)->disown(Fd());
}

Test(tcp_connect, a_reset_with_a_wrong_acknowledgement_is_ignored) {
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), peer.host_port, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  peer.take();
  Segment reset = peer.next(kRst | kAck);
  reset.acknowledgement -= 1;
  peer.send(reset);
  cr_expect((*made)->connecting());
  peer.send(peer.next(kRst | kAck));
  cr_expect_eq((*made)->take_error(), ECONNREFUSED);
  (*made)->disown(Fd());
}

Test(tcp_connect, an_acknowledgement_from_an_older_connection_is_reset) {
  RawPeer peer;
  auto made = TcpEndpoint::connect(peer.host.stack(), {ip("10.0.0.1"), peer.host_port, 0},
                                   {ip("10.0.0.2"), 80, 0}, {}, 4);
  peer.take();
  Segment old = peer.next(kAck);
  old.acknowledgement += 77;
  peer.send(old);
  const std::vector<Segment> answers = peer.take();
  cr_assert_geq(answers.size(), 1);
  cr_expect(answers.front().has(kRst));
  cr_expect_eq(answers.front().sequence, old.acknowledgement);
  cr_expect((*made)->connecting());
}

Test(tcp_connect, a_peer_without_options_works_with_small_windows) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  cr_assert(endpoint->connected());
  cr_expect_eq(endpoint->mss(), 536);
  std::string data(3000, 'x');
  cr_expect_eq(send_bytes(*endpoint, data.data(), data.size()), 3000);
  for (const Segment& segment : peer.take()) {
    cr_expect_leq(segment.payload.size(), 536);
    cr_expect(segment.options.empty());
  }
}

Test(tcp_connect, the_first_window_is_ten_segments) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460) + option_window_scale(7));
  std::string data(100'000, 'x');
  send_bytes(*endpoint, data.data(), data.size());
  cr_expect_eq(peer.take().size(), 10);
}

Test(tcp_connect, windows_are_scaled_both_ways) {
  RawPeer peer;
  peer.window = 1000;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1460) + option_window_scale(3));
  // 1000 << 3 after the handshake.
  peer.send(peer.next());
  std::string data(100'000, 'x');
  send_bytes(*endpoint, data.data(), data.size());
  size_t bytes = 0;
  uint16_t window = 0;
  for (const Segment& segment : peer.take()) {
    bytes += segment.payload.size();
    window = segment.window;
  }
  cr_expect_eq(bytes, 5 * 1460);
  cr_expect_eq(window, (1024 * 1024) >> 7);
}
