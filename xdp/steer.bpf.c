/* steer.bpf.c - takes the frames of bypassed sockets, passes every other one to the kernel
 *
 * Parse, look up, verdict. Nothing is changed in a frame. */
#include "xdp/steer_parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before loading. */
const volatile __u32 queues = 1;
const volatile __u32 max_frame_bytes = 1792;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, UP_PORT_ENTRIES);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct up_port_entry);
} up_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, UP_MAX_FLOWS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct up_flow_key);
  __type(value, __u32);
} up_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, UP_MAX_ADDRESSES);
  __type(key, struct up_address_key);
  __type(value, struct up_address);
} up_addresses SEC(".maps");

/* Index: slot * queues + rx queue. Sized before loading. */
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} up_xsks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, UP_STEER_COUNTER_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} up_counters SEC(".maps");

static __always_inline void count(__u32 counter, __u64 by) {
  __u64* value = bpf_map_lookup_elem(&up_counters, &counter);
  if (value) *value += by;
}

static __always_inline __u64 port_entry(__u32 index) {
  struct up_port_entry* entry = bpf_map_lookup_elem(&up_ports, &index);
  if (!entry) return 0;
  return *(volatile __u64*)&entry->value; /* once: clients store it at any time */
}

static __always_inline int parse(int family, struct cursor* cursor, struct up_flow_key* flow) {
  int next = family == UP_FAMILY_V4 ? parse_ipv4(cursor, flow) : parse_ipv6(cursor, flow);
  if (next < 0) return next;
  if (next == IPPROTO_TCP) return parse_ports(cursor, flow, 20);
  if (next == IPPROTO_UDP) return parse_ports(cursor, flow, 8);
  if (next == IPPROTO_ICMP || next == IPPROTO_ICMPV6) return UP_PASS(pass_protocol);
  if (port_entry(UP_PROTOCOL_INDEX(family, next)) == 0) return UP_PASS(pass_protocol);
  return 0;
}

static __always_inline __u32 entry_index(int family, const struct up_flow_key* flow) {
  __u16 port = bpf_ntohs(flow->local_port);
  if (flow->protocol == IPPROTO_TCP) return UP_PORT_INDEX(family, UP_PORT_TCP, port);
  if (flow->protocol == IPPROTO_UDP) return UP_PORT_INDEX(family, UP_PORT_UDP, port);
  return UP_PROTOCOL_INDEX(family, flow->protocol);
}

static __always_inline struct up_address* find_address(const __u8* ip) {
  struct up_address_key key;
  __builtin_memcpy(key.ip, ip, sizeof(key.ip));
  return bpf_map_lookup_elem(&up_addresses, &key);
}

static __always_inline int is_own(const struct up_address* any, const __u8* ip) {
  __u32 bit = UP_ADDRESS_BIT(ip);
  if (!(any->own[bit >> 6] >> (bit & 63) & 1)) return 0;
  return find_address(ip) != 0;
}

/* The slot that the flow belongs to, or -1, which UP_FLOW_OF_KERNEL is too. */
static __always_inline int find_slot(int family, struct up_flow_key* flow) {
  __u64 value = port_entry(entry_index(family, flow));
  if (value == 0) return -1;
  if (value & UP_PORT_FLOWS_MASK) {
    __u32* slot = bpf_map_lookup_elem(&up_flows, flow);
    if (slot) return (int)*slot;
    __builtin_memset(flow->remote_ip, 0, sizeof(flow->remote_ip));
    flow->remote_port = 0;
    slot = bpf_map_lookup_elem(&up_flows, flow);
    if (slot) return (int)*slot;
  }
  __u32 address = value >> UP_PORT_ADDRESS_SHIFT;
  if (address != 0 && address != up_fold_address(family, flow->local_ip)) return -1;
  return (int)(value & UP_PORT_SLOT_MASK) - 1;
}

/* Of a packet at the cursor; the frame has `bytes`. Once for each family, which is a constant in
 * it. */
static __always_inline int steer(struct xdp_md* ctx, int family, struct cursor* cursor,
                                 __u64 bytes) {
  struct up_flow_key flow = {};
  int parsed = parse(family, cursor, &flow);
  if (parsed < 0) {
    count((__u32)(-1 - parsed), 1);
    return XDP_PASS;
  }
  struct up_address* to = find_address(flow.local_ip);
  if (!to || to->where != UP_ADDRESS_HERE) {
    count(UP_STEER_pass_address, 1);
    return XDP_PASS;
  }
  __u32 protocol = flow.protocol;
  struct up_address_key source; /* find_slot() writes over the flow's */
  __builtin_memcpy(source.ip, flow.remote_ip, sizeof(source.ip));
  int slot = find_slot(family, &flow);
  if (slot < 0) {
    count(UP_STEER_pass_port, 1);
    return XDP_PASS;
  }
  if (is_nobodys(family, source.ip) || is_own(to, source.ip)) {
    count(UP_STEER_pass_martian, 1);
    return XDP_PASS;
  }
  if (bytes > max_frame_bytes) {
    count(UP_STEER_pass_long, 1);
    return XDP_PASS;
  }
  /* The rings of a dead client are gone from the map: its frames are the kernel's by themselves. */
  __u32 index = (__u32)slot * queues + ctx->rx_queue_index;
  /* A queue that was added later has no rings: its index would be another slot's. */
  if (ctx->rx_queue_index >= queues ||
      bpf_redirect_map(&up_xsks, index, XDP_PASS) != XDP_REDIRECT) {
    count(UP_STEER_pass_no_socket, 1);
    return XDP_PASS;
  }
  if (protocol == IPPROTO_TCP) {
    count(UP_STEER_tcp_frames, 1);
    count(UP_STEER_tcp_bytes, bytes);
  } else if (protocol == IPPROTO_UDP) {
    count(UP_STEER_udp_frames, 1);
    count(UP_STEER_udp_bytes, bytes);
  } else {
    count(UP_STEER_raw_frames, 1);
    count(UP_STEER_raw_bytes, bytes);
  }
  return XDP_REDIRECT;
}

SEC("xdp")
int underpass_steer(struct xdp_md* ctx) {
  struct cursor cursor = {(void*)(long)ctx->data, (void*)(long)ctx->data_end};
  __u64 bytes = cursor.end - cursor.at;
  count(UP_STEER_frames, 1);
  int next = parse_ethernet(&cursor);
  if (next == ETH_P_IP) return steer(ctx, UP_FAMILY_V4, &cursor, bytes);
  if (next == ETH_P_IPV6) return steer(ctx, UP_FAMILY_V6, &cursor, bytes);
  count(next < 0 ? (__u32)(-1 - next) : UP_STEER_pass_not_ip, 1);
  return XDP_PASS;
}
