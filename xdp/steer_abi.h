/* steer_abi.h - what the steering program and user space agree on: maps, keys, counters
 *
 * Plain C, compiled by clang -target bpf and by g++. */
#ifndef UNDERPASS_XDP_STEER_ABI_H
#define UNDERPASS_XDP_STEER_ABI_H

#include <linux/types.h>

/* The port table: one entry per family, protocol and local port, BPF_MAP_TYPE_ARRAY, mapped by
 * clients. A port may be one program's over IPv4 and another's over IPv6; who has it over both has
 * two entries. Behind the ports, one entry for each other IP protocol of a family, for raw sockets.
 * ICMP's and ICMPv6's are not looked at: both are the kernel's. */
#define UP_FAMILY_V4 0
#define UP_FAMILY_V6 1
#define UP_PORT_TCP 0
#define UP_PORT_UDP 1
#define UP_PORT_ENTRIES (4 * 65536 + 2 * 256)
#define UP_PROTOCOL_INDEX(family, protocol) (4U * 65536U + (__u32)(family)*256U + (__u32)(protocol))
#define UP_PORT_INDEX(family, protocol_index, port) \
  (((__u32)(family)*2U + (__u32)(protocol_index)) * 65536U + (__u32)(port))
/* Each word is written as a whole (compare and swap), and read as a whole. */
struct up_port_entry {
  __u64 value;
  /* Who takes what is new to the port. Only looked at where the value says UP_PORT_SHARED. */
  __u64 members;
};
/* Lowest 15 bits: slot + 1, or 0 for the kernel. Where the port is shared, the slot that has what
 * nobody else is known to have: connections from before. */
#define UP_PORT_SLOT_MASK ((__u64)0x7fff)
/* Several slots have had the port: the members say whose a new connection is, or a datagram. */
#define UP_PORT_SHARED ((__u64)0x8000)
/* Flows of this port are looked up in the flow map first. The next 16 bits count them. */
#define UP_PORT_FLOWS_SHIFT 16
#define UP_PORT_FLOWS_ONE ((__u64)1 << UP_PORT_FLOWS_SHIFT)
#define UP_PORT_FLOWS_MASK ((__u64)0xffff << UP_PORT_FLOWS_SHIFT)
/* Upper half: the local address that the slot has the port on, folded to 32 bits, or 0 for all of
 * the interface. */
#define UP_PORT_ADDRESS_SHIFT 32

/* Of the members, the lower half: a bit for each slot. The upper half: those of them that wait for
 * a connection at this moment, who come first. */
#define UP_MAX_SLOTS 32
#define UP_MEMBER(slot) ((__u64)1 << (slot))
#define UP_MEMBER_WAITS(slot) ((__u64)1 << ((slot) + UP_MAX_SLOTS))

/* Of an address in memory order. IPv4's own 4 bytes; of an IPv6 address all 16, since the
 * interface's link-local and its global one end alike. Never 0 but for 0.0.0.0. */
static inline __attribute__((always_inline)) __u32 up_fold_address(int family, const __u8* ip) {
  __u32 word[4];
  __u32 folded;
  __builtin_memcpy(word, ip, sizeof(word));
  if (family == UP_FAMILY_V4) return word[3];
  folded = ((word[0] * 0x9e3779b1U ^ word[1]) * 0x85ebca6bU ^ word[2]) * 0xc2b2ae35U ^ word[3];
  return folded == 0 ? 1 : folded;
}

/* Addresses are 16 bytes, IPv4 in its v4-mapped form; ports are in network byte order. A remote
 * address and port of all zeros mean "any". */
struct up_flow_key {
  __u8 local_ip[16];
  __u8 remote_ip[16];
  __u16 local_port;
  __u16 remote_port;
  __u32 protocol;
};
/* In the place of a slot: the flow is the kernel's, whoever has the port. */
#define UP_FLOW_OF_KERNEL (~(__u32)0)
/* Fewer than the bits above the slot can count, even when all are of one port. */
#define UP_MAX_FLOWS 61440
/* Connections that are being opened to shared ports, and who was chosen for them; the oldest are
 * forgotten. Once open, a connection has an entry in the flow map: its slot makes it. */
#define UP_MAX_CHOICES 16384

struct up_address_key {
  __u8 ip[16];
};
/* The host's own addresses: frames to those of the interface may be taken, and from none of them
 * does another host send. */
#define UP_ADDRESS_HERE 1U      /* on the interface */
#define UP_ADDRESS_ELSEWHERE 2U /* on another one */
#define UP_MAX_ADDRESSES 1024
struct up_address {
  __u32 where;
  __u32 unused;
  /* A bit for each of the host's addresses, the same in all entries: whose bit is not set is none.
   * Every frame's source is asked for, and seldom found: this saves the look-up. */
  __u64 own[4];
};
#define UP_ADDRESS_BIT(ip) (((ip)[15] + 37 * (ip)[14] + 101 * (ip)[13]) & 255)

/* Counters of verdicts, per CPU. X(name, help) */
#define UP_STEER_COUNTERS(X)                                           \
  X(frames, "frames seen")                                             \
  X(pass_not_ip, "passed: neither IPv4 nor IPv6")                      \
  X(pass_options, "passed: IP options or extension headers")           \
  X(pass_fragment, "passed: a fragment")                               \
  X(pass_protocol, "passed: of a protocol that is the kernel's")       \
  X(pass_short, "passed: too short for its headers")                   \
  X(pass_long, "passed: longer than a chunk")                          \
  X(pass_address, "passed: to an address that is not the interface's") \
  X(pass_martian, "passed: from an address that no other host has")    \
  X(pass_port, "passed: no bypassed socket has the port")              \
  X(pass_no_socket, "passed: its owner has gone")                      \
  X(tcp_frames, "TCP frames redirected to a stack")                    \
  X(tcp_bytes, "bytes of those")                                       \
  X(udp_frames, "UDP frames redirected to a stack")                    \
  X(udp_bytes, "bytes of those")                                       \
  X(raw_frames, "frames of other protocols redirected to a stack")     \
  X(raw_bytes, "bytes of those")

enum up_steer_counter {
#define X(name, help) UP_STEER_##name,
  UP_STEER_COUNTERS(X)
#undef X
      UP_STEER_COUNTER_COUNT
};

#endif
