// port_claims.h - which local ports this stack uses, and so has taken from the kernel
//
// A port is claimed on an address of the interface, or on all of them, with its first user there
// and released with its last. Guarded by the stack mutex.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "xdp/port_table.h"

namespace underpass {

class PortClaims {
 public:
  explicit PortClaims(PortTable& table) : table_(table) {}

  // EADDRINUSE: another process's stack has it.
  Result<void> hold(uint8_t protocol, const SocketAddress& local);
  void drop(uint8_t protocol, const SocketAddress& local);
  // A user of `from` becomes one of `to`. EADDRINUSE: as for hold(), and nothing has changed.
  Result<void> move(uint8_t protocol, const SocketAddress& from, const SocketAddress& to);
  // The claim goes, its users stay: their frames are steered by their flows. The next user claims
  // anew.
  void release(uint8_t protocol, const SocketAddress& local);
  bool is_claimed(uint8_t protocol, const SocketAddress& local) const;
  // We have the port, but not on this address: it is another program's there.
  bool only_elsewhere(uint8_t protocol, const SocketAddress& local) const;

 private:
  // Where the claim is. The port's entry in the table has room for one; others are flows from
  // anybody to one local address, or covered by our own claim of all addresses.
  enum class Place : uint8_t { kNowhere, kEntry, kCovered, kFlow };
  struct Use {
    IpAddress ip;
    uint32_t users;
    Place place;
  };

  static uint32_t key_of(uint8_t protocol, uint16_t port) {
    return static_cast<uint32_t>(protocol) << 16U | port;
  }
  const Use* find(uint8_t protocol, const SocketAddress& local) const;
  Use* find(uint8_t protocol, const SocketAddress& local);
  Result<Place> claim(uint8_t protocol, const SocketAddress& local);
  Use* in_entry(uint8_t protocol, uint16_t port);
  void release(uint8_t protocol, uint16_t port, Use& use);

  PortTable& table_;
  std::unordered_map<uint32_t, std::vector<Use>> uses_;
};

}  // namespace underpass
