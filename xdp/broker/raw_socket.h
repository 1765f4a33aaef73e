// raw_socket.h - raw(7) on the interface
#pragma once

#include "base/fd.h"
#include "xdp/broker/nic.h"

namespace underpass {

// Does not block. Invalid where the kernel gives none (no right, no such family). Throws Refusal if
// it cannot be bound to the interface.
Fd open_raw_socket(int family, int protocol, const Nic& nic);

}  // namespace underpass
