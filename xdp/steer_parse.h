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
  if (header->version != 4) return UP_PASS(pass_not_ipv4);
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

/* Whether no host sends from the address: none, loopback, a group, broadcast (RFC 1122, 3.2.1.3).
 * The kernel, which gets the frame, drops it (ip_route_input_slow()), or does not if it was told so
 * (net.ipv4.conf.IFACE.route_localnet). */
static __always_inline int is_nobodys(const __u8* v4) {
  return (v4[0] | v4[1] | v4[2] | v4[3]) == 0 || v4[0] == 127 || (v4[0] & 0xf0) == 0xe0 ||
         (v4[0] & v4[1] & v4[2] & v4[3]) == 0xff;
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
