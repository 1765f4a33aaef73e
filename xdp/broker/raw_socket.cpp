// raw_socket.cpp - a raw socket that knows one interface
#include "xdp/broker/raw_socket.h"

#include <sys/socket.h>

#include "base/sys.h"
#include "xdp/broker/refusal.h"

namespace underpass {

Fd open_raw_socket(int family, int protocol, const Nic& nic) {
  Fd raw(sys::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!raw) return raw;
  const int bound = sys::setsockopt(raw.get(), SOL_SOCKET, SO_BINDTODEVICE, nic.name.data(),
                                    static_cast<socklen_t>(nic.name.size()));
  if (bound < 0) throw Refusal("binding a raw socket to the interface", -bound);
  return raw;
}

}  // namespace underpass
