// urgent_test.cpp - urgent pointers in and out, segment by segment
#include <criterion/criterion.h>
#include <sys/socket.h>

#include <cerrno>

#include "tests/support/pattern.h"
#include "tests/support/raw_peer.h"

using namespace underpass;
using namespace underpass::test;

namespace {

struct Owner : Recorder {
  void endpoint_urgent() override { ++told; }
  int told = 0;
};

Segment urgent(RawPeer& peer, uint16_t pointer, const std::string& payload) {
  Segment segment = peer.next(kAck | kUrg, payload);
  segment.urgent = pointer;
  return segment;
}

// What MSG_OOB gives: the byte, or minus the error.
int take_urgent(TcpEndpoint& endpoint) {
  uint8_t byte = 0;
  const iovec piece{&byte, 1};
  int flags = 0;
  const auto got = endpoint.receive_urgent({&piece, 1}, 0, &flags);
  if (!got) return -got.error();
  return *got == 1 ? byte : 0;
}

}  // namespace

TestSuite(urgent);

Test(urgent, the_byte_before_the_pointer_is_taken_out_of_the_stream) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Owner owner;
  endpoint->set_owner(&owner, -1);
  peer.send(urgent(peer, 3, "ab!cd"));
  cr_expect_eq(owner.told, 1);
  cr_expect_eq(endpoint->readiness() & (EPOLLIN | EPOLLPRI), EPOLLIN | EPOLLPRI);
  cr_expect_eq(receive_text(*endpoint), "ab");
  cr_expect(endpoint->at_mark());
  cr_expect_eq(take_urgent(*endpoint), '!');
  cr_expect_eq(receive_text(*endpoint), "cd");
  cr_expect_eq(take_urgent(*endpoint), -EINVAL);
}

Test(urgent, a_pointer_may_come_before_its_byte) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Owner owner;
  endpoint->set_owner(&owner, -1);
  peer.send(urgent(peer, 4, "ab"));
  cr_expect_eq(owner.told, 1);
  cr_expect_eq(take_urgent(*endpoint), -EAGAIN);
  cr_expect_eq(endpoint->readiness() & EPOLLPRI, 0);
  // As Linux sends it again in each segment before the pointer.
  peer.send(urgent(peer, 2, "c!d"));
  cr_expect_eq(owner.told, 1);
  cr_expect_eq(take_urgent(*endpoint), '!');
}

Test(urgent, a_pointer_that_points_back_is_no_news) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Owner owner;
  endpoint->set_owner(&owner, -1);
  Segment again = urgent(peer, 3, "ab!");
  peer.send(again);
  cr_expect_eq(receive_text(*endpoint), "ab");
  cr_expect_eq(take_urgent(*endpoint), '!');
  peer.send(again);
  cr_expect_eq(owner.told, 1);
  cr_expect_eq(take_urgent(*endpoint), -EINVAL);
}

Test(urgent, a_segment_from_outside_of_the_window_says_nothing) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  Owner owner;
  endpoint->set_owner(&owner, -1);
  Segment far = urgent(peer, 1, "x");
  far.sequence += 3U << 20U;
  peer.send(far);
  cr_expect_eq(owner.told, 0);
  cr_expect(!endpoint->at_mark());
}

Test(urgent, what_is_sent_says_in_every_segment_where_the_last_byte_is) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect({}, option_mss(1000));
  const std::string data(2500, 'a');
  const iovec piece{const_cast<char*>(data.data()), data.size()};
  cr_expect_eq(*endpoint->send({&piece, 1}, 0, MSG_OOB), data.size());
  peer.host.stack().flush();
  const std::vector<Segment> sent = peer.take();
  cr_assert_eq(sent.size(), 3);
  cr_expect(sent[0].has(kUrg) && sent[1].has(kUrg) && sent[2].has(kUrg));
  cr_expect_eq(sent[0].urgent, 2500);
  cr_expect_eq(sent[1].urgent, 1500);
  cr_expect_eq(sent[2].urgent, 500);
}

Test(urgent, a_retransmission_is_urgent_too) {
  RawPeer peer;
  TcpEndpoint* endpoint = peer.connect();
  const iovec piece{const_cast<char*>("x!"), 2};
  cr_expect_eq(*endpoint->send({&piece, 1}, 0, MSG_OOB), 2);
  peer.host.stack().flush();
  peer.take();
  peer.wait(1'000'000'000);
  const std::vector<Segment> again = peer.take();
  cr_assert(!again.empty());
  cr_expect(again[0].has(kUrg));
  cr_expect_eq(again[0].urgent, 2);
}
