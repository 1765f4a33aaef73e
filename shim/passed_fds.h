// passed_fds.h - descriptors that another program is about to get, or a stream of libc
#pragma once

#include <sys/socket.h>

namespace underpass {

// Connections among the descriptors that the message carries (SCM_RIGHTS) are the kernel's from now
// on: whoever gets them has nothing of our stack.
void move_out_passed(const msghdr& message);
// The same for one.
void move_out_passed(int fd);
// Listeners among the descriptors that have come with the message are ours as well.
void adopt_received(const msghdr& message);
// `fd` is about to be `to` as well. The streams of 0, 1 and 2 (stdin and its kin) read and write
// without a name of ours: a connection that gets such a number is the kernel's from now on.
inline void move_out_for_streams(int fd, int to) {
  constexpr int kLast = 2;
  if (to >= 0 && to <= kLast && fd != to) move_out_passed(fd);
}

}  // namespace underpass
