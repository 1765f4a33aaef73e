// passed_fds.cpp - what stands in the control data of a message
#include "shim/passed_fds.h"

#include <cstring>

#include "base/user_pointer.h"
#include "shim/fd_table.h"

namespace underpass {

namespace {

template <class Action>
void for_each_passed(const msghdr& message, Action action) {
  if (message.msg_controllen == 0 || !is_user_memory(message.msg_control, message.msg_controllen)) {
    return;
  }
  // The kernel looks at the lengths anew, and refuses what does not fit.
  auto* const all = const_cast<msghdr*>(&message);
  const auto* const end = static_cast<const uint8_t*>(message.msg_control) + message.msg_controllen;
  for (cmsghdr* at = CMSG_FIRSTHDR(all); at != nullptr; at = CMSG_NXTHDR(all, at)) {
    const auto left = static_cast<size_t>(end - reinterpret_cast<const uint8_t*>(at));
    if (at->cmsg_len < CMSG_LEN(0) || at->cmsg_len > left) return;
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
      action(fd);
    }
  }
}

}  // namespace

void move_out_passed(int fd) {
  HeldFile file(fd);
  if (SocketFile* const socket = file.socket()) socket->pass();
}

void move_out_passed(const msghdr& message) {
  for_each_passed(message, [](int fd) {
    if (FdTable::maybe_ours(fd)) move_out_passed(fd);
  });
}

void adopt_received(const msghdr& message) { for_each_passed(message, FdTable::adopt_listener); }

}  // namespace underpass
