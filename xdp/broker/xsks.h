// xsks.h - opening AF_XDP sockets: one per queue that owns its rings, one per queue and client
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "xdp/broker/nic.h"
#include "xdp/xsk.h"

namespace underpass {

// The sockets that the UMEM and each queue's fill and completion rings belong to. They receive
// nothing themselves. Clients' sockets keep the rings alive when these are gone.
class QueueXsks {
 public:
  // Registers the UMEM and binds a socket to every rx queue, zero copy where the driver has it and
  // `may_zero_copy`. Retries EBUSY for a bounded time: the kernel releases the queues of a former
  // broker asynchronously. Throws Refusal.
  QueueXsks(const Nic& nic, void* umem, size_t umem_bytes, bool may_zero_copy);

  bool zero_copy() const { return zero_copy_; }
  XskRings& rings(uint32_t queue) { return queues_[queue].rings; }
  // To be called after its fill ring got chunks: a driver with zero copy that has run dry sleeps.
  void wake(uint32_t queue);
  // A socket for a client, which can send if `tx`.
  Result<Fd> open_client(uint32_t queue, bool tx) const;

 private:
  struct Queue {
    Fd fd;
    XskRings rings;
  };
  void open_queue(uint32_t queue, uint16_t bind_flags);

  const Nic& nic_;
  std::vector<Queue> queues_;
  bool zero_copy_ = false;
};

}  // namespace underpass
