// shared_rings.h - the two rings of a queue that all its clients share: fill and completion
//
// The caller holds the queue's lock of Control::locks. Any process may be killed at any instruction
// in here: chunks must neither get lost nor be in two hands then. What is read from the rings and
// from Control may be forged (the broker does this too): it can put chunks into wrong hands, but it
// leads neither out of a table nor into a long loop.
#pragma once

#include <cstdint>
#include <span>

#include "xdp/control_abi.h"
#include "xdp/ring.h"

namespace underpass {

// Puts rx chunks of `queue`, named by their first byte's address, on the fill ring, and says that
// the kernel has them. Returns how many, from the front; fewer than all only if the ring is full.
uint32_t give_to_kernel(Control& control, uint32_t queue, Ring<uint64_t>& fill,
                        std::span<const uint64_t> addresses);

// To be called first by whoever finds that the last holder of the fill lock has died: finishes what
// it was about.
void finish_filling(Control& control, uint32_t queue, Ring<uint64_t>& fill);

// Clears tx_in_flight of every chunk that has been sent, whichever client's. `queues` are all rx
// queues: the tx chunks begin behind theirs.
void take_completions(Control& control, uint32_t queues, Ring<uint64_t>& completion);

}  // namespace underpass
