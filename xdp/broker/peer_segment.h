// peer_segment.h - an empty segment as the peer of a connection would send it
//
// TCP_REPAIR knows no socket whose peer has finished, or has acknowledged a FIN. The kernel gets
// there when the segment that says so comes once more.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "xdp/connection_state.h"

namespace underpass {

struct PeerSegment {
  uint32_t sequence;
  uint32_t acknowledgement;
  bool fin;
};

// The frame, without options but a timestamp. Returns its length.
constexpr size_t kMaxPeerSegmentBytes = 14 + 40 + 20 + 12;
size_t write_peer_segment(const ConnectionState& connection, const PeerSegment& segment,
                          const MacAddress& own_mac, std::span<uint8_t, kMaxPeerSegmentBytes> out);

// Has the kernel receive it on the interface, at once. `program_fd` is the steering program, to
// which the flow is the kernel's.
Result<void> receive_in_kernel(int program_fd, uint32_t ifindex, std::span<const uint8_t> frame);

}  // namespace underpass
