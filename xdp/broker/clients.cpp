// clients.cpp - where every chunk of a dead client is looked for
#include "xdp/broker/clients.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "xdp/shared_rings.h"
#include "xdp/umem.h"

namespace underpass {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

constexpr size_t kNameBytes = sizeof ClientSlot::program;

std::array<char, kNameBytes> program_name(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/comm", pid);
  std::array<char, kNameBytes> name{"?"};
  const Fd fd(static_cast<int>(
      sys::call(SYS_openat, AT_FDCWD, sys::arg(path.c_str()), O_RDONLY | O_CLOEXEC)));
  const long got = fd ? sys::read(fd.get(), name.data(), name.size() - 1) : 0;
  if (got > 0) name[static_cast<size_t>(got) - 1] = '\0';  // over the newline
  return name;
}

// As memory: no destructor, no page that was not used is touched.
void clear(ClientSlot& slot) {
  const uint32_t used = std::min(slot.records_used.load(), kMaxRecords);
  std::memset(static_cast<void*>(slot.records), 0, used * sizeof slot.records[0]);
  std::memset(static_cast<void*>(&slot.counters), 0, sizeof slot.counters);
  slot.records_used = 0;
  slot.away = 0;
}

}  // namespace

Clients::Clients(const Nic& nic, Control& control, Steering& steering, QueueXsks& queues)
    : queue_count_(nic.rx_queues),
      tx_queue_count_(nic.sending_queues()),
      control_(control),
      steering_(steering),
      queues_(queues),
      resets_(nic, steering),
      returning_(queue_count_),
      is_returning_(size_t{queue_count_} * kRxFramesPerQueue) {}

void Clients::fill_rings() {
  for (uint32_t chunk = 0; chunk < is_returning_.size(); ++chunk) want_back(chunk);
  retry_returning();
}

std::optional<uint32_t> Clients::free_slot() const {
  for (uint32_t i = 0; i < kMaxSlots; ++i) {
    const uint32_t slot = (next_slot_ + i) % kMaxSlots;
    if (rings_[slot] == nullptr) return slot;
  }
  return std::nullopt;
}

Result<Clients::Given> Clients::take_slot(pid_t pid) {
  const auto slot = free_slot();
  if (!slot) return Error{EUSERS};
  Given given{*slot, {}};
  auto rings = std::make_unique<Rings>();
  if (auto opened = open_sockets(*slot, given, *rings); !opened) {
    steering_.forget_slot(*slot);
    return Error{opened.error()};
  }
  rings_[*slot] = std::move(rings);
  next_slot_ = (*slot + 1) % kMaxSlots;
  ++attached_count_;
  announce(*slot, pid);
  return given;
}

Result<void> Clients::open_sockets(uint32_t slot, Given& given, Rings& rings) {
  for (uint32_t queue = 0; queue < queue_count_; ++queue) {
    const bool tx = queue == slot % tx_queue_count_;
    auto fd = queues_.open_client(queue, tx);
    if (!fd) return Error{fd.error()};
    auto mapped = XskRings::map(fd->get(), {kRxRingEntries, tx ? kTxRingEntries : 0, 0, 0});
    if (!mapped) return Error{mapped.error()};
    if (auto put = steering_.put_socket(slot, queue, fd->get()); !put) return put;
    rings.by_queue.push_back(std::move(*mapped));
    given.xsks.push_back(std::move(*fd));
  }
  return {};
}

void Clients::announce(uint32_t slot, pid_t pid) {
  ClientSlot& memory = control_.client[slot];
  const auto name = program_name(pid);
  std::copy(name.begin(), name.end(), memory.program);
  memory.pid.store(static_cast<uint32_t>(pid), std::memory_order_release);
  log_write(LogLevel::info, "slot %u: %s (pid %d)", slot, name.data(), pid);
}

