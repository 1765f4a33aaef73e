// stack_test.cpp - ports, malformed frames, listeners, two stacks in one process
#include <criterion/criterion.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

void send_syn(RawPeer& peer, uint16_t from, uint16_t to) {
  Segment syn;
  syn.flags = kSyn;
  syn.sequence = from * 1000U;
  syn.source_port = from;
  syn.destination_port = to;
  peer.send_frame(tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), syn));
}

// Completes the handshake that `syn_ack` belongs to.
void send_final_ack(RawPeer& peer, const Segment& syn_ack) {
  Segment ack;
  ack.sequence = syn_ack.acknowledgement;
  ack.acknowledgement = syn_ack.sequence + 1;
  ack.source_port = syn_ack.destination_port;
  ack.destination_port = syn_ack.source_port;
  peer.send_frame(tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), ack));
}

}  // namespace

TestSuite(stack);

// ---- ports

Test(stack, the_port_of_a_closed_listener_stays_while_a_flow_cannot_be_steered_alone) {
  Network network;
  Connection connection = establish(network);
  // The flow map needs bpf(2), which a unit test has not: then the port stays claimed.
  connection.listener->close();
  cr_expect_eq(network.b.port_owner(IPPROTO_TCP, 80), 1);
  send_bytes(*connection.client, "still here", 10);
  network.run_for(1'000'000);
  cr_expect_eq(receive_text(*connection.server), "still here");
  connection.client->disown(Fd());
  network.run_for(1'000'000);
  connection.server->disown(Fd());
  network.run_for(61 * kSecond);
  cr_expect_eq(network.b.port_owner(IPPROTO_TCP, 80), 0);
}

// ---- demultiplexing

Test(stack, finding_a_connection_costs_the_same_among_ten_thousand) {
  Network network;
  Stack& stack = network.a.stack();
  TcpListener* listener = network.b.listen(80, 20'000);
  cr_assert(listener != nullptr);
  for (int i = 0; i < 10'000; ++i) {
    auto made =
        TcpEndpoint::connect(stack, {network.a.address(), static_cast<uint16_t>(20'000 + i), 0},
                             {network.b.address(), 80, 0}, {}, 4);
    cr_assert(made.ok());
    if (i % 100 == 0) network.run_for(200'000);
  }
  network.run_for(kSecond);
  cr_expect_eq(stack.tcp().size(), 10'000);
  cr_expect_eq(network.b.stack().tcp().size(), 10'000);
  cr_expect_leq(stack.tcp().longest_chain(), 8);
  cr_expect_leq(network.b.stack().tcp().longest_chain(), 8);
}

Test(stack, the_more_specific_listener_gets_the_connection) {
  RawPeer peer;
  TcpListener* any = peer.host.listen(80);
  Recorder events;
  auto own =
      TcpListener::open(peer.host.stack(), SocketAddress{ip("10.0.0.1"), 80, 0}, 5, events, 9);
  cr_assert(own.ok());
  send_syn(peer, 1000, 80);
  send_final_ack(peer, peer.take_one());
  cr_expect((*own)->ready());
  cr_expect_not(any->ready());
}

// ---- listeners

Test(stack, a_full_backlog_drops_syns) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80, 2);
  std::vector<Segment> answers;
  // One more than the backlog says, as in Linux.
  for (uint16_t i = 0; i < 3; ++i) {
    send_syn(peer, static_cast<uint16_t>(1000 + i), 80);
    send_final_ack(peer, peer.take_one());
  }
  send_syn(peer, 2000, 80);
  cr_expect(peer.take().empty());
  cr_expect_eq(peer.host.counters().listen_drops.load(), 1);
  listener->take()->disown(Fd());
  peer.take();
  send_syn(peer, 2000, 80);
  cr_expect(peer.take_one().has(kSyn | kAck));
}

Test(stack, a_flood_of_syns_is_bounded_and_leaves_a_chance) {
  RawPeer peer;
  TcpListener* listener = peer.host.listen(80, 10);
  for (uint16_t i = 0; i < 5000; ++i) send_syn(peer, static_cast<uint16_t>(10'000 + i), 80);
  cr_expect_leq(peer.host.stack().tcp().size(), 200);
  peer.take();
  send_syn(peer, 7000, 80);
  send_final_ack(peer, peer.take_one());
  cr_expect(listener->ready());
  peer.wait(70 * kSecond);
  cr_expect_eq(peer.host.stack().tcp().size(), 1);
  // Everybody got no more than SYN-ACKs and silence.
  for (const Segment& segment : peer.take()) cr_expect_not(segment.has(kRst));
}

Test(stack, accepted_connections_inherit_the_listeners_options) {
  Network network;
  TcpListener* listener = network.b.listen(80);
  TcpOptions options;
  options.no_delay = true;
  options.ttl = 17;
  listener->set_options(options);
  network.a.connect(network.b, 80, 5000);
  network.run_until([&] { return listener->ready(); });
  TcpEndpoint* server = listener->take();
  cr_expect(server->options().no_delay);
  cr_expect_eq(server->options().ttl, 17);
}

Test(stack, a_segment_for_nobody_is_reset_but_a_reset_is_not) {
  RawPeer peer;
  Segment stray = peer.next(kAck, "hello");
  stray.acknowledgement = 777;
  peer.send(stray);
  const Segment answer = peer.take_one();
  cr_expect(answer.has(kRst));
  cr_expect_eq(answer.sequence, 777);
  stray.flags = kRst;
  peer.send(stray);
  cr_expect(peer.take().empty());
}

// ---- malformed frames

Test(stack, a_bad_checksum_is_counted_and_dropped) {
  RawPeer peer;
  peer.host.listen(80);
  Segment syn = peer.next(kSyn);
  syn.destination_port = 80;
  Bytes frame = tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), syn);
  frame.back() = static_cast<uint8_t>(frame.back() ^ 1U);
  frame[40] = static_cast<uint8_t>(frame[40] ^ 1U);
  peer.send_frame(frame);
  cr_expect(peer.take().empty());
  cr_expect_eq(peer.host.counters().rx_bad_checksum.load(), 1);
  cr_expect_eq(peer.host.port().lent_frames(), 0);
}

Test(stack, frames_of_every_length_do_no_harm) {
  RawPeer peer;
  peer.host.listen(80);
  Segment syn = peer.next(kSyn);
  syn.destination_port = 80;
  syn.options = option_mss(1460) + option_window_scale(7) + option_timestamp(1, 2);
  const Bytes whole = tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), syn);
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    peer.send_frame({whole.begin(), whole.begin() + static_cast<long>(bytes)});
  }
  cr_expect_eq(peer.host.counters().rx_malformed.load(), whole.size());
  cr_expect_eq(peer.host.port().lent_frames(), 0);
}

Test(stack, ethernet_padding_is_not_payload) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Bytes frame = tcp_frame(ip("10.0.0.2"), ip("10.0.0.1"), peer.next(kAck, "ab"));
  frame.resize(60, 0xee);
  peer.send_frame(frame);
  cr_expect_eq(receive_text(*endpoint), "ab");
}

