// xsk.h - an AF_XDP socket's rings, mapped
#pragma once

#include <linux/if_xdp.h>

#include <cstdint>

#include "base/result.h"
#include "xdp/mapping.h"
#include "xdp/ring.h"

namespace underpass {

// Which rings of a socket to map, by number of entries; 0: none.
struct RingSizes {
  uint32_t rx = 0;
  uint32_t tx = 0;
  uint32_t fill = 0;
  uint32_t completion = 0;
};

// The rings of one bound XSK. Fill and completion rings are those of its queue, whichever of the
// queue's sockets they are mapped from. Not thread-safe.
struct XskRings {
  Ring<xdp_desc> rx;
  Ring<xdp_desc> tx;
  Ring<uint64_t> fill;
  Ring<uint64_t> completion;
  Mapping maps[4];

  static Result<XskRings> map(int fd, const RingSizes& sizes);
};

}  // namespace underpass
