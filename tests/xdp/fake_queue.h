// fake_queue.h - rings in plain memory, with the kernel's side played by the test
#pragma once

#include <criterion/criterion.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/limits.h"
#include "xdp/control_abi.h"
#include "xdp/robust_lock.h"
#include "xdp/umem.h"
#include "xdp/xsk_port.h"

namespace underpass::test {

// A control memory of one or more queues; zero but for what XskPort reads. Only touched pages cost.
class FakeControl {
 public:
  explicit FakeControl(uint32_t queues)
      : memory_(::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
    cr_assert_neq(memory_, MAP_FAILED);
    Control& control = get();
    control.queues = control.tx_queues = queues;
    control.slots = kMaxSlots;
    control.mtu_bytes = 1500;
    for (uint32_t i = 0; i < queues; ++i) {
      RobustTryLock::init(control.locks[i].fill);
      RobustTryLock::init(control.locks[i].completion);
    }
  }
  ~FakeControl() { ::munmap(memory_, sizeof(Control)); }
  FakeControl(const FakeControl&) = delete;
  FakeControl& operator=(const FakeControl&) = delete;
  Control& get() { return *static_cast<Control*>(memory_); }
  Control* operator->() { return &get(); }

 private:
  void* memory_;
};

// One ring in memory, both of its ends. Indices start close to where they wrap.
template <class Entry>
class FakeRing {
 public:
  explicit FakeRing(uint32_t entries)
      : memory_(kDescOffset / sizeof(uint64_t) + entries * sizeof(Entry) / sizeof(uint64_t)),
        entries_(entries) {
    constexpr uint32_t kNearTheWrap = UINT32_MAX - 20;
    ring().store_producer(kNearTheWrap);
    ring().store_consumer(kNearTheWrap);
  }
  Ring<Entry> ring() {
    xdp_ring_offset offsets{};
    offsets.producer = 0;
    offsets.consumer = sizeof(uint64_t);
    offsets.flags = kFlagsOffset;
    offsets.desc = kDescOffset;
    return Ring<Entry>(memory_.data(), offsets, entries_);
  }
  void set_need_wakeup(bool wanted) {
    const uint32_t flag = wanted ? XDP_RING_NEED_WAKEUP : 0;
    std::memcpy(reinterpret_cast<uint8_t*>(memory_.data()) + kFlagsOffset, &flag, sizeof flag);
  }
  uint32_t count() { return ring().load_producer() - ring().load_consumer(); }
  void push(const Entry& entry) {
    Ring<Entry> view = ring();
    const uint32_t producer = view.own_producer();
    view[producer] = entry;
    view.store_producer(producer + 1);
  }
  Entry pop() {
    Ring<Entry> view = ring();
    const uint32_t consumer = view.own_consumer();
    const Entry entry = view[consumer];
    view.store_consumer(consumer + 1);
    return entry;
  }

 private:
  static constexpr size_t kFlagsOffset = 16;
  static constexpr size_t kDescOffset = 64;
  std::vector<uint64_t> memory_;
  uint32_t entries_;
};

// The rings that all clients of a queue share, full of chunks as the broker leaves them.
struct FakeQueue {
  FakeRing<uint64_t> fill{kFillRingEntries};
  FakeRing<uint64_t> completion{kCompletionRingEntries};

  explicit FakeQueue(uint32_t queue) {
    for (uint32_t i = 0; i < kRxFramesPerQueue; ++i) {
      fill.push(chunk_address(queue * kRxFramesPerQueue + i));
    }
  }
};

// One client's XskPort over fake rings. The socket that it kicks is one end of a pair: kicks() says
// how often.
class FakeClient {
 public:
  FakeClient(Control& control, std::vector<FakeQueue*> queues, uint32_t slot)
      : umem_(umem_bytes(control.queues, control.slots)) {
    std::vector<XskPort::Queue> parts;
    for (FakeQueue* queue : queues) {
      auto own = std::make_unique<Own>();
      int pair[2];
      cr_assert_eq(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
      own->kernel_end = Fd(pair[1]);
      XskPort::Queue part{Fd(pair[0]), {}};
      part.rings.rx = own->rx.ring();
      part.rings.tx = own->tx.ring();
      part.rings.fill = queue->fill.ring();
      part.rings.completion = queue->completion.ring();
      parts.push_back(std::move(part));
      own_.push_back(std::move(own));
    }
    port_ = std::make_unique<XskPort>(control, control.client[slot], slot, umem_.data(),
                                      std::move(parts));
  }

  XskPort& port() { return *port_; }
  FakeRing<xdp_desc>& rx(uint32_t queue = 0) { return own_[queue]->rx; }
  FakeRing<xdp_desc>& tx(uint32_t queue = 0) { return own_[queue]->tx; }
  uint8_t* umem() { return umem_.data(); }
  // Since the last call.
  int kicks(uint32_t queue = 0) {
    int count = 0;
    char none;
    while (sys::call(SYS_recvfrom, own_[queue]->kernel_end.get(), sys::arg(&none), 1, 0, 0, 0) == 0)
      ++count;
    return count;
  }
  // From now on every kick fails.
  void break_socket(uint32_t queue = 0) { own_[queue]->kernel_end.reset(); }

 private:
  struct Own {
    FakeRing<xdp_desc> rx{kRxRingEntries};
    FakeRing<xdp_desc> tx{kTxRingEntries};
    Fd kernel_end;
  };
  std::vector<uint8_t> umem_;
  std::vector<std::unique_ptr<Own>> own_;
  std::unique_ptr<XskPort> port_;
};

}  // namespace underpass::test