// ---- lists of lwIP

Test(stack, two_stacks_in_one_process_do_not_see_one_another) {
  Network first;
  Connection one = establish(first);
  {
    Network second;
    Connection two = establish(second);
    send_bytes(*one.client, "one", 3);
    send_bytes(*two.client, "two", 3);
    first.run_for(1'000'000);
    second.run_for(1'000'000);
    cr_expect_eq(receive_text(*one.server), "one");
    cr_expect_eq(receive_text(*two.server), "two");
    // A reset of a stack goes out of its own port.
    auto refused = second.a.try_connect(second.b, 9, 777);
    second.run_for(1'000'000);
    cr_expect_eq((*refused)->take_error(), ECONNREFUSED);
    (*refused)->disown(Fd());
  }
  send_bytes(*one.server, "after", 5);
  first.run_for(1'000'000);
  cr_expect_eq(receive_text(*one.client), "after");
}

Test(stack, everything_is_given_back_at_the_end) {
  auto network = std::make_unique<Network>();
  Connection connection = establish(*network);
  std::string data(500'000, 'z');
  send_bytes(*connection.client, data.data(), data.size());
  network->run_for(1'000'000);
  network->a.connect(network->b, 4444, 4444);
  network.reset();
}

// ---- records

Test(stack, a_socket_is_shown_while_it_lives) {
  Network network;
  Connection connection = establish(network);
  size_t shown = 0;
  for (const SocketRecord& record : network.b.slot().records) {
    if (record.in_use.load() == 0) continue;
    ++shown;
    if (record.state.load() == static_cast<uint8_t>(SocketState::kEstablished)) {
      cr_expect_eq(record.local_port.load(), 80);
      cr_expect_eq(record.remote_port.load(), connection.client->flow().local.port);
    }
  }
  cr_expect_eq(shown, 2);
  connection.client->disown(Fd());
  connection.server->disown(Fd());
  connection.listener->close();
  network.run_for(70 * kSecond);
  for (const SocketRecord& record : network.b.slot().records) cr_expect_eq(record.in_use.load(), 0);
}
