// homeless.h - connections that nobody has accepted, on their way from one process to another
//
// A process that closes a listener which others have inherited, or that does not come to accept
// while others wait, leaves them here (RequestKind::kHandOver). They are the kernel's by then.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/address.h"
#include "base/fd.h"

namespace underpass {

// Whether it is a TCP connection that such a listener may have.
bool is_connection_of(const SocketAddress& listener, int socket);

class Homeless {
 public:
  // It is reset when nobody takes it. Nobody has a share of the port yet. The oldest ends where
  // there are too many.
  void add(const SocketAddress& listener, Fd socket, uint64_t now_ms);
  // Those for that listener.
  std::vector<Fd> take(const SocketAddress& listener);
  // Ends those that have waited long enough. True: others wait still.
  bool review(uint64_t now_ms);
  bool empty() const { return waiting_.empty(); }

 private:
  struct Waiting {
    SocketAddress listener;
    Fd socket;
    uint64_t until_ms;
  };
  std::deque<Waiting> waiting_;  // the oldest first
};

}  // namespace underpass
