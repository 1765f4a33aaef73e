// port_claims.h - which local ports this stack uses, and so has taken from the kernel
//
// A port is claimed on an address of the interface, or on all of a family, with its first user
// there and released with its last. Guarded by the stack mutex.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "xdp/port_table.h"

namespace underpass {

// Where a socket is bound. `kBoth` is for one on "::" that is not V6ONLY: it has IPv4's port as
// well, as two claims that come and go together.
enum class Families : uint8_t { kOwn, kBoth };
struct Binding {
  Binding(const SocketAddress& local,
          Families taken = Families::kOwn)  // NOLINT: one family is usual
      : address(local), families(taken) {}
  // Whether what comes to `ip` may be for it, as far as the address says.
  bool covers(const IpAddress& ip) const;
  // The claim of IPv4's port, where it has both families.
  SocketAddress over_v4() const { return {IpAddress::any(AF_INET), address.port, 0}; }
  // That of the two claims which covers `ip`.
  SocketAddress claim_for(const IpAddress& ip) const {
    return families == Families::kBoth && ip.is_v4() ? over_v4() : address;
  }
  bool claims(const SocketAddress& local) const {
    return address.port == local.port && claim_for(local.ip).ip == local.ip;
  }
  bool operator==(const Binding&) const = default;

  SocketAddress address;
  Families families;
};

class PortClaims {
 public:
  explicit PortClaims(PortTable& table) : table_(&table) {}
  // Another table, where nothing is claimed yet: the users stay, as after release().
  void start_over(PortTable& table);

  // EADDRINUSE: another process's stack has it, or one of the two.
  Result<void> hold(uint8_t protocol, const Binding& local);
  void drop(uint8_t protocol, const Binding& local);
  // Holds it beside other processes, if they have it: a share of what is new there is ours.
  // EADDRINUSE: it is not to be had on that address.
  Result<void> join(uint8_t protocol, const Binding& local);
  // No share any more; it is held still. Comes before drop().
  void leave(uint8_t protocol, const Binding& local);
  // The share again, of a user that has left.
  bool rejoin(uint8_t protocol, const Binding& local);
  // One flow is ours whoever has the port.
  bool add_flow(const Flow& flow) { return !away_ && table_->add_flow(flow).ok(); }
  void drop_flow(const Flow& flow) { table_->remove_flow(flow); }
  // Whether a thread waits for a connection there.
  void wait(uint8_t protocol, const Binding& local, bool waits) {
    table_->wait(protocol, local.address, waits);
    if (local.families == Families::kBoth) table_->wait(protocol, local.over_v4(), waits);
  }
  // Whether a flow to there needs an entry of its own, as others have the port, too.
  bool needs_flows(uint8_t protocol, const SocketAddress& local) const;
  // Other processes that have a share.
  PortTable::Others others(uint8_t protocol, const Binding& local) const;
  // A user of `from` becomes one of `to`. EADDRINUSE: as for hold(), and nothing has changed.
  Result<void> move(uint8_t protocol, const Binding& from, const Binding& to);
  // The claim goes, its users stay: their frames are steered by their flows. The next user claims
  // anew.
  void release(uint8_t protocol, const Binding& local);
  // What comes from `remote` to a port that is held is for it, too, though the kernel may have had
  // the connection of that name before.
  void take_back(uint8_t protocol, const SocketAddress& local, const SocketAddress& remote) {
    table_->take_flow_back({protocol, local, remote});
  }
  // Away, nothing is claimed: who holds a port has it in the kernel alone.
  void set_away(bool away) { away_ = away; }
  // What release() has given up, for those who hold it still. EADDRINUSE: it is another process's.
  Result<void> claim_again(uint8_t protocol, const Binding& local, bool shares_port);
  bool is_claimed(uint8_t protocol, const SocketAddress& local) const;
  // Any claim of that port in that family.
  bool has_port(uint8_t protocol, const SocketAddress& local) const;
  // We have the port, but not on this address: it is another program's there.
  bool only_elsewhere(uint8_t protocol, const SocketAddress& local) const;

 private:
  // Where the claim is. The port's entry in the table has room for one, and for who shares it;
  // others are flows from anybody to one local address, or covered by our own claim of all
  // addresses.
  enum class Place : uint8_t { kNowhere, kEntry, kMember, kCovered, kFlow };
  struct Use {
    IpAddress ip;
    uint32_t users;
    Place place;
    uint32_t members = 0;  // of the users
  };

  // The entry's in the table, and the port, which a raw protocol's entry is not by.
  static uint64_t key_of(uint8_t protocol, const SocketAddress& local) {
    return uint64_t{port_index_of(protocol, local)} << 16U | local.port;
  }
  Result<void> hold_one(uint8_t protocol, const SocketAddress& local);
  Result<void> move_one(uint8_t protocol, const SocketAddress& from, const SocketAddress& to);
  void drop_one(uint8_t protocol, const SocketAddress& local);
  Result<void> join_one(uint8_t protocol, const SocketAddress& local);
  bool rejoin_one(uint8_t protocol, const SocketAddress& local);
  void leave_one(uint8_t protocol, const SocketAddress& local);
  const Use* find(uint8_t protocol, const SocketAddress& local) const;
  Use* find(uint8_t protocol, const SocketAddress& local);
  Result<Place> claim(uint8_t protocol, const SocketAddress& local);
  Use* in_entry(uint8_t protocol, const SocketAddress& local);
  void release_use(uint8_t protocol, uint16_t port, Use& use);

  PortTable* table_;
  bool away_ = false;
  std::unordered_map<uint64_t, std::vector<Use>> uses_;
};

}  // namespace underpass
