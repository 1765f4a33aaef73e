// xsk_port_test.cpp - the frame port over rings whose other end the test plays
#include <criterion/criterion.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/xdp/fake_queue.h"

using namespace underpass;
using namespace underpass::test;

namespace {

// The kernel's headroom before a received frame.
constexpr uint64_t kHeadroom = 256;

struct OneClient {
  FakeControl control{1};
  FakeQueue queue{0};
  FakeClient client{control.get(), {&queue}, 3};
  XskPort& port = client.port();

  // The kernel receives frames into chunks of the fill ring, while there are any and room for them.
  void deliver(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      if (queue.fill.count() == 0 || client.rx().count() == kRxRingEntries) return;
      client.rx().push({queue.fill.pop() + kHeadroom, 60, 0});
    }
  }
  // The kernel sends what it was given, and says so now or later.
  std::vector<uint64_t> send_all() {
    std::vector<uint64_t> sent;
    while (client.tx().count() > 0) sent.push_back(client.tx().pop().addr);
    return sent;
  }
  void complete(const std::vector<uint64_t>& addresses) {
    for (const uint64_t address : addresses) queue.completion.push(address);
  }
  // Submits `count` frames; fewer if it runs out of chunks.
  uint32_t submit(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      if (port.reserve() == nullptr) return i;
      port.submit(60);
    }
    return count;
  }
};

}  // namespace

Test(xsk_port, receives_what_the_kernel_delivers_and_owns_it) {
  OneClient one;
  cr_assert(!one.port.readable());
  RxFrame frames[64];
  cr_assert_eq(one.port.receive(frames), 0);
  one.deliver(3);
  cr_assert(one.port.readable());
  cr_assert_eq(one.port.receive(frames), 3);
  cr_assert(!one.port.readable());
  for (uint32_t i = 0; i < 3; ++i) {
    cr_assert_eq(frames[i].data, one.client.umem() + chunk_address(i) + kHeadroom);
    cr_assert_eq(frames[i].length_bytes, 60);
    cr_assert_eq(one.control->rx_owner[i], 3 + 1);
  }
  cr_assert_eq(one.control->client[3].counters.rx_frames, 3);
  cr_assert_eq(one.control->client[3].counters.rx_bytes, 180);
}

Test(xsk_port, takes_no_more_than_was_asked_for) {
  OneClient one;
  one.deliver(10);
  RxFrame frames[4];
  cr_assert_eq(one.port.receive(frames), 4);
  cr_assert_eq(one.port.receive(frames), 4);
  cr_assert_eq(one.port.receive(frames), 2);
}

Test(xsk_port, released_chunks_are_the_kernels_again) {
  OneClient one;
  one.deliver(64);
  RxFrame frames[64];
  const size_t got = one.port.receive(frames);
  cr_assert_eq(got, 64);
  uint64_t ids[64];
  for (size_t i = 0; i < got; ++i) ids[i] = frames[i].id;
  one.port.release(ids);
  cr_assert_eq(one.queue.fill.count(), kRxFramesPerQueue);
  for (uint32_t i = 0; i < 64; ++i) cr_assert_eq(one.control->rx_owner[i], 0);
}

// However frames are held and given back, no chunk is lost or in two places.
Test(xsk_port, every_chunk_is_in_one_place) {
  OneClient one;
  std::mt19937 random(1);
  std::vector<uint64_t> held;
  for (int turn = 0; turn < 20000; ++turn) {
    one.deliver(static_cast<uint32_t>(random() % 100));
    RxFrame frames[64];
    const size_t got = one.port.receive({frames, random() % 64 + 1});
    for (size_t i = 0; i < got; ++i) held.push_back(frames[i].id);
    std::shuffle(held.begin(), held.end(), random);
    const size_t back = random() % (held.size() + 1);
    one.port.release({held.data(), back});
    held.erase(held.begin(), held.begin() + static_cast<long>(back));
  }
  std::multiset<uint32_t> found;
  while (one.queue.fill.count() > 0) found.insert(chunk_of(one.queue.fill.pop()));
  while (one.client.rx().count() > 0) found.insert(chunk_of(one.client.rx().pop().addr));
  for (uint32_t chunk = 0; chunk < kRxFramesPerQueue; ++chunk) {
    const bool owned = one.control->rx_owner[chunk] != 0;
    cr_assert_eq(found.count(chunk) + (owned ? 1 : 0), 1, "chunk %u", chunk);
  }
}

Test(xsk_port, reserve_returns_the_same_chunk_until_it_is_submitted) {
  OneClient one;
  uint8_t* const first = one.port.reserve();
  cr_assert_eq(one.port.reserve(), first);
  cr_assert_eq(first, one.client.umem() + chunk_address(tx_chunk(1, first_tx_index(3))));
  one.port.submit(60);
  cr_assert_neq(one.port.reserve(), first);
}

Test(xsk_port, nothing_is_visible_to_the_kernel_before_flush) {
  OneClient one;
  one.client.tx().set_need_wakeup(true);
  one.submit(2);
  cr_assert_eq(one.client.tx().count(), 0);
  cr_assert_eq(one.client.kicks(), 0);
  one.port.flush();
  cr_assert_eq(one.client.tx().count(), 2);
  cr_assert_geq(one.client.kicks(), 1);
}

Test(xsk_port, flush_of_nothing_makes_no_call) {
  OneClient one;
  one.client.tx().set_need_wakeup(true);
  one.port.flush();
  cr_assert_eq(one.client.kicks(), 0);
  cr_assert_eq(one.control->client[3].counters.tx_syscalls, 0);
}

