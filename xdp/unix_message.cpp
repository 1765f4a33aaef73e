// unix_message.cpp - SCM_RIGHTS, as unix(7) has it
#include "xdp/unix_message.h"

#include <cerrno>
#include <cstring>

#include "xdp/broker_abi.h"

namespace underpass {

namespace {

constexpr size_t kControlBytes = CMSG_SPACE(kMaxMessageFds * sizeof(int));

void take_fds(msghdr& message, std::vector<Fd>& fds) {
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Result<void> send_message(int socket, const void* data, size_t bytes, std::span<const int> fds) {
  alignas(cmsghdr) char control[kControlBytes] = {};
  iovec piece{const_cast<void*>(data), bytes};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (fds.size() > kMaxMessageFds) return Error{EINVAL};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  const long sent = sys::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return Error{static_cast<int>(-sent)};
  return {};
}

Result<size_t> receive_message(int socket, void* data, size_t bytes, std::vector<Fd>& fds) {
  alignas(cmsghdr) char control[kControlBytes];
  iovec piece{data, bytes};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const long got = sys::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return Error{static_cast<int>(-got)};
  take_fds(message, fds);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return Error{EPROTO};
  return static_cast<size_t>(got);
}

}  // namespace underpass
