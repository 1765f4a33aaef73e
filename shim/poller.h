// poller.h - poll(2) over bypassed and ordinary descriptors in one wait; select(2) is built on it
#pragma once

#include <poll.h>
#include <signal.h>

#include <span>

#include "base/result.h"
#include "stack/stack_mutex.h"
#include "stack/waiter.h"

namespace underpass {

// True when one of them is ours to poll.
bool any_ours(std::span<const pollfd> fds);

// select(2) does not end for errors and hang-ups that nobody has asked for, and a number that is no
// descriptor is EBADF to it, unless it was one at the beginning.
enum class Polling : uint8_t { kAsPoll, kForSelect };

// As ppoll(2): how many have revents. EINTR.
Result<int> poll_files(std::span<pollfd> fds, Deadline deadline, const sigset_t* mask,
                       Polling how = Polling::kAsPoll) UP_EXCLUDES(stack_mutex);

}  // namespace underpass
