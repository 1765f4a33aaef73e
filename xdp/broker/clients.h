// clients.h - the slots: what a client is given, and what is taken back when it has gone
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "xdp/broker/resets.h"
#include "xdp/broker/steering.h"
#include "xdp/broker/word_lock.h"
#include "xdp/broker/xsks.h"
#include "xdp/control_abi.h"

namespace underpass {

// Every program that has a slot can write the control memory and the rings. What is read from there
// names chunks and peers, no more: it is bounded by what the broker itself has given out.
class Clients {
 public:
  // Throws Refusal.
  Clients(const Nic& nic, Control& control, Steering& steering, QueueXsks& queues);

  // Puts every rx chunk on its queue's fill ring; once, before the first client.
  void fill_rings();

  // A slot with its sockets in the XSKMAP. EUSERS: none is free.
  struct Given {
    uint32_t slot;
    std::vector<Fd> xsks;  // by queue, to be sent and closed
  };
  Result<Given> take_slot(pid_t pid);

  // The client has gone: nothing is steered to it any more, its chunks are the kernel's, its peers
  // hear of it, and the slot is free.
  void retire(uint32_t slot);

  // Chunks that could not be given back because a client was stopped while it held a fill ring.
  bool has_returning() const;
  void retry_returning();

  uint32_t attached_count() const { return attached_count_; }

 private:
  // The broker maps what a client receives and sends, to find in it after its death the chunks that
  // nobody else knows of. The mappings keep the sockets alive: retire() drops them first thing
  // after.
  struct Rings {
    std::vector<XskRings> by_queue;
  };
  Result<void> open_sockets(uint32_t slot, Given& given, Rings& rings);
  std::optional<uint32_t> free_slot() const;
  void announce(uint32_t slot, pid_t pid);
  void take_back_rx(uint32_t slot, const Rings& rings);
  void take_back_tx(uint32_t slot, const Rings& rings);
  void want_back(uint32_t chunk);
  void give_back(uint32_t queue);

  const uint32_t queue_count_;
  const uint32_t tx_queue_count_;
  Control& control_;
  Steering& steering_;
  QueueXsks& queues_;
  Resets resets_;
  std::array<std::unique_ptr<Rings>, kMaxSlots> rings_;
  LockOwner lock_owner_;
  // Chunks to be given back, by queue, and which those are: none is there twice.
  std::vector<std::vector<uint64_t>> returning_;
  std::vector<bool> is_returning_;
  // Slots are handed out in turn: the longer one rests, the surer its last frames have left.
  uint32_t next_slot_ = 0;
  uint32_t attached_count_ = 0;
};

}  // namespace underpass
