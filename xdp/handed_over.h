// handed_over.h - a connection that another process has left to us before anybody accepted it
#pragma once

#include "base/address.h"
#include "base/fd.h"

namespace underpass {

struct HandedOver {
  SocketAddress listener;  // the claim that it came for
  Fd socket;               // the kernel's
};

}  // namespace underpass