void Clients::retire(uint32_t slot) {
  const std::unique_ptr<Rings> rings = std::move(rings_[slot]);
  if (rings == nullptr) return;
  --attached_count_;
  ClientSlot& memory = control_.client[slot];
  // The ports first: what a peer answers to its reset is the kernel's.
  steering_.forget_slot(slot);
  const size_t resets = resets_.send_for(memory);
  take_back_rx(slot, *rings);
  take_back_tx(slot, *rings);
  memory.pid.store(0, std::memory_order_release);
  clear(memory);
  retry_returning();
  log_write(LogLevel::info, "slot %u: gone, %zu connection%s reset", slot, resets,
            resets == 1 ? "" : "s");
}

// Its chunks are those in its rings that it has not read, and those marked as its own; one that it
// was just about to read is both.
void Clients::take_back_rx(uint32_t slot, const Rings& rings) {
  std::vector<bool> taken(is_returning_.size());
  for (const XskRings& one : rings.by_queue) {
    const uint32_t consumer = one.rx.own_consumer();
    const uint32_t unread = std::min(one.rx.load_producer() - consumer, one.rx.capacity());
    for (uint32_t i = 0; i < unread; ++i) {
      const uint32_t chunk = chunk_of(one.rx[consumer + i].addr);
      if (chunk < taken.size()) taken[chunk] = true;
    }
  }
  // A fill that it had begun has to be over before the owners are read.
  for (uint32_t queue = 0; queue < queue_count_; ++queue) give_back(queue);
  for (uint32_t chunk = 0; chunk < taken.size(); ++chunk) {
    const bool owned = control_.rx_owner[chunk].load(kRelaxed) == slot + 1;
    if (!owned && !taken[chunk]) continue;
    control_.rx_owner[chunk].store(0, kRelaxed);
    want_back(chunk);
  }
}

// What the kernel has taken from the tx ring it completes; the rest it will never send.
void Clients::take_back_tx(uint32_t slot, const Rings& rings) {
  const uint32_t queue = slot % tx_queue_count_;
  const Ring<xdp_desc>& tx = rings.by_queue[queue].tx;
  const uint32_t first = first_tx_index(slot);
  const uint32_t base = tx_chunk(queue_count_, first);
  std::vector<bool> sent(kTxFramesPerSlot);
  const uint32_t consumed = tx.load_consumer();
  for (uint32_t i = 0; i < std::min(consumed, tx.capacity()); ++i) {
    const uint32_t index = chunk_of(tx[consumed - 1 - i].addr) - base;
    if (index < kTxFramesPerSlot) sent[index] = true;
  }
  const uint32_t waiting = std::min(tx.load_producer() - consumed, tx.capacity());
  for (uint32_t i = 0; i < waiting; ++i) {
    const uint32_t index = chunk_of(tx[consumed + i].addr) - base;
    if (index < kTxFramesPerSlot) sent[index] = false;
  }
  for (uint32_t i = 0; i < kTxFramesPerSlot; ++i) {
    if (!sent[i]) control_.tx_in_flight[first + i].store(0, std::memory_order_release);
  }
  WordTryLock lock(lock_owner_, control_.locks[queue].completion);
  if (lock.held()) take_completions(control_, queue_count_, queues_.rings(queue).completion);
}

bool Clients::has_returning() const {
  return std::any_of(returning_.begin(), returning_.end(),
                     [](const auto& chunks) { return !chunks.empty(); });
}

void Clients::retry_returning() {
  for (uint32_t queue = 0; queue < queue_count_; ++queue) give_back(queue);
}

void Clients::want_back(uint32_t chunk) {
  if (is_returning_[chunk]) return;
  is_returning_[chunk] = true;
  returning_[queue_of_rx_chunk(chunk)].push_back(chunk_address(chunk));
}

void Clients::give_back(uint32_t queue) {
  WordTryLock lock(lock_owner_, control_.locks[queue].fill);
  if (!lock.held()) return;
  Ring<uint64_t>& fill = queues_.rings(queue).fill;
  if (lock.recovered()) finish_filling(control_, queue, fill);
  std::vector<uint64_t>& chunks = returning_[queue];
  const uint32_t given = give_to_kernel(control_, queue, fill, chunks);
  for (uint32_t i = 0; i < given; ++i) is_returning_[chunk_of(chunks[i])] = false;
  chunks.erase(chunks.begin(), chunks.begin() + given);
  if (given != 0) queues_.wake(queue);
}

}  // namespace underpass
