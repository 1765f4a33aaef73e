// passed_fds.h - descriptors that another program is about to get
#pragma once

#include <sys/socket.h>

namespace underpass {

// Connections among the descriptors that the message carries (SCM_RIGHTS) are the kernel's from now
// on: whoever gets them has nothing of our stack.
void move_out_passed(const msghdr& message);
// The same for one.
void move_out_passed(int fd);

}  // namespace underpass
