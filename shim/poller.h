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

// As ppoll(2): how many have revents. EINTR.
Result<int> poll_files(std::span<pollfd> fds, Deadline deadline, const sigset_t* mask)
    UP_EXCLUDES(stack_mutex);

}  // namespace underpass
