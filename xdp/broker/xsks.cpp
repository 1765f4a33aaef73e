// xsks.cpp - the order of system calls that Documentation/networking/af_xdp.rst asks for
#include "xdp/broker/xsks.h"

#include <time.h>

#include <cerrno>

#include "base/limits.h"
#include "xdp/broker/refusal.h"

namespace underpass {

namespace {

constexpr int kBindTries = 150;
constexpr long kBindPauseNs = 20'000'000;
// Without a ring to receive into or to send from, bind(2) refuses.
constexpr uint32_t kUnusedRingEntries = 2;
// Of linux/if_xdp.h since 6.17: how many frames one sendto(2) takes in copy mode, 32 by default.
constexpr int kXdpMaxTxBudget = 9;
// In copy mode, frames in flight are charged to the socket's send buffer.
constexpr int kSendBufferBytes = static_cast<int>(kTxFramesPerSlot) * 4096;

Result<void> set_number(int fd, int level, int name, uint32_t value) {
  const int done = sys::setsockopt(fd, level, name, &value, sizeof value);
  if (done < 0) return Error{-done};
  return {};
}

Result<void> bind_to(int fd, const Nic& nic, uint32_t queue, uint16_t flags, int shared_fd) {
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = flags;
  address.sxdp_ifindex = nic.index;
  address.sxdp_queue_id = queue;
  if (shared_fd >= 0) address.sxdp_shared_umem_fd = static_cast<uint32_t>(shared_fd);
  const int done = sys::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (done < 0) return Error{-done};
  return {};
}

Result<void> bind_patiently(int fd, const Nic& nic, uint32_t queue, uint16_t flags, int shared_fd) {
  for (int i = 0;; ++i) {
    auto bound = bind_to(fd, nic, queue, flags, shared_fd);
    if (bound || bound.error() != EBUSY || i == kBindTries) return bound;
    const timespec rest{0, kBindPauseNs};
    ::nanosleep(&rest, nullptr);
  }
}

void must(const Result<void>& done, const char* what) {
  if (!done) throw Refusal(what, done.error());
}

bool is_zero_copy(int fd) {
  xdp_options options{};
  socklen_t length = sizeof options;
  return sys::getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &length) == 0 &&
         (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

}  // namespace

QueueXsks::QueueXsks(const Nic& nic, void* umem, size_t umem_bytes, bool may_zero_copy)
    : nic_(nic) {
  for (uint32_t queue = 0; queue < nic.rx_queues; ++queue) {
    Fd fd(sys::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!fd) throw Refusal("opening an AF_XDP socket", EAFNOSUPPORT);
    queues_.push_back({std::move(fd), {}});
  }
  xdp_umem_reg memory{};
  memory.addr = reinterpret_cast<uint64_t>(umem);
  memory.len = umem_bytes;
  memory.chunk_size = kFrameBytes;
  const int done =
      sys::setsockopt(queues_[0].fd.get(), SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory);
  if (done < 0) throw Refusal("registering the packet memory (see `ulimit -l`)", -done);
  const uint16_t copy = may_zero_copy ? 0 : XDP_COPY;
  for (uint32_t queue = 0; queue < nic.rx_queues; ++queue) {
    open_queue(queue, static_cast<uint16_t>(XDP_USE_NEED_WAKEUP | copy));
  }
  zero_copy_ = is_zero_copy(queues_[0].fd.get());
}

void QueueXsks::open_queue(uint32_t queue, uint16_t bind_flags) {
  const int fd = queues_[queue].fd.get();
  must(set_number(fd, SOL_XDP, XDP_RX_RING, kUnusedRingEntries), "making a ring");
  must(set_number(fd, SOL_XDP, XDP_UMEM_FILL_RING, kFillRingEntries), "making a fill ring");
  must(set_number(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, kCompletionRingEntries),
       "making a completion ring");
  // The other queues take mode and memory from the first.
  const bool first = queue == 0;
  const auto bound = bind_patiently(fd, nic_, queue, first ? bind_flags : uint16_t{XDP_SHARED_UMEM},
                                    first ? -1 : queues_[0].fd.get());
  if (!bound && bound.error() == EBUSY) {
    throw Refusal(fmt::format(
        "queue {} of {} is in use by another AF_XDP program, or by programs of a broker "
        "that was killed",
        queue, nic_.name));
  }
  must(bound, "binding an AF_XDP socket");
  auto rings = XskRings::map(fd, {0, 0, kFillRingEntries, kCompletionRingEntries});
  if (!rings) throw Refusal("mapping the rings", rings.error());
  queues_[queue].rings = std::move(*rings);
}

void QueueXsks::wake(uint32_t queue) {
  if (!queues_[queue].rings.fill.needs_wakeup()) return;
  sys::call(SYS_recvfrom, queues_[queue].fd.get(), 0, 0, MSG_DONTWAIT, 0, 0);
}

Result<Fd> QueueXsks::open_client(uint32_t queue, bool tx) const {
  const int opened = sys::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (opened < 0) return Error{-opened};
  Fd fd(opened);
  if (auto done = set_number(opened, SOL_XDP, XDP_RX_RING, kRxRingEntries); !done) {
    return Error{done.error()};
  }
  if (tx) {
    if (auto done = set_number(opened, SOL_XDP, XDP_TX_RING, kTxRingEntries); !done) {
      return Error{done.error()};
    }
    // Older kernels do not have the first, and both only save system calls.
    static_cast<void>(set_number(opened, SOL_XDP, kXdpMaxTxBudget, kTxRingEntries).ok());
    static_cast<void>(set_number(opened, SOL_SOCKET, SO_SNDBUFFORCE, kSendBufferBytes).ok());
  }
  const auto bound = bind_patiently(opened, nic_, queue, XDP_SHARED_UMEM, queues_[queue].fd.get());
  if (!bound) return Error{bound.error()};
  return fd;
}

}  // namespace underpass
