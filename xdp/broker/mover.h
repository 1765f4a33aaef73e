// mover.h - a connection of a program's stack becomes that of its kernel socket, and back
//
// TCP_REPAIR needs CAP_NET_ADMIN and can do much more than that, so that a program never has the
// socket in repair mode for itself: it sends the numbers and the bytes, all the rest is done here.
// It still has a descriptor of the same socket, and could use it meanwhile; what came of that is
// looked at before the end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "xdp/broker/kernel_flows.h"
#include "xdp/broker/nic.h"
#include "xdp/broker/steering.h"
#include "xdp/connection_state.h"

namespace underpass {

class Mover {
 public:
  // Throws Refusal.
  Mover(const Nic& nic, Steering& steering);

  // `fds` as in MovedFd; `slot` is that of the program, which runs as `uid`. When this returns
  // without an error, the kernel has the connection, and what comes of it goes there. EINVAL:
  // socket or numbers are not what they have to be. EPERM: the flow is not that program's, or the
  // port is one that its user must not bind.
  Result<void> move_out(const ConnectionState& connection, const std::vector<Fd>& fds,
                        uint32_t slot, uid_t uid);
  // The other way: of the connection that the socket has, which is unconnected when this returns
  // without an error. What comes of it goes to the slot, and the file has the bytes of its queues.
  // An error leaves it as it was. EINVAL: it is none of the interface's. EPERM: the flow is another
  // program's. EBUSY: it must stay with the kernel now (LiveRepair).
  Result<ConnectionState> move_in(const std::vector<Fd>& fds, uint32_t slot);
  // The slot has just claimed ports: connections that the kernel has there stay its own.
  void keep_kernel_flows(uint32_t slot) { flows_.keep_from(slot); }
  // Once in a while, as long as there is something to do.
  void review() { flows_.review(); }
  bool idle() const { return flows_.empty(); }

 private:
  Result<void> check(const ConnectionState& connection, int socket, uint32_t slot, uid_t uid) const;
  bool is_ours(int socket, const ConnectionState& connection) const;
  Result<void> restore(const ConnectionState& connection, int socket, int bytes_fd);
  Result<void> say(const ConnectionState& connection, const struct PeerSegment& segment);

  const Nic& nic_;
  Steering& steering_;
  KernelFlows flows_;
  uint64_t network_ = 0;
};

}  // namespace underpass
