// xsk_statistics.h - what the kernel dropped on the AF_XDP sockets of a process
#pragma once

#include <cstdint>

#include "base/result.h"

// XDP_STATISTICS, include/uapi/linux/if_xdp.h.
#define UP_XSK_STATISTICS(X)                                                     \
  X(rx_dropped, "frames dropped for other reasons")                              \
  X(rx_invalid_descs, "fill ring entries that were not valid")                   \
  X(tx_invalid_descs, "tx ring entries that were not valid")                     \
  X(rx_ring_full, "frames dropped because the client did not read")              \
  X(rx_fill_ring_empty_descs, "times the kernel found no chunk to receive into") \
  X(tx_ring_empty_descs, "times the kernel found nothing to send")

namespace underpass {

struct XskStatistics {
#define X(name, help) uint64_t name = 0;
  UP_XSK_STATISTICS(X)
#undef X
  uint32_t sockets = 0;

  XskStatistics& operator+=(const XskStatistics& other);
};

// The sum over the process's AF_XDP sockets. The broker does not keep those (a client's sockets
// must vanish with it), so they are borrowed from the process with pidfd_getfd(2). EPERM or EACCES:
// that needs the rights of a debugger. ESRCH or ENOENT: the process has ended.
Result<XskStatistics> xsk_statistics(uint32_t pid);

}  // namespace underpass
