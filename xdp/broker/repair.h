// repair.h - TCP_REPAIR of one kernel socket, as tcp(7) does not say and net/ipv4/tcp.c does
//
// On while it lives. What the program has set, and repair mode writes over, is put back at the end.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "xdp/connection_state.h"

namespace underpass {

class Repair {
 public:
  // EPERM: no CAP_NET_ADMIN over the socket's namespace.
  static Result<Repair> begin(int socket);
  Repair(Repair&& other) noexcept;
  Repair& operator=(Repair&&) = delete;
  // Where finish() was not called: nothing of it has happened, and the socket is unconnected.
  ~Repair();

  // The socket is connected from now on, with no segment sent; its queues are empty.
  Result<void> connect(const ConnectionState& connection);
  // From `bytes_fd`, as ConnectionState has them; not the unsent ones.
  Result<void> fill_queues(const ConnectionState& connection, int bytes_fd);
  Result<void> set_window(const ConnectionState& connection);
  // Our FIN, as one that is in flight.
  Result<void> queue_fin();
  // The kernel goes on by itself, and asks the peer for what it has (a window probe).
  Result<void> finish();

 private:
  Repair(int socket, int family) : socket_(socket), family_(family) {}

  int socket_;
  int family_;
  int reuses_address_ = 0;
  int buffer_locks_ = 0;
};

// So much is queued at most to be sent, from now on (what SO_SNDBUF counts is more than the bytes),
// and what was received has as much room as it has now.
void limit_buffers(int socket, uint32_t bytes);

// Sends `bytes` from `bytes_fd`, from `offset` on. EPIPE and the like; ENOBUFS: not all fitted.
Result<void> send_from(int socket, int bytes_fd, uint64_t offset, uint64_t bytes);

}  // namespace underpass
