// peer_segment.cpp - headers, and BPF_PROG_TEST_RUN with live frames
#include "xdp/broker/peer_segment.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/checksum.h"

namespace underpass {

namespace {

constexpr uint8_t kTtl = 64;
constexpr size_t kTimestampBytes = 12;

size_t write_ip(const ConnectionState& connection, size_t tcp_bytes, uint8_t* at) {
  if (connection.local.ip.is_v4()) {
    iphdr header{};
    header.version = 4;
    header.ihl = sizeof header / 4;
    header.tot_len = htons(static_cast<uint16_t>(sizeof header + tcp_bytes));
    header.frag_off = htons(IP_DF);
    header.ttl = kTtl;
    header.protocol = IPPROTO_TCP;
    header.saddr = connection.remote.ip.v4();
    header.daddr = connection.local.ip.v4();
    std::memcpy(at, &header, sizeof header);
    header.check = static_cast<uint16_t>(~checksum(at, sizeof header));
    std::memcpy(at, &header, sizeof header);
    return sizeof header;
  }
  ip6_hdr header{};
  header.ip6_flow = htonl(6U << 28U);
  header.ip6_plen = htons(static_cast<uint16_t>(tcp_bytes));
  header.ip6_nxt = IPPROTO_TCP;
  header.ip6_hlim = kTtl;
  std::memcpy(&header.ip6_src, connection.remote.ip.bytes.data(), sizeof header.ip6_src);
  std::memcpy(&header.ip6_dst, connection.local.ip.bytes.data(), sizeof header.ip6_dst);
  std::memcpy(at, &header, sizeof header);
  return sizeof header;
}

size_t write_tcp(const ConnectionState& connection, const PeerSegment& segment, uint8_t* at) {
  const size_t bytes = sizeof(tcphdr) + (connection.timestamps != 0 ? kTimestampBytes : 0);
  tcphdr header{};
  header.source = htons(connection.remote.port);
  header.dest = htons(connection.local.port);
  header.seq = htonl(segment.sequence);
  header.ack_seq = htonl(segment.acknowledgement);
  header.doff = static_cast<uint16_t>(bytes / 4) & 0xfU;
  header.ack = 1;
  header.fin = segment.fin ? 1 : 0;
  const uint32_t window =
      connection.send_window >> (connection.window_scaling != 0 ? connection.send_scale : 0U);
  header.window = htons(static_cast<uint16_t>(std::min(window, 0xffffU)));
  std::memcpy(at, &header, sizeof header);
  if (connection.timestamps != 0) {
    constexpr uint8_t kKind[] = {TCPOPT_NOP, TCPOPT_NOP, TCPOPT_TIMESTAMP, TCPOLEN_TIMESTAMP};
    const uint32_t values[] = {htonl(connection.peer_timestamp), htonl(connection.timestamp)};
    std::memcpy(at + sizeof header, kKind, sizeof kKind);
    std::memcpy(at + sizeof header + sizeof kKind, values, sizeof values);
  }
  const uint32_t pseudo = pseudo_header_sum(connection.remote.ip, connection.local.ip, IPPROTO_TCP,
                                            static_cast<uint32_t>(bytes));
  header.check = static_cast<uint16_t>(~checksum(at, bytes, pseudo));
  std::memcpy(at, &header, sizeof header);
  return bytes;
}

}  // namespace

size_t write_peer_segment(const ConnectionState& connection, const PeerSegment& segment,
                          const MacAddress& own_mac, std::span<uint8_t, kMaxPeerSegmentBytes> out) {
  ethhdr ethernet{};
  std::copy(own_mac.begin(), own_mac.end(), ethernet.h_dest);
  ethernet.h_proto = htons(connection.local.ip.is_v4() ? ETH_P_IP : ETH_P_IPV6);
  std::memcpy(out.data(), &ethernet, sizeof ethernet);
  const size_t ip_bytes = connection.local.ip.is_v4() ? sizeof(iphdr) : sizeof(ip6_hdr);
  const size_t tcp_bytes = write_tcp(connection, segment, out.data() + sizeof ethernet + ip_bytes);
  write_ip(connection, tcp_bytes, out.data() + sizeof ethernet);
  return sizeof ethernet + ip_bytes + tcp_bytes;
}

Result<void> receive_in_kernel(int program_fd, uint32_t ifindex, std::span<const uint8_t> frame) {
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(frame.size());
  context.ingress_ifindex = ifindex;
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof context;
  options.repeat = 1;
  options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  options.batch_size = 1;
  const int failed = bpf_prog_test_run_opts(program_fd, &options);
  if (failed != 0) return Error{-failed};
  return {};
}

}  // namespace underpass
