// socket_parts.h - what the files of SocketFile share
#pragma once

#include <sys/socket.h>

#include "base/address.h"
#include "base/result.h"
#include "base/sys.h"
#include "stack/process.h"

namespace underpass {

// Of a system call of ours (base/sys.h).
inline Result<void> from_kernel(long result) {
  if (result < 0) return Error{static_cast<int>(-result)};
  return {};
}

// -1: it has none.
inline int read_option(int fd, int level, int name) {
  int value = -1;
  socklen_t bytes = sizeof value;
  return sys::getsockopt(fd, level, name, &value, &bytes) < 0 ? -1 : value;
}

inline Stack& the_stack() UP_REQUIRES(stack_mutex) { return *Process::instance().stack(); }

// The scope of the stack's link-local addresses.
inline uint32_t interface_index() UP_REQUIRES(stack_mutex) {
  return Process::instance().attachment()->control().ifindex;
}

// Whether the stack sends there at all: to one host, not to ourselves.
bool is_carried(const IpAddress& ip);

// The form that a socket of `family` shows; its length.
socklen_t show_address(SocketAddress from, int family, sockaddr_storage& out)
    UP_REQUIRES(stack_mutex);

// net.ipv4.tcp_fastopen, which the kernel tells only by refusing the option.
bool fast_open_is_off(int fd);

// Whether an address of any length can be written there, as move_addr_to_user() in net/socket.c.
Result<void> check_room(const sockaddr* address, const socklen_t* length);
// Writes what fits of that, and the length that there was.
Result<void> write_address(const SocketAddress& from, int family, sockaddr* address,
                           socklen_t* length) UP_REQUIRES(stack_mutex);

}  // namespace underpass
