/* drop.bpf.c - a wire that loses every fiftieth TCP frame with something in it
 *
 * At random, so that no connection is lucky for ever. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int drop_some(struct xdp_md* ctx) {
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) ||
      ip->protocol != IPPROTO_TCP) {
    return XDP_PASS;
  }
  return bpf_get_prandom_u32() % 50 == 0 ? XDP_DROP : XDP_PASS;
}
