// fd_sets.h - the three sets of select(2), as what poll(2) is asked and back
#pragma once

#include <poll.h>
#include <sys/select.h>

#include <vector>

namespace underpass {

// As the kernel sees them: a set may be longer than fd_set says. Any of them may be null.
struct FdSets {
  fd_set* read;
  fd_set* write;
  fd_set* except;
};

// Whether all sets are in memory that a program may have, for so many descriptors.
bool are_user_memory(const FdSets& sets, int count);
// True when one of the first `count` descriptors is in a set and ours to serve.
bool any_ours(const FdSets& sets, int count);
// With all events that select(2) looks for: an error or a hang-up are none to the third set.
std::vector<pollfd> pollfds_of(const FdSets& sets, int count);
// Writes what poll has said of these, and returns how many bits are set now.
int write_back(const std::vector<pollfd>& fds, const FdSets& sets, int count);

}  // namespace underpass
