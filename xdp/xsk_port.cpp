// xsk_port.cpp - no system call to receive, one per batch to send
#include "xdp/xsk_port.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "xdp/robust_lock.h"
#include "xdp/shared_rings.h"
#include "xdp/umem.h"

namespace underpass {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

void add(std::atomic<uint64_t>& counter, uint64_t by) {
  // We are the only writer: a plain addition, no locked instruction.
  counter.store(counter.load(kRelaxed) + by, kRelaxed);
}

}  // namespace

XskPort::XskPort(Control& control, ClientSlot& slot, uint32_t slot_index, uint8_t* umem,
                 std::vector<Queue> queues)
    : control_(control),
      counters_(slot.counters),
      slot_(slot_index),
      umem_(umem),
      queues_(std::move(queues)),
      pending_fill_(queues_.size()),
      tx_queue_(slot_index % control.tx_queues) {
  for (const Queue& queue : queues_) fds_.push_back(queue.fd.get());
  capabilities_.rx_partial_checksum = control.rx_partial_checksum != 0;
  // An eighth of one queue, as all may have come through one: a slow reader leaves enough for
  // others.
  capabilities_.hold_limit_frames = kRxFramesPerQueue / 8;
  tx_producer_ = queues_[tx_queue_].rings.tx.own_producer();
}

XskPort::~XskPort() = default;

void XskPort::let_go() {
  // A ring that is mapped keeps its socket.
  for (Queue& queue : queues_) {
    for (Mapping& map : queue.rings.maps) map.become_empty();
    queue.fd.reset();
  }
  fds_.clear();
}

const PortCapabilities& XskPort::capabilities() const {
  capabilities_.mac = mac_of(control_.mac.load(kRelaxed));
  capabilities_.mtu_bytes =
      std::min<uint32_t>(control_.mtu_bytes.load(kRelaxed), kMaxFrameBytes - 14);
  return capabilities_;
}

bool XskPort::readable() const {
  return std::any_of(queues_.begin(), queues_.end(), [](const Queue& queue) {
    return queue.rings.rx.load_producer() != queue.rings.rx.own_consumer();
  });
}

size_t XskPort::receive(std::span<RxFrame> out) {
  size_t total = 0;
  const auto count = static_cast<uint32_t>(queues_.size());
  for (uint32_t i = 0; i < count && total < out.size(); ++i) {
    total += receive_from(queues_[(next_queue_ + i) % count], out.subspan(total));
  }
  if (count > 1) next_queue_ = (next_queue_ + 1) % count;
  return total;
}

size_t XskPort::receive_from(Queue& queue, std::span<RxFrame> out) {
  Ring<xdp_desc>& rx = queue.rings.rx;
  const uint32_t consumer = rx.own_consumer();
  const auto count =
      static_cast<uint32_t>(std::min<size_t>(rx.load_producer() - consumer, out.size()));
  if (count == 0) return 0;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const xdp_desc& entry = rx[consumer + i];
    // Ours before the ring forgets it: at any moment the broker can tell where each chunk is.
    control_.rx_owner[chunk_of(entry.addr)].store(static_cast<uint8_t>(slot_ + 1), kRelaxed);
    out[i] = {umem_ + entry.addr, entry.len, entry.addr};
    bytes += entry.len;
  }
  __builtin_prefetch(out[0].data);
  rx.store_consumer(consumer + count);
  add(counters_.rx_frames, count);
  add(counters_.rx_bytes, bytes);
  return count;
}

void XskPort::release(std::span<const uint64_t> ids) {
  for (const uint64_t id : ids) {
    const uint32_t chunk = chunk_of(id);
    pending_fill_[queue_of_rx_chunk(chunk)].push_back(chunk_address(chunk));
  }
  for (uint32_t queue = 0; queue < queues_.size(); ++queue) fill(queue);
}

void XskPort::fill(uint32_t queue) {
  std::vector<uint64_t>& pending = pending_fill_[queue];
  // Some at a time: the lock and the shared cache lines cost more than the entries.
  constexpr size_t kWorthwhile = 16;
  if (pending.size() < kWorthwhile) return;
  RobustTryLock lock(control_.locks[queue].fill);
  if (!lock.held()) return;
  Ring<uint64_t>& ring = queues_[queue].rings.fill;
  if (lock.recovered()) finish_filling(control_, queue, ring);
  const uint32_t count = give_to_kernel(control_, queue, ring, pending);
  pending.erase(pending.begin(), pending.begin() + count);
  if (ring.needs_wakeup()) {
    // A driver with zero copy asks to be woken when it has run dry.
    sys::call(SYS_recvfrom, queues_[queue].fd.get(), 0, 0, MSG_DONTWAIT, 0, 0);
  }
}

uint8_t* XskPort::reserve() {
  std::atomic<uint8_t>& in_flight = control_.tx_in_flight[first_tx_index(slot_) + tx_next_];
  if (in_flight.load(std::memory_order_acquire) != 0) drain_completions();
  if (in_flight.load(std::memory_order_acquire) != 0) return nullptr;
  Ring<xdp_desc>& tx = queues_[tx_queue_].rings.tx;
  if (tx_producer_ - tx.load_consumer() >= tx.capacity()) return nullptr;
  const uint32_t chunk = tx_chunk(control_.queues, first_tx_index(slot_) + tx_next_);
  return umem_ + chunk_address(chunk);
}

void XskPort::submit(uint32_t length_bytes) {
  const uint32_t index = first_tx_index(slot_) + tx_next_;
  control_.tx_in_flight[index].store(1, kRelaxed);
  queues_[tx_queue_].rings.tx[tx_producer_++] = {chunk_address(tx_chunk(control_.queues, index)),
                                                 length_bytes, 0};
  tx_next_ = (tx_next_ + 1) % kTxFramesPerSlot;
  ++tx_unsent_;
  add(counters_.tx_frames, 1);
  add(counters_.tx_bytes, length_bytes);
}

void XskPort::flush() {
  if (tx_unsent_ == 0 && !tx_stalled_) return;
  Ring<xdp_desc>& tx = queues_[tx_queue_].rings.tx;
  tx.store_producer(tx_producer_);
  tx_unsent_ = 0;
  if (tx.needs_wakeup()) kick();
}

// In copy mode a call takes what it can and says EAGAIN when there is more; with zero copy it only
// wakes the driver. What the kernel does not take now goes with the next flush().
void XskPort::kick() {
  const Ring<xdp_desc>& tx = queues_[tx_queue_].rings.tx;
  const int fd = queues_[tx_queue_].fd.get();
  uint32_t left = tx_producer_ - tx.load_consumer();
  bool drained = false;
  while (left != 0) {
    const long sent = sys::sendto(fd, nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    add(counters_.tx_syscalls, 1);
    const uint32_t before = std::exchange(left, tx_producer_ - tx.load_consumer());
    if (left != before) continue;
    if (control_.zero_copy != 0 || drained || sent == -ENETDOWN || sent == -ENXIO) break;
    // The device or the completion ring is full.
    drain_completions();
    drained = true;
  }
  tx_stalled_ = left != 0 && control_.zero_copy == 0;
}

void XskPort::drain_completions() {
  RobustTryLock lock(control_.locks[tx_queue_].completion);
  if (lock.held()) {
    take_completions(control_, static_cast<uint32_t>(queues_.size()),
                     queues_[tx_queue_].rings.completion);
  }
}

}  // namespace underpass
