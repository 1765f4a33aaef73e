// resets.h - tells the peers of a killed program that its connections are gone
#pragma once

#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <vector>

#include "base/fd.h"
#include "xdp/broker/nic.h"
#include "xdp/broker/steering.h"
#include "xdp/control_abi.h"

namespace underpass {

// One RST (RFC 9293, 3.10.7) for every connection in a dead client's records. A peer whose window
// does not begin where the record says answers with a challenge (RFC 5961, 3.2), and the kernel,
// which has no such socket either, resets it with the peer's own number.
// Clients write those records: a reset goes where they can send one themselves, out of the
// interface and to no address of this host.
class Resets {
 public:
  // Throws Refusal.
  Resets(const Nic& nic, const Steering& steering);
  // Returns how many connections were reset.
  size_t send_for(const ClientSlot& slot);

 private:
  bool may_be_told(const IpAddress& local, const IpAddress& remote) const;

  struct Packet {
    uint8_t bytes[sizeof(ip6_hdr) + sizeof(tcphdr)];
    size_t length;
    sockaddr_storage to;
    socklen_t to_bytes;
  };
  Packet packet_of(const tcphdr& tcp, const IpAddress& local, const IpAddress& remote) const;
  static size_t send_all(const Fd& raw, std::vector<Packet>& packets);

  const uint32_t ifindex_;
  const Steering& steering_;
  // IPPROTO_RAW: the kernel routes, resolves and sends what we write.
  Fd raw_;
  Fd raw_v6_;  // invalid where the kernel has no IPv6
};

}  // namespace underpass
