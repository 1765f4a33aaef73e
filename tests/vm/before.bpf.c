/* before.bpf.c - a user's own XDP program, run before ours by libxdp's dispatcher
 *
 * Counts every frame; drops IPv4 datagrams to one UDP port, and counts those. The test reads and
 * writes the map. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
/* After linux/bpf.h. */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <xdp/xdp_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { FRAMES, DROPPED, DROP_PORT, ENTRIES };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ENTRIES);
  __type(key, __u32);
  __type(value, __u64);
} before SEC(".maps");

/* Earlier than programs that do not say (50); the next one runs if this one passes. */
struct {
  __uint(priority, 10);
  __uint(XDP_PASS, 1);
} XDP_RUN_CONFIG(count_and_drop);

static __always_inline __u64* entry(__u32 index) { return bpf_map_lookup_elem(&before, &index); }

static __always_inline void count(__u32 index) {
  __u64* counter = entry(index);
  if (counter) __sync_fetch_and_add(counter, 1);
}

SEC("xdp")
int count_and_drop(struct xdp_md* context) {
  void* at = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  struct ethhdr* ethernet = at;
  struct iphdr* ip = (void*)(ethernet + 1);
  struct udphdr* udp = (void*)(ip + 1);
  __u64* port = entry(DROP_PORT);
  count(FRAMES);
  if ((void*)(udp + 1) > end || !port) return XDP_PASS;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5) return XDP_PASS;
  if (ip->protocol != IPPROTO_UDP || bpf_ntohs(udp->dest) != *port) return XDP_PASS;
  count(DROPPED);
  return XDP_DROP;
}
