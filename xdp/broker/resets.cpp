// resets.cpp - IP and TCP headers, written out (RFC 791, RFC 8200, RFC 9293)
#include "xdp/broker/resets.h"

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/address.h"
#include "base/checksum.h"
#include "base/log.h"
#include "xdp/broker/raw_socket.h"
#include "xdp/broker/refusal.h"

namespace underpass {

namespace {

// Of include/net/tcp_states.h: the peer waits for something that will not come. Not so in
// FIN_WAIT2: it has everything, and our FIN. What it sends is answered by the kernel, as it would
// be for a closed socket of its own.
bool has_peer(uint8_t state) {
  constexpr uint8_t kEstablished = 1, kSynReceived = 3, kFinWait1 = 4, kCloseWait = 8, kLastAck = 9,
                    kClosing = 11;
  return state == kEstablished || state == kSynReceived || state == kFinWait1 ||
         state == kCloseWait || state == kLastAck || state == kClosing;
}

IpAddress load_ip(const std::atomic<uint8_t> (&from)[16]) {
  IpAddress ip;
  std::copy(std::begin(from), std::end(from), ip.bytes.begin());
  return ip;
}

tcphdr tcp_of(const SocketRecord& record, const IpAddress& local, const IpAddress& remote) {
  tcphdr tcp{};
  tcp.source = htons(record.local_port);
  tcp.dest = htons(record.remote_port);
  tcp.seq = htonl(record.snd_nxt);
  tcp.ack_seq = htonl(record.rcv_nxt);
  tcp.doff = sizeof tcp / 4;
  tcp.rst = 1;
  tcp.ack = 1;
  const uint32_t pseudo = pseudo_header_sum(local, remote, IPPROTO_TCP, sizeof tcp);
  tcp.check = static_cast<uint16_t>(~checksum(&tcp, sizeof tcp, pseudo));
  return tcp;
}

constexpr uint8_t kHops = 64;

iphdr ipv4_of(const IpAddress& local, const IpAddress& remote) {
  iphdr ip{};
  ip.version = 4;
  ip.ihl = sizeof ip / 4;
  ip.tot_len = htons(sizeof(iphdr) + sizeof(tcphdr));
  ip.frag_off = htons(IP_DF);
  ip.ttl = kHops;
  ip.protocol = IPPROTO_TCP;
  ip.saddr = local.v4();
  ip.daddr = remote.v4();  // the kernel writes the header's checksum, raw(7)
  return ip;
}

ip6_hdr ipv6_of(const IpAddress& local, const IpAddress& remote) {
  ip6_hdr ip{};
  ip.ip6_flow = htonl(6U << 28U);
  ip.ip6_plen = htons(sizeof(tcphdr));
  ip.ip6_nxt = IPPROTO_TCP;
  ip.ip6_hlim = kHops;
  std::copy(local.bytes.begin(), local.bytes.end(), ip.ip6_src.s6_addr);
  std::copy(remote.bytes.begin(), remote.bytes.end(), ip.ip6_dst.s6_addr);
  return ip;
}

}  // namespace

Resets::Resets(const Nic& nic, const Steering& steering)
    : ifindex_(nic.index),
      steering_(steering),
      raw_(open_raw_socket(AF_INET, IPPROTO_RAW, nic)),
      raw_v6_(open_raw_socket(AF_INET6, IPPROTO_RAW, nic)) {
  if (!raw_) throw Refusal("opening a raw socket", EPERM);
}

bool Resets::may_be_told(const IpAddress& local, const IpAddress& remote) const {
  return local.is_v4() == remote.is_v4() && !remote.is_any() && !remote.is_loopback() &&
         !remote.is_multicast() && !remote.is_broadcast() && !steering_.has_address(remote);
}

Resets::Packet Resets::packet_of(const tcphdr& tcp, const IpAddress& local,
                                 const IpAddress& remote) const {
  Packet packet{};
  const auto put = [&](const auto& header) {
    std::memcpy(packet.bytes + packet.length, &header, sizeof header);
    packet.length += sizeof header;
  };
  if (local.is_v4()) {
    put(ipv4_of(local, remote));
  } else {
    put(ipv6_of(local, remote));
  }
  put(tcp);
  // IPv6 takes no port here (rawv6_sendmsg()).
  const SocketAddress to{remote, 0, remote.is_link_local() ? ifindex_ : 0};
  packet.to_bytes = to.to_sockaddr(remote.family(), packet.to);
  return packet;
}

size_t Resets::send_all(const Fd& raw, std::vector<Packet>& packets) {
  std::vector<iovec> pieces(packets.size());
  std::vector<mmsghdr> messages(packets.size());
  for (size_t i = 0; i < packets.size(); ++i) {
    pieces[i] = {packets[i].bytes, packets[i].length};
    messages[i].msg_hdr.msg_name = &packets[i].to;
    messages[i].msg_hdr.msg_namelen = packets[i].to_bytes;
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  size_t sent = 0;
  for (size_t next = 0; next < packets.size();) {
    const long done = sys::call(SYS_sendmmsg, raw.get(), sys::arg(&messages[next]),
                                static_cast<long>(packets.size() - next), 0);
    if (done > 0) {
      sent += static_cast<size_t>(done);
      next += static_cast<size_t>(done);
      continue;
    }
    // That of the first; the others are tried all the same.
    log_write(LogLevel::warning, "no reset to %s: %s",
              SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&packets[next].to),
                                           packets[next].to_bytes)
                  ->ip.to_string()
                  .c_str(),
              strerror(static_cast<int>(-done)));
    ++next;
  }
  return sent;
}

// Many at a time: whoever has a thousand peers keeps none of them waiting for the others.
size_t Resets::send_for(const ClientSlot& slot) {
  std::vector<Packet> packets;
  std::vector<Packet> packets_v6;
  const uint32_t used = std::min(slot.records_used.load(), kMaxRecords);
  for (uint32_t i = 0; i < used; ++i) {
    const SocketRecord& record = slot.records[i];
    if (record.in_use == 0 || record.protocol != IPPROTO_TCP || !has_peer(record.state)) continue;
    const IpAddress local = load_ip(record.local_ip);
    const IpAddress remote = load_ip(record.remote_ip);
    if (!may_be_told(local, remote)) continue;
    (local.is_v4() ? packets : packets_v6)
        .push_back(packet_of(tcp_of(record, local, remote), local, remote));
  }
  return send_all(raw_, packets) + send_all(raw_v6_, packets_v6);
}

}  // namespace underpass
