// xsk_port.h - the frame port over the AF_XDP rings of one client, all queues of the interface
#pragma once

#include <vector>

#include "base/fd.h"
#include "xdp/control_abi.h"
#include "xdp/frame_port.h"
#include "xdp/xsk.h"

namespace underpass {

// The stack mutex guards it within the process; the fill and completion rings are shared with other
// processes under Control::locks, which are only ever tried.
class XskPort : public FramePort {
 public:
  struct Queue {
    Fd fd;
    XskRings rings;
  };

  XskPort(Control& control, ClientSlot& counters, uint32_t slot, uint8_t* umem,
          std::vector<Queue> queues);
  ~XskPort() override;

  // The sockets are closed and the rings are empty, so that the kernel lets go of the queues. After
  // that only readable() and capabilities() may be called, by whichever thread.
  void let_go();

  const PortCapabilities& capabilities() const override;
  size_t receive(std::span<RxFrame> out) override;
  void release(std::span<const uint64_t> ids) override;
  uint8_t* reserve() override;
  void submit(uint32_t length_bytes) override;
  void flush() override;
  bool readable() const override;
  std::span<const int> poll_fds() const override { return fds_; }

 private:
  size_t receive_from(Queue& queue, std::span<RxFrame> out);
  void fill(uint32_t queue);
  void drain_completions();
  void kick();

  Control& control_;
  ClientCounters& counters_;
  const uint32_t slot_;
  uint8_t* const umem_;
  std::vector<Queue> queues_;
  std::vector<int> fds_;
  mutable PortCapabilities capabilities_;
  // Chunks to give back, by queue: emptied whenever the fill ring's lock is free.
  std::vector<std::vector<uint64_t>> pending_fill_;
  uint32_t next_queue_ = 0;
  const uint32_t tx_queue_;
  uint32_t tx_next_ = 0;  // of our kTxFramesPerSlot chunks
  uint32_t tx_producer_ = 0;
  uint32_t tx_unsent_ = 0;
  bool tx_stalled_ = false;  // the kernel has left some of what it was given
};

}  // namespace underpass
