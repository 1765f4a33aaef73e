// port_table.h - which local ports XDP takes from the kernel, and for whom
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "xdp/steer_abi.h"

namespace underpass {

// One flow, or one (local address, local port) when `remote` is the wildcard with port 0.
struct Flow {
  uint8_t protocol;  // IPPROTO_TCP or IPPROTO_UDP
  SocketAddress local;
  SocketAddress remote;
};

// UP_FAMILY_V4 or UP_FAMILY_V6.
int port_family_of(const IpAddress& ip);
// The entry of the port table: of the address's family. A protocol that is neither TCP nor UDP has
// no ports, and one entry in each.
uint32_t port_index_of(uint8_t protocol, const SocketAddress& local);
// Whether an entry's claim is of this address, or of all.
bool entry_covers(uint64_t entry, const IpAddress& ip);

// Takes a slot out of an entry, whose members go on without it. The word of the claim is first.
void leave_entry(up_port_entry& entry, uint32_t slot);

// As the flow map has it.
up_flow_key flow_key_of(const Flow& flow);

// The steering tables as one client sees them. Claims of other clients are never changed: all
// updates are atomic on the mapped array. Thread-safe for different ports; the stack
// mutex guards the rest.
class PortTable {
 public:
  PortTable() = default;
  PortTable(up_port_entry* entries, int flow_map_fd, uint32_t slot);

  // From now on every frame to this port of this address is ours; of all the interface's addresses
  // of the family if it is its wildcard. The port's entry has room for one claim: EEXIST says that
  // it holds another address's, EADDRINUSE that another client has what is asked for.
  Result<void> claim(uint8_t protocol, const SocketAddress& local);
  // Our claim of `held` is one of another address from now on, or of all.
  void move(uint8_t protocol, const SocketAddress& held, const IpAddress& to);
  // The port's frames go to the kernel again, or to its other members, but flows added with
  // add_flow() stay ours.
  void release(uint8_t protocol, const SocketAddress& local);

  // Beside others who have the same: what is new to the port goes to one of its members. As claim()
  // where nobody has it. EEXIST, EADDRINUSE: another address's claim is in the way.
  enum class Share : uint8_t {
    kElder,   // what has no owner of its own is ours
    kMember,  // a connection that outlives its opening needs add_flow()
  };
  Result<Share> join(uint8_t protocol, const SocketAddress& local);
  // No more. Whoever is the elder stays that until release(), and so does the last member, whose
  // connections may still be on their way.
  void leave(uint8_t protocol, const SocketAddress& local);
  // Whether we wait for a connection right now: those who do are given the next one.
  void wait(uint8_t protocol, const SocketAddress& local, bool waits);
  // The other members of the port, of which some wait.
  struct Others {
    uint32_t members;
    uint32_t waiting;
  };
  Others others(uint8_t protocol, const SocketAddress& local) const;
  // This flow of the port is ours, whoever has the port: for connections that outlive their
  // listener, for a port that the entry holds on another address. E2BIG: the flow table is full.
  // EEXIST: it is there.
  Result<void> add_flow(const Flow& flow);
  void remove_flow(const Flow& flow);
  // A flow that the kernel has had is the port's again: its connection there is over, or whoever
  // binds the port now would have been told.
  void take_flow_back(const Flow& flow);

 private:
  up_port_entry& entry_of(uint8_t protocol, const SocketAddress& local) const {
    return entries_[port_index_of(protocol, local)];
  }
  void replace(uint8_t protocol, const SocketAddress& held, uint64_t claim);

  up_port_entry* entries_ = nullptr;
  int flow_map_fd_ = -1;
  uint32_t slot_ = 0;
};

}  // namespace underpass
