// resets.cpp - IPv4 and TCP headers, written out (RFC 791, RFC 9293)
#include "xdp/broker/resets.h"

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/address.h"
#include "base/log.h"
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

struct ResetPacket {
  iphdr ip;
  tcphdr tcp;
};

struct PseudoHeader {
  uint32_t source;
  uint32_t destination;
  uint8_t zero;
  uint8_t protocol;
  uint16_t length;
  tcphdr tcp;
};

uint16_t internet_checksum(const void* data, size_t bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; i += 2) {
    uint16_t word = 0;
    std::memcpy(&word, static_cast<const uint8_t*>(data) + i, sizeof word);
    sum += word;
  }
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

IpAddress load_ip(const std::atomic<uint8_t> (&from)[16]) {
  IpAddress ip;
  std::copy(std::begin(from), std::end(from), ip.bytes.begin());
  return ip;
}

ResetPacket packet_of(const SocketRecord& record, uint32_t local, uint32_t remote) {
  constexpr uint8_t kTtl = 64;
  constexpr uint8_t kHeaderWords = 5;
  ResetPacket packet{};
  packet.ip.version = 4;
  packet.ip.ihl = kHeaderWords;
  packet.ip.tot_len = htons(sizeof packet);
  packet.ip.frag_off = htons(IP_DF);
  packet.ip.ttl = kTtl;
  packet.ip.protocol = IPPROTO_TCP;
  packet.ip.saddr = local;
  packet.ip.daddr = remote;  // the kernel writes the header's checksum, raw(7)
  packet.tcp.source = htons(record.local_port);
  packet.tcp.dest = htons(record.remote_port);
  packet.tcp.seq = htonl(record.snd_nxt);
  packet.tcp.ack_seq = htonl(record.rcv_nxt);
  packet.tcp.doff = kHeaderWords;
  packet.tcp.rst = 1;
  packet.tcp.ack = 1;
  const PseudoHeader summed{local, remote, 0, IPPROTO_TCP, htons(sizeof packet.tcp), packet.tcp};
  packet.tcp.check = internet_checksum(&summed, sizeof summed);
  return packet;
}

}  // namespace

Resets::Resets(const Nic& nic, const Steering& steering)
    : steering_(steering),
      raw_(sys::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW)) {
  if (!raw_) throw Refusal("opening a raw socket", EPERM);
  const int bound = sys::setsockopt(raw_.get(), SOL_SOCKET, SO_BINDTODEVICE, nic.name.data(),
                                    static_cast<socklen_t>(nic.name.size()));
  if (bound < 0) throw Refusal("binding a raw socket to the interface", -bound);
}

bool Resets::may_be_told(const IpAddress& local, const IpAddress& remote) const {
  return local.is_v4() && remote.is_v4() && !remote.is_any() && !remote.is_loopback() &&
         !remote.is_multicast() && !remote.is_broadcast() && !steering_.has_address(remote);
}

size_t Resets::send_for(const ClientSlot& slot) {
  size_t sent = 0;
  const uint32_t used = std::min(slot.records_used.load(), kMaxRecords);
  for (uint32_t i = 0; i < used; ++i) {
    const SocketRecord& record = slot.records[i];
    if (record.in_use == 0 || record.protocol != IPPROTO_TCP || !has_peer(record.state)) continue;
    const IpAddress local = load_ip(record.local_ip);
    const IpAddress remote = load_ip(record.remote_ip);
    if (!may_be_told(local, remote)) continue;
    const ResetPacket packet = packet_of(record, local.v4(), remote.v4());
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = remote.v4();
    const long done = sys::sendto(raw_.get(), &packet, sizeof packet, 0,
                                  reinterpret_cast<const sockaddr*>(&to), sizeof to);
    if (done < 0) {
      log_write(LogLevel::warning, "no reset to %s: %s", remote.to_string().c_str(),
                strerror(static_cast<int>(-done)));
    } else {
      ++sent;
    }
  }
  return sent;
}

}  // namespace underpass
