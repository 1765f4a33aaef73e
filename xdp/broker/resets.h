// resets.h - tells the peers of a killed program that its connections are gone
#pragma once

#include "base/fd.h"
#include "xdp/control_abi.h"

namespace underpass {

// One RST (RFC 9293, 3.10.7) for every connection in a dead client's records. A peer whose window
// does not begin where the record says answers with a challenge (RFC 5961, 3.2), and the kernel,
// which has no such socket either, resets it with the peer's own number.
class Resets {
 public:
  // Throws Refusal.
  Resets();
  // Returns how many connections were reset.
  size_t send_for(const ClientSlot& slot);

 private:
  Fd raw_;  // IPPROTO_RAW: the kernel routes, resolves and sends what we write
};

}  // namespace underpass
