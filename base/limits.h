// limits.h - the limits that several folders share, each with its reason
#pragma once

#include <cstddef>
#include <cstdint>

namespace underpass {

// Clients (processes) on one interface. Each costs kTxFramesPerSlot frames of pinned memory.
constexpr uint32_t kMaxSlots = 32;
// Rx queues served. More are found on large NICs only; `doctor` says so.
constexpr uint32_t kMaxQueues = 16;
// One UMEM chunk: an Ethernet frame of MTU 1500 and the kernel's 256 bytes of headroom fit in half
// a page.
constexpr uint32_t kFrameBytes = 2048;
constexpr uint32_t kXdpHeadroomBytes = 256;
constexpr uint32_t kMaxFrameBytes = kFrameBytes - kXdpHeadroomBytes;
// As many as a fill ring holds, so that giving a frame back never fails.
constexpr uint32_t kRxFramesPerQueue = 4096;
constexpr uint32_t kTxFramesPerSlot = 512;
constexpr uint32_t kRxRingEntries = 2048;
constexpr uint32_t kTxRingEntries = 512;
constexpr uint32_t kFillRingEntries = kRxFramesPerQueue;
// Room for every tx chunk of every client: a dead client's completions cannot stop the others.
constexpr uint32_t kCompletionRingEntries = kMaxSlots * kTxFramesPerSlot;
// Frames taken from a ring before the lock is looked at again.
constexpr size_t kBatchFrames = 64;
// Sockets of one process that `underpass ss` can list and the broker can reset. Others work,
// unlisted.
constexpr uint32_t kMaxRecords = 8192;
constexpr uint32_t kMaxNeighbours = 1024;
constexpr uint32_t kMaxLocalAddresses = 64;
// No read or write moves more (MAX_RW_COUNT in include/linux/fs.h).
constexpr size_t kMaxTransferBytes = 0x7ffff000;

}  // namespace underpass
