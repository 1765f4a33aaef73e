// records_test.cpp - what `underpass ss` is shown, and what the broker resets
#include "stack/records.h"

#include <criterion/criterion.h>
#include <netinet/in.h>

#include <memory>

#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

// Seen as a reset with the numbers of a connection that was long gone.
Test(records, record_that_is_taken_again_remembers_nothing) {
  const auto slot = std::make_unique<ClientSlot>();
  Records records(*slot);
  const SocketAddress local{ip("10.0.0.1"), 80, 0}, remote{ip("10.0.0.2"), 4000, 0};
  SocketRecord* first = nullptr;
  records.take(first, IPPROTO_TCP, local, remote, 5);
  first->snd_nxt = first->rcv_nxt = first->rtt_us = 7;
  first->rx_queue_bytes = first->tx_queue_bytes = 7;
  first->state = static_cast<uint8_t>(SocketState::kEstablished);
  records.give_back(first);
  SocketRecord* second = nullptr;
  records.take(second, IPPROTO_TCP, local, remote, 6);
  cr_assert_eq(second, first);
  cr_expect_eq(second->snd_nxt, 0);
  cr_expect_eq(second->rcv_nxt, 0);
  cr_expect_eq(second->rtt_us, 0);
  cr_expect_eq(second->rx_queue_bytes, 0);
  cr_expect_eq(second->tx_queue_bytes, 0);
  cr_expect_eq(second->state, static_cast<uint8_t>(SocketState::kClose));
  cr_expect_eq(second->inode_fd, 6);
  records.give_back(second);
}

Test(records, records_move_to_another_slot_with_those_who_have_them) {
  const auto slot = std::make_unique<ClientSlot>();
  const auto next = std::make_unique<ClientSlot>();
  Records records(*slot);
  const SocketAddress local{ip("10.0.0.1"), 80, 0}, remote{ip("10.0.0.2"), 4000, 0};
  SocketRecord* one = nullptr;
  SocketRecord* other = nullptr;
  records.take(one, IPPROTO_TCP, local, remote, 5);
  records.take(other, IPPROTO_UDP, local, remote, 6);
  records.give_back(one);
  other->rx_queue_bytes = 7;
  records.start_over(*next);
  cr_assert_eq(other, &next->records[1]);
  cr_expect_eq(other->rx_queue_bytes, 7);
  cr_expect_eq(other->protocol, IPPROTO_UDP);
  cr_expect_eq(other->in_use, 1);
  cr_expect_eq(other->local_port, 80);
  cr_expect_eq(next->records_used, 2);
  cr_expect_eq(next->records[0].in_use, 0);
  records.take(one, IPPROTO_TCP, local, remote, 8);
  cr_expect_eq(one, &next->records[0]);
  records.give_back(one);
  records.give_back(other);
}
