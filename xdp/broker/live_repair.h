// live_repair.h - TCP_REPAIR of a socket that has a connection: read, and taken away
//
// The other half of repair.h. While it lives nothing that comes for the connection reaches it, and
// it says nothing. What ends without take() is as it was, but for what has been dropped meanwhile.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "xdp/connection_state.h"

namespace underpass {

// The flow of a connected TCP socket. ENOTCONN: it is none.
Result<ConnectionState> connection_of(int socket);

class LiveRepair {
 public:
  // EBUSY: it has something that a move would lose (urgent data, an error that nobody has read, a
  // socket filter), or is in a state that stays with the kernel. EPERM: no CAP_NET_ADMIN.
  static Result<LiveRepair> begin(int socket);
  LiveRepair(LiveRepair&& other) noexcept;
  LiveRepair& operator=(LiveRepair&&) = delete;
  ~LiveRepair();

  // Fills in all of it. Nothing may come for the socket any more: what did is in the numbers.
  Result<void> read(ConnectionState& connection);
  // Writes the bytes of its queues to a file, as ConnectionState has them. EFBIG: too many.
  Result<void> read_queues(const ConnectionState& connection, int file);
  // The socket is unconnected, and bound to where the connection was; the peer is told nothing.
  Result<void> take(const ConnectionState& connection);

 private:
  explicit LiveRepair(int socket) : socket_(socket) {}

  int socket_;
  bool in_repair_ = false;
  int reuses_address_ = 0;
};

}  // namespace underpass
