// shared_rings_test.cpp - fill and completion rings, also when somebody dies in the middle
#include "xdp/shared_rings.h"

#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/xdp/fake_queue.h"

using namespace underpass;
using namespace underpass::test;

namespace {

// An empty fill ring and three chunks that somebody holds.
struct Filling {
  FakeControl control{1};
  FakeRing<uint64_t> fill{kFillRingEntries};
  uint64_t chunks[3] = {chunk_address(5), chunk_address(6), chunk_address(9)};

  Filling() {
    for (const uint64_t chunk : chunks) control->rx_owner[chunk_of(chunk)] = 1;
  }
  bool owned(uint32_t chunk) { return control->rx_owner[chunk] != 0; }
};

}  // namespace

Test(shared_rings, given_chunks_are_in_the_ring_and_nobodys) {
  Filling test;
  Ring<uint64_t> ring = test.fill.ring();
  cr_assert_eq(give_to_kernel(test.control.get(), 0, ring, test.chunks), 3);
  cr_assert(!test.owned(5) && !test.owned(6) && !test.owned(9));
  for (const uint64_t chunk : test.chunks) cr_assert_eq(test.fill.pop(), chunk);
}

Test(shared_rings, full_ring_takes_what_it_has_room_for) {
  FakeControl control(1);
  FakeRing<uint64_t> fill(4);
  Ring<uint64_t> ring = fill.ring();
  const uint64_t chunks[6] = {0, 2048, 4096, 6144, 8192, 10240};
  cr_assert_eq(give_to_kernel(control.get(), 0, ring, chunks), 4);
  cr_assert_eq(give_to_kernel(control.get(), 0, ring, chunks), 0);
  fill.pop();
  cr_assert_eq(give_to_kernel(control.get(), 0, ring, chunks), 1);
}

// Killed after the note, with one owner cleared: the next holder does the rest.
Test(shared_rings, fill_that_was_noted_is_finished_by_the_next) {
  Filling test;
  Ring<uint64_t> ring = test.fill.ring();
  const uint32_t producer = ring.own_producer();
  for (uint32_t i = 0; i < 3; ++i) ring[producer + i] = test.chunks[i];
  test.control->locks[0].filling_from = producer;
  test.control->locks[0].filling_count = 3;
  test.control->rx_owner[5] = 0;
  finish_filling(test.control.get(), 0, ring);
  cr_assert_eq(test.fill.count(), 3);
  cr_assert(!test.owned(5) && !test.owned(6) && !test.owned(9));
  finish_filling(test.control.get(), 0, ring);
  cr_assert_eq(test.fill.count(), 3);
}

// Killed after the ring was published, before the note was taken back.
Test(shared_rings, fill_that_was_done_is_not_done_again) {
  Filling test;
  Ring<uint64_t> ring = test.fill.ring();
  const uint32_t producer = ring.own_producer();
  give_to_kernel(test.control.get(), 0, ring, test.chunks);
  test.control->locks[0].filling_from = producer;
  test.control->locks[0].filling_count = 3;
  // The kernel has given one to somebody else in the meantime.
  test.fill.pop();
  test.control->rx_owner[5] = 2;
  finish_filling(test.control.get(), 0, ring);
  cr_assert_eq(test.fill.count(), 2);
  cr_assert_eq(test.control->rx_owner[5], 2);
}

// Killed before the note: the chunks are still the dead one's, and found by their owner.
Test(shared_rings, fill_that_was_not_noted_is_as_if_it_had_not_begun) {
  Filling test;
  Ring<uint64_t> ring = test.fill.ring();
  ring[ring.own_producer()] = test.chunks[0];
  finish_filling(test.control.get(), 0, ring);
  cr_assert_eq(test.fill.count(), 0);
  cr_assert(test.owned(5));
}

Test(shared_rings, lock_of_a_dead_process_is_taken_over) {
  FakeControl control(1);
  const pid_t child = ::fork();
  if (child == 0) {
    pthread_mutex_lock(&control->locks[0].fill);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  {
    RobustTryLock lock(control->locks[0].fill);
    cr_assert(lock.held());
    cr_assert(lock.recovered());
  }
  RobustTryLock again(control->locks[0].fill);
  cr_assert(again.held());
  cr_assert(!again.recovered());
}

Test(shared_rings, completions_free_their_chunks_and_no_others) {
  FakeControl control(1);
  FakeRing<uint64_t> completion(kCompletionRingEntries);
  for (uint32_t i = 0; i < 4; ++i) control->tx_in_flight[i] = 1;
  completion.push(chunk_address(tx_chunk(1, 0)));
  completion.push(chunk_address(tx_chunk(1, 2)));
  Ring<uint64_t> ring = completion.ring();
  take_completions(control.get(), 1, ring);
  cr_assert_eq(control->tx_in_flight[0], 0);
  cr_assert_eq(control->tx_in_flight[1], 1);
  cr_assert_eq(control->tx_in_flight[2], 0);
  cr_assert_eq(control->tx_in_flight[3], 1);
  cr_assert_eq(completion.count(), 0);
}

// Shared memory may hold anything.
Test(shared_rings, completion_of_no_tx_chunk_is_ignored) {
  FakeControl control(1);
  FakeRing<uint64_t> completion(kCompletionRingEntries);
  completion.push(0);
  completion.push(UINT64_MAX);
  Ring<uint64_t> ring = completion.ring();
  take_completions(control.get(), 1, ring);
  cr_assert_eq(completion.count(), 0);
}

// The note and the ring are written by clients, the table is ours: UMEM addresses that are no rx
// chunk's must not become indices. Behind the owners, tx_in_flight begins.
Test(shared_rings, forged_entry_of_a_note_is_no_index) {
  Filling test;
  Ring<uint64_t> ring = test.fill.ring();
  const uint32_t producer = ring.own_producer();
  ring[producer] = chunk_address(kRxFrames + 7);
  test.control->tx_in_flight[7] = 1;
  test.control->locks[0].filling_from = producer;
  test.control->locks[0].filling_count = 1;
  finish_filling(test.control.get(), 0, ring);
  cr_assert_eq(test.control->tx_in_flight[7], 1);
}

Test(shared_rings, forged_index_of_the_completion_ring_costs_one_round_at_most) {
  FakeControl control(1);
  FakeRing<uint64_t> completion(kCompletionRingEntries);
  Ring<uint64_t> ring = completion.ring();
  const uint32_t before = ring.own_consumer();
  ring.store_producer(before - 1);
  take_completions(control.get(), 1, ring);
  cr_assert_eq(ring.own_consumer() - before, kCompletionRingEntries);
}
