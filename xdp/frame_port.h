// frame_port.h - where Ethernet frames come from and go to
//
// The stack knows nothing of a NIC but this. Implementations: XskPort (AF_XDP rings),
// the simulated wire of tests/support. Not thread-safe: the stack mutex guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"

namespace underpass {

// A received frame, lent until release(). `data` starts at the Ethernet header.
struct RxFrame {
  uint8_t* data;
  uint32_t length_bytes;
  // Names the chunk to release(); opaque.
  uint64_t id;
};

struct PortCapabilities {
  MacAddress mac{};
  uint32_t mtu_bytes = 1500;
  // The peer's kernel may leave only the pseudo-header sum in the TCP or UDP checksum (veth).
  bool rx_partial_checksum = false;
  // Received frames that the stack may hold at a time; past it, payload is copied out.
  size_t hold_limit_frames = 512;
};

class FramePort {
 public:
  virtual ~FramePort() = default;

  virtual const PortCapabilities& capabilities() const = 0;

  // Takes up to out.size() frames; returns how many. Never blocks, makes no system call.
  virtual size_t receive(std::span<RxFrame> out) = 0;
  // Gives chunks back to the fill ring. Their bytes may be overwritten at once.
  virtual void release(std::span<const uint64_t> ids) = 0;

  // A chunk to write the next frame into (at least MTU + 14 bytes), or nullptr when all are in
  // flight. Asked again without a submit() between, it returns the same chunk.
  virtual uint8_t* reserve() = 0;
  // Queues the reserved chunk's first `length_bytes` bytes; the chunk is gone for the caller.
  virtual void submit(uint32_t length_bytes) = 0;
  // Hands everything queued to the kernel: one system call, or none if nothing is queued.
  virtual void flush() = 0;

  // True when receive() would return something. Cheap: one load a queue.
  virtual bool readable() const = 0;
  // Descriptors to poll for POLLIN while asleep, or empty for a simulated wire.
  virtual std::span<const int> poll_fds() const = 0;
};

}  // namespace underpass
