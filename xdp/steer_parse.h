/* steer_parse.h - bounded parsers for the steering program, one per header
 *
 * Each returns what comes next, or -1 - counter where the frame is the kernel's. */
#ifndef UNDERPASS_XDP_STEER_PARSE_H
#define UNDERPASS_XDP_STEER_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
/* After linux/bpf.h. */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdp/steer_abi.h"

struct cursor {
  void* at;
  void* end;
};

#define UP_PASS(counter) (-1 - (int)UP_STEER_##counter)

static __always_inline int parse_ethernet(struct cursor* cursor) {
  struct ethhdr* header = cursor->at;
  if ((void*)(header + 1) > cursor->end) return UP_PASS(pass_short);
  cursor->at = header + 1;
  return bpf_ntohs(header->h_proto);
}

/* Returns the protocol. RFC 791; the kernel takes what has options or is a fragment. */
static __always_inline int parse_ipv4(struct cursor* cursor, struct up_flow_key* flow) {
  struct iphdr* header = cursor->at;
  if ((void*)(header + 1) > cursor->end) return UP_PASS(pass_short);
  if (header->version != 4) return UP_PASS(pass_not_ip);
  if (header->ihl != 5) return UP_PASS(pass_options);
  if (header->frag_off & bpf_htons(0x3fff)) return UP_PASS(pass_fragment);
  flow->local_ip[10] = flow->local_ip[11] = 0xff;
  flow->remote_ip[10] = flow->remote_ip[11] = 0xff;
  __builtin_memcpy(&flow->local_ip[12], &header->daddr, 4);
  __builtin_memcpy(&flow->remote_ip[12], &header->saddr, 4);
  flow->protocol = header->protocol;
  cursor->at = header + 1;
  return header->protocol;
}

/* Of the protocols, those that stand before another one (RFC 8200, 4; RFC 6275; RFC 7401; RFC
 * 5533). A jumbogram (RFC 2675) is one with a hop-by-hop header. ESP and AH are protocols here, as
 * over IPv4. */
static __always_inline int is_extension(__u8 next) {
  return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
         next == IPPROTO_MH || next == 139 || next == 140;
}

/* An IPv6 address that the tables have for an IPv4 one. None is on the wire. */
static __always_inline int is_mapped(const __u8* ip) {
  __u32 word[4];
  __builtin_memcpy(word, ip, sizeof(word));
  return (word[0] | word[1]) == 0 && word[2] == bpf_htonl(0xffff);
}

/* Returns the protocol. RFC 8200; the kernel takes what has extension headers or is a fragment. */
static __always_inline int parse_ipv6(struct cursor* cursor, struct up_flow_key* flow) {
  struct ipv6hdr* header = cursor->at;
  if ((void*)(header + 1) > cursor->end) return UP_PASS(pass_short);
  if (header->version != 6) return UP_PASS(pass_not_ip);
  if (header->nexthdr == IPPROTO_FRAGMENT) return UP_PASS(pass_fragment);
  if (is_extension(header->nexthdr)) return UP_PASS(pass_options);
  __builtin_memcpy(flow->local_ip, &header->daddr, 16);
  __builtin_memcpy(flow->remote_ip, &header->saddr, 16);
  if (is_mapped(flow->local_ip)) return UP_PASS(pass_address);
  flow->protocol = header->nexthdr;
  cursor->at = header + 1;
  return header->nexthdr;
}

/* Whether no host sends from the address: none, loopback, a group, broadcast (RFC 1122, 3.2.1.3).
 * The kernel, which gets the frame, drops it (ip_route_input_slow()), or does not if it was told so
 * (net.ipv4.conf.IFACE.route_localnet). */
static __always_inline int is_nobodys_v4(const __u8* v4) {
  return (v4[0] | v4[1] | v4[2] | v4[3]) == 0 || v4[0] == 127 || (v4[0] & 0xf0) == 0xe0 ||
         (v4[0] & v4[1] & v4[2] & v4[3]) == 0xff;
}

/* The same of IPv6 (RFC 4291, 2.5.2, 2.5.3, 2.7); and a mapped address, which ip6_rcv_core() drops
 * since it would be taken for an IPv4 host. */
static __always_inline int is_nobodys_v6(const __u8* ip) {
  __u32 word[4];
  __builtin_memcpy(word, ip, sizeof(word));
  if (ip[0] == 0xff) return 1;
  if ((word[0] | word[1]) != 0) return 0;
  return word[2] == bpf_htonl(0xffff) || (word[2] == 0 && (word[3] & bpf_htonl(~1U)) == 0);
}

static __always_inline int is_nobodys(int family, const __u8* ip) {
  return family == UP_FAMILY_V4 ? is_nobodys_v4(&ip[12]) : is_nobodys_v6(ip);
}

static __always_inline int is_group(int family, const __u8* ip) {
  return family == UP_FAMILY_V4 ? (ip[12] & 0xf0) == 0xe0 : ip[0] == 0xff;
}

/* The flags of the TCP header at `at`, which is there: does it open a connection? */
static __always_inline int opens(const void* at) {
  __u8 flags = ((const __u8*)at)[13];
  return (flags & 0x12) == 0x02; /* SYN without ACK */
}

/* TCP's and UDP's first four bytes are the ports; `header_bytes` must be there too. */
static __always_inline int parse_ports(struct cursor* cursor, struct up_flow_key* flow,
                                       __u32 header_bytes) {
  __u16* ports = cursor->at;
  if (cursor->at + header_bytes > cursor->end) return UP_PASS(pass_short);
  flow->remote_port = ports[0];
  flow->local_port = ports[1];
  return 0;
}

#endif
