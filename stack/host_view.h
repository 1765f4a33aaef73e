// host_view.h - what the stack asks of the kernel's control plane: routes, neighbours, settings
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "xdp/connection_state.h"
#include "xdp/handed_over.h"
#include "xdp/neighbour_table.h"
#include "xdp/unreachable.h"

namespace underpass {

// Where the kernel would send a packet.
struct Route {
  bool through_interface = false;  // over the bypassed interface, not to ourselves, unicast
  IpAddress next_hop;
  IpAddress source;
  uint32_t mtu_bytes = 0;
  uint8_t hop_limit = 64;
};

// Implementations: KernelView (rtnetlink and the broker's mirror), the simulated network of
// tests/support.
class HostView {
 public:
  virtual ~HostView() = default;
  // `source` is the local address that the socket is bound to, or a wildcard. ENETUNREACH and the
  // like, as the kernel says them.
  virtual Result<Route> route(const IpAddress& destination, const IpAddress& source) = 0;
  // Cached routes are void when this changes.
  virtual uint64_t route_generation() const = 0;
  // What the kernel knows of a neighbour; a failed request for it counts one failure.
  virtual NeighbourView neighbour(const IpAddress& ip) = 0;
  virtual void resolve(const IpAddress& ip) = 0;
  virtual uint64_t neighbour_generation() const = 0;
  // net.ipv4.NAME of this network namespace. Nothing: this kernel has none, or there is no /proc.
  virtual std::optional<uint8_t> setting(const char* name) const = 0;
  // What was said of segments that were sent, since the last call said nothing.
  virtual std::optional<Unreachable> next_unreachable() = 0;
  // Attachment::move_out().
  virtual Result<void> move_out(const ConnectionState& connection, std::span<const uint8_t> bytes,
                                int fd) = 0;
  // As those of Attachment.
  virtual Result<void> hand_over(const SocketAddress& listener, int fd) = 0;
  virtual void collect(const SocketAddress& listener) = 0;
  virtual std::optional<HandedOver> next_handed_over() = 0;
  // Attachment::move_in().
  virtual Result<ConnectionSnapshot> move_in(int fd) = 0;
};

}  // namespace underpass