Test(xsk_port, driver_that_polls_by_itself_is_not_called) {
  OneClient one;
  one.submit(5);
  one.port.flush();
  cr_assert_eq(one.client.tx().count(), 5);
  cr_assert_eq(one.client.kicks(), 0);
}

Test(xsk_port, no_chunk_is_handed_out_while_it_is_in_flight) {
  OneClient one;
  cr_assert_eq(one.submit(kTxFramesPerSlot), kTxFramesPerSlot);
  one.port.flush();
  const std::vector<uint64_t> sent = one.send_all();
  cr_assert_eq(std::set<uint64_t>(sent.begin(), sent.end()).size(), kTxFramesPerSlot);
  // Sent is not completed: the device still reads them.
  cr_assert_null(one.port.reserve());
  one.complete({sent.begin(), sent.begin() + 7});
  cr_assert_eq(one.submit(kTxFramesPerSlot), 7);
  one.port.flush();
  const std::vector<uint64_t> again = one.send_all();
  cr_assert(std::equal(again.begin(), again.end(), sent.begin()));
}

Test(xsk_port, completions_in_another_order_are_waited_for) {
  OneClient one;
  one.submit(kTxFramesPerSlot);
  one.port.flush();
  const std::vector<uint64_t> sent = one.send_all();
  one.complete({sent.begin() + 1, sent.end()});
  cr_assert_null(one.port.reserve());
  one.complete({sent[0]});
  cr_assert_eq(one.submit(kTxFramesPerSlot), kTxFramesPerSlot);
}

Test(xsk_port, completions_of_others_are_theirs) {
  FakeControl control(1);
  FakeQueue queue(0);
  FakeClient a(control.get(), {&queue}, 0);
  FakeClient b(control.get(), {&queue}, 1);
  b.port().reserve();
  b.port().submit(60);
  b.port().flush();
  queue.completion.push(b.tx().pop().addr);
  // A runs out of chunks, looks for completions and finds B's.
  for (uint32_t i = 0; i < kTxFramesPerSlot; ++i) {
    cr_assert_not_null(a.port().reserve());
    a.port().submit(60);
  }
  cr_assert_null(a.port().reserve());
  cr_assert_eq(queue.completion.count(), 0);
  cr_assert_eq(control->tx_in_flight[first_tx_index(1)], 0);
  cr_assert_eq(control->tx_in_flight[first_tx_index(0)], 1);
}

Test(xsk_port, failed_call_loses_no_frame) {
  OneClient one;
  one.client.tx().set_need_wakeup(true);
  one.client.break_socket();
  one.submit(5);
  one.port.flush();
  cr_assert_eq(one.client.tx().count(), 5);
  // The next flush tries again, although nothing new was submitted.
  const uint64_t calls = one.control->client[3].counters.tx_syscalls;
  one.port.flush();
  cr_assert_gt(one.control->client[3].counters.tx_syscalls, calls);
  one.send_all();
  one.port.flush();
  const uint64_t after = one.control->client[3].counters.tx_syscalls;
  one.port.flush();
  cr_assert_eq(one.control->client[3].counters.tx_syscalls, after);
}

Test(xsk_port, chunks_wait_while_another_process_holds_the_fill_ring) {
  OneClient one;
  one.deliver(64);
  RxFrame frames[64];
  one.port.receive(frames);
  uint64_t ids[64];
  for (size_t i = 0; i < 64; ++i) ids[i] = frames[i].id;
  pthread_mutex_lock(&one.control->locks[0].fill);
  one.port.release({ids, 32});
  cr_assert_eq(one.queue.fill.count(), kRxFramesPerQueue - 64);
  cr_assert_eq(one.control->rx_owner[chunk_of(ids[0])], 3 + 1);
  pthread_mutex_unlock(&one.control->locks[0].fill);
  one.port.release({ids + 32, 32});
  cr_assert_eq(one.queue.fill.count(), kRxFramesPerQueue);
}

Test(xsk_port, all_queues_are_received_from_and_each_gets_its_chunks_back) {
  FakeControl control(2);
  FakeQueue first(0), second(1);
  FakeClient client(control.get(), {&first, &second}, 0);
  for (int i = 0; i < 32; ++i) {
    client.rx(0).push({first.fill.pop() + kHeadroom, 60, 0});
    client.rx(1).push({second.fill.pop() + kHeadroom, 60, 0});
  }
  RxFrame frames[64];
  cr_assert_eq(client.port().receive(frames), 64);
  std::vector<uint64_t> ids;
  for (const RxFrame& frame : frames) ids.push_back(frame.id);
  client.port().release(ids);
  cr_assert_eq(first.fill.count(), kRxFramesPerQueue);
  cr_assert_eq(second.fill.count(), kRxFramesPerQueue);
}

Test(xsk_port, clients_spread_over_the_tx_queues) {
  FakeControl control(2);
  FakeQueue first(0), second(1);
  FakeClient client(control.get(), {&first, &second}, 5);
  client.port().reserve();
  client.port().submit(60);
  client.port().flush();
  cr_assert_eq(client.tx(0).count(), 0);
  cr_assert_eq(client.tx(1).count(), 1);
}

Test(xsk_port, mtu_is_followed_up_to_what_a_chunk_holds) {
  OneClient one;
  cr_assert_eq(one.port.capabilities().mtu_bytes, 1500);
  one.control->mtu_bytes = 1400;
  cr_assert_eq(one.port.capabilities().mtu_bytes, 1400);
  one.control->mtu_bytes = 9000;
  cr_assert_eq(one.port.capabilities().mtu_bytes, kMaxFrameBytes - 14);
}
