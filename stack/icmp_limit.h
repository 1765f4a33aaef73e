// icmp_limit.h - how many ICMP errors go to one host
//
// As inet_peer_xrlim_allow() and the defaults of net.ipv4.icmp_ratelimit and its IPv6 sibling have
// it: six at once, then one a second. Guarded by the stack mutex.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/address.h"
#include "stack/clock.h"

namespace underpass {

class IcmpLimit {
 public:
  // Whether one more may go there now; it counts then.
  bool allows(const IpAddress& to, uint64_t now_ns) {
    Peer& peer = peers_[hash(to) % kPeers];
    // IPv6 gives a network of /64 more (icmpv6_xrlim_allow()).
    const uint64_t each_ns = to.is_v4() ? kNsPerS : kNsPerS / 4;
    peer.credit_ns = std::min(peer.credit_ns + (now_ns - peer.seen_ns), kBurst * each_ns);
    peer.seen_ns = now_ns;
    if (peer.credit_ns < each_ns) return false;
    peer.credit_ns -= each_ns;
    return true;
  }

 private:
  static constexpr uint64_t kBurst = 6;  // XRLIM_BURST_FACTOR
  // Hosts that share a place have less together: nobody can make the table grow.
  static constexpr size_t kPeers = 64;
  struct Peer {
    uint64_t credit_ns = kBurst * kNsPerS;
    uint64_t seen_ns = 0;
  };
  static size_t hash(const IpAddress& ip) {
    return std::hash<std::string_view>()(
        {reinterpret_cast<const char*>(ip.bytes.data()), sizeof ip.bytes});
  }

  std::array<Peer, kPeers> peers_;
};

}  // namespace underpass
