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

// The steering tables as one client sees them. Entries of other clients are never changed: all
// updates are compare-and-swap on the mapped array. Thread-safe for different ports; the stack
// mutex guards the rest.
class PortTable {
 public:
  PortTable() = default;
  PortTable(up_port_entry* entries, int flow_map_fd, uint32_t slot);

  // From now on every frame to this port of one of the interface's addresses is ours.
  // EADDRINUSE: another client has the port.
  Result<void> claim(uint8_t protocol, uint16_t port);
  // The port's frames go to the kernel again, but flows added with add_flow() stay ours.
  void release(uint8_t protocol, uint16_t port);
  // Only this flow of the port is ours (and the port itself too, if claimed): for connections that
  // outlive their listener, for a port bound on one of several addresses. E2BIG: the flow table is
  // full.
  Result<void> add_flow(const Flow& flow);
  void remove_flow(const Flow& flow);

 private:
  up_port_entry* entries_ = nullptr;
  int flow_map_fd_ = -1;
  uint32_t slot_ = 0;
};

}  // namespace underpass
