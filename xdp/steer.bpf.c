/* steer.bpf.c - takes the frames of bypassed sockets, passes every other one to the kernel
 *
 * Parse, look up, verdict. Nothing is changed in a frame. */
#include "xdp/steer_parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before loading. */
const volatile __u32 queues = 1;
const volatile __u32 max_frame_bytes = 1792;
/* Peers choose ports, and must not know which of them fall to the same member. */
const volatile __u32 hash_seed = 1;

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
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, UP_MAX_CHOICES);
  __type(key, struct up_flow_key);
  __type(value, __u32);
} up_choices SEC(".maps");

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

static __always_inline struct up_port_entry* port_entry(__u32 index) {
  return bpf_map_lookup_elem(&up_ports, &index);
}

/* Once: clients store it at any time. */
static __always_inline __u64 read_once(const __u64* word) { return *(const volatile __u64*)word; }

static __always_inline int parse(int family, struct cursor* cursor, struct up_flow_key* flow) {
  int next = family == UP_FAMILY_V4 ? parse_ipv4(cursor, flow) : parse_ipv6(cursor, flow);
  if (next < 0) return next;
  if (next == IPPROTO_TCP) return parse_ports(cursor, flow, 20);
  if (next == IPPROTO_UDP) return parse_ports(cursor, flow, 8);
  if (next == IPPROTO_ICMP || next == IPPROTO_ICMPV6) return UP_PASS(pass_protocol);
  struct up_port_entry* entry = port_entry(UP_PROTOCOL_INDEX(family, next));
  return entry && read_once(&entry->value) != 0 ? 0 : UP_PASS(pass_protocol);
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

static __always_inline __u32 flow_hash(const struct up_flow_key* flow) {
  __u32 word[10];
  __u32 hash = hash_seed;
  __builtin_memcpy(word, flow, sizeof(word));
#pragma unroll
  for (int i = 0; i < 9; ++i) {
    hash = (hash ^ word[i]) * 0x9e3779b1U;
    hash ^= hash >> 15;
  }
  return hash;
}

/* One of the slots with a bit, as reuseport_select_sock() in net/core/sock_reuseport.c: -1 where
 * there is none. */
static __always_inline int pick(__u32 slots, const struct up_flow_key* flow) {
  __u32 count = __builtin_popcount(slots);
  if (count == 0) return -1;
  __u32 left = (__u32)((__u64)flow_hash(flow) * count >> 32);
  for (int i = 0; i < UP_MAX_SLOTS && left != 0; ++i, --left) slots &= slots - 1;
  return __builtin_popcount((slots & -slots) - 1);
}

/* Of a port that several slots have: one of them, or -1 where it is the kernel's. `elder` has what
 * was there before. What a SYN begins stays with whom it was given to for as long as that one takes
 * new connections; when it is open, it is in the flow map. */
static __always_inline int choose(const struct up_flow_key* flow, __u64 members, int elder,
                                  int is_tcp, int is_new) {
  if (!is_tcp) return pick((__u32)members, flow);
  __u32* chosen = bpf_map_lookup_elem(&up_choices, flow);
  if (!is_new) return chosen ? (int)*chosen : elder;
  if (chosen && *chosen < UP_MAX_SLOTS && (members & UP_MEMBER(*chosen))) return (int)*chosen;
  __u32 waiting = (__u32)(members >> UP_MAX_SLOTS) & (__u32)members;
  __u32 slot = pick(waiting ? waiting : (__u32)members, flow);
  bpf_map_update_elem(&up_choices, flow, &slot, BPF_ANY);
  return (int)slot;
}

/* Whoever has what comes from anybody to that local address and port. */
static __always_inline __u32* find_from_anybody(const struct up_flow_key* flow) {
  struct up_flow_key key = *flow;
  __builtin_memset(key.remote_ip, 0, sizeof(key.remote_ip));
  key.remote_port = 0;
  return bpf_map_lookup_elem(&up_flows, &key);
}

/* Of a datagram to a group: the slot whose socket has joined it and has the port alone, or -1. */
static __always_inline int find_member(const struct up_flow_key* flow) {
  __u32* slot = find_from_anybody(flow);
  return slot ? (int)*slot : -1;
}

/* The slot that the flow belongs to, or -1, which UP_FLOW_OF_KERNEL is too. */
static __always_inline int find_slot(int family, const struct up_flow_key* flow, int is_new,
                                     int* shared) {
  struct up_port_entry* entry = port_entry(entry_index(family, flow));
  if (!entry) return -1;
  __u64 value = read_once(&entry->value);
  if (value == 0) return -1;
  if (value & UP_PORT_FLOWS_MASK) {
    __u32* slot = bpf_map_lookup_elem(&up_flows, flow);
    if (slot) return (int)*slot;
    slot = find_from_anybody(flow);
    if (slot) return (int)*slot;
  }
  __u32 address = value >> UP_PORT_ADDRESS_SHIFT;
  if (address != 0 && address != up_fold_address(family, flow->local_ip)) return -1;
  int elder = (int)(value & UP_PORT_SLOT_MASK) - 1;
  if (!(value & UP_PORT_SHARED)) return elder;
  *shared = 1;
  return choose(flow, read_once(&entry->members), elder, flow->protocol == IPPROTO_TCP, is_new);
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
  int to_group = flow.protocol == IPPROTO_UDP && is_group(family, flow.local_ip);
  int member = to_group ? find_member(&flow) : -1;
  struct up_address* to = to_group ? 0 : find_address(flow.local_ip);
  if (to_group ? member < 0 : !to || to->where != UP_ADDRESS_HERE) {
    count(UP_STEER_pass_address, 1);
    return XDP_PASS;
  }
  /* parse_ports() has seen that the header is there; the cursor still stands before it. */
  int is_new = flow.protocol == IPPROTO_TCP && cursor->at + 20 <= cursor->end && opens(cursor->at);
  int shared = 0;
  int slot = to_group ? member : find_slot(family, &flow, is_new, &shared);
  if (slot < 0) {
    count(UP_STEER_pass_port, 1);
    return XDP_PASS;
  }
  int from_here = to ? is_own(to, flow.remote_ip) : find_address(flow.remote_ip) != 0;
  if (is_nobodys(family, flow.remote_ip) || from_here) {
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
    if (shared && is_new) { /* the kernel answers, and has what follows */
      __u32 kernel = UP_FLOW_OF_KERNEL;
      bpf_map_update_elem(&up_choices, &flow, &kernel, BPF_ANY);
    }
    count(UP_STEER_pass_no_socket, 1);
    return XDP_PASS;
  }
  if (flow.protocol == IPPROTO_TCP) {
    count(UP_STEER_tcp_frames, 1);
    count(UP_STEER_tcp_bytes, bytes);
  } else if (flow.protocol == IPPROTO_UDP) {
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
