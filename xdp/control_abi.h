// control_abi.h - the memory that the broker, its clients and the tools share
//
// One memfd per broker, mapped by all. The broker writes the header, the addresses and the
// neighbours; a client writes its own slot and the owners of the frames that it holds. Readers need
// no lock: every field is an atomic, and tables are read under their sequence numbers.
// The mutexes are robust and process-shared (pthread_mutexattr_setrobust(3)).
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstring>

#include "base/address.h"
#include "base/limits.h"

namespace underpass {

constexpr uint64_t kControlMagic = 0x7373617072646e75;  // "undrpass"
constexpr uint32_t kControlVersion = 4;

enum class NeighbourState : uint32_t {
  kEmpty = 0,   // never asked for, or deleted by the kernel
  kIncomplete,  // the kernel is asking
  kReachable,   // `mac` is good
  kFailed,      // the kernel gave up: EHOSTUNREACH
};

// Guarded by `sequence` (a seqlock: odd while being written). Open addressing, hashed by address
// (neighbour_table.h).
struct Neighbour {
  std::atomic<uint32_t> sequence;
  std::atomic<NeighbourState> state;
  uint8_t ip[16];
  uint8_t mac[6];
  uint8_t pad[2];
  // Times that the kernel gave up asking for it; wraps. Who waits compares.
  std::atomic<uint32_t> failures;
  // CLOCK_MONOTONIC seconds of the last use, written by clients; the broker refreshes what is in
  // use.
  std::atomic<uint32_t> used_s;
};

// TCP states as in include/net/tcp_states.h and `ss`; UDP sockets show 7 (CLOSE, "UNCONN") or 1.
struct SocketRecord {
  std::atomic<uint32_t> in_use;    // 0: free. Written last when claimed, first when freed.
  std::atomic<uint32_t> inode_fd;  // the program's fd number
  std::atomic<uint8_t> protocol;   // IPPROTO_TCP, IPPROTO_UDP or a raw socket's
  std::atomic<uint8_t> state;
  std::atomic<uint16_t> local_port;   // host order
  std::atomic<uint16_t> remote_port;  // host order
  std::atomic<uint16_t> pad;
  std::atomic<uint8_t> local_ip[16];
  std::atomic<uint8_t> remote_ip[16];
  std::atomic<uint32_t> rx_queue_bytes;  // unread; for a listener: connections to accept
  std::atomic<uint32_t> tx_queue_bytes;  // unsent and unacknowledged; for a listener: the backlog
  std::atomic<uint32_t> snd_nxt;
  std::atomic<uint32_t> rcv_nxt;
  std::atomic<uint32_t> rtt_us;
};

// Counters of one client, written by it alone. The X-macro makes the struct, the names and the
// printed table.
#define UP_CLIENT_COUNTERS(X)                                         \
  X(rx_frames, "frames received through AF_XDP")                      \
  X(rx_bytes, "bytes of those frames")                                \
  X(tx_frames, "frames sent through AF_XDP")                          \
  X(tx_bytes, "bytes of those frames")                                \
  X(tx_syscalls, "system calls made to send them")                    \
  X(rx_copied_frames, "frames copied out because too many were held") \
  X(rx_bad_checksum, "frames dropped for a wrong checksum")           \
  X(rx_malformed, "frames dropped as malformed")                      \
  X(rx_no_socket, "segments and datagrams that no socket wanted")     \
  X(tx_no_frame, "frames not sent because all chunks were in flight") \
  X(tx_no_neighbour, "frames that waited for a neighbour")            \
  X(tcp_connects, "TCP connections opened on the stack")              \
  X(tcp_accepts, "TCP connections accepted on the stack")             \
  X(tcp_moved_out, "TCP connections given to the kernel")             \
  X(tcp_moved_in, "TCP connections taken from the kernel")            \
  X(kernel_accepts, "TCP connections accepted from the kernel side")  \
  X(kernel_placements, "sockets left to the kernel")                  \
  X(udp_kernel_sends, "datagrams sent through the kernel side")       \
  X(udp_kernel_receives, "datagrams received from the kernel side")   \
  X(tcp_retransmits, "TCP segments sent again")                       \
  X(listen_drops, "SYNs dropped because a backlog was full")          \
  X(udp_drops, "datagrams dropped because a receive buffer was full") \
  X(sleeps, "times a thread went to sleep in the kernel")             \
  X(spins, "times a thread spun and found what it waited for")        \
  X(helper_drives, "times the helper thread drove the stack")

struct ClientCounters {
#define X(name, help) std::atomic<uint64_t> name;
  UP_CLIENT_COUNTERS(X)
#undef X
};

struct ClientSlot {
  std::atomic<uint32_t> pid;           // 0: free
  std::atomic<uint32_t> records_used;  // highest record index ever used + 1
  std::atomic<uint32_t> away;          // 1: it has left bypass for now (`underpass detach`)
  char program[32];  // comm of the process, NUL-terminated; written once by the broker
  ClientCounters counters;
  SocketRecord records[kMaxRecords];
};

struct LocalAddress {
  uint8_t ip[16];
  uint32_t prefix_bits;  // of the 16 bytes: an IPv4 /24 is 120
  uint32_t pad;
};

struct QueueLocks {
  // Producer side of the fill ring, and consumer side of the completion ring, of one rx queue.
  pthread_mutex_t fill;
  pthread_mutex_t completion;
  // What the holder of `fill` is about to publish: `filling_count` entries from index
  // `filling_from`. Whoever finds the holder dead does the rest (shared_rings.h). 0: nothing.
  std::atomic<uint32_t> filling_from;
  std::atomic<uint32_t> filling_count;
};

constexpr uint32_t kRxFrames =
    kMaxQueues * kRxFramesPerQueue;  // upper bounds; see `queues`, `slots`
constexpr uint32_t kTxFrames = kMaxSlots * kTxFramesPerSlot;

// A MAC address in one word, so that nobody sees half of a change.
inline uint64_t mac_word(const MacAddress& mac) {
  uint64_t word = 0;
  std::memcpy(&word, mac.data(), mac.size());
  return word;
}
inline MacAddress mac_of(uint64_t word) {
  MacAddress mac;
  std::memcpy(mac.data(), &word, mac.size());
  return mac;
}

// UMEM layout: first `queues` runs of kRxFramesPerQueue rx chunks (chunk i belongs to queue
// i / kRxFramesPerQueue), then `slots` runs of kTxFramesPerSlot tx chunks. Chunk i is at i *
// kFrameBytes.
struct Control {
  uint64_t magic;
  uint32_t version;
  uint32_t ifindex;
  char ifname[16];
  std::atomic<uint64_t> mac;  // the interface's; see mac_word()
  std::atomic<uint32_t> mtu_bytes;
  uint32_t queues;     // rx queues
  uint32_t tx_queues;  // of those, the first ones that can send; slot s sends on s % tx_queues
  uint32_t slots;
  uint32_t driver_mode;          // 1: native XDP, 0: generic
  uint32_t zero_copy;            // 1: XDP_ZEROCOPY, 0: copy
  uint32_t rx_partial_checksum;  // 1: veth and the like
  uint32_t dispatcher;           // 1: beside other programs through libxdp, 0: alone
  std::atomic<uint32_t> broker_pid;
  // Changes with every route, rule, address or link change: cached route decisions are void.
  std::atomic<uint64_t> route_generation;
  // Changes with every neighbour change: those who wait for one look again.
  std::atomic<uint64_t> neighbour_generation;
  // The interface's own addresses; a seqlock.
  std::atomic<uint32_t> addresses_sequence;
  std::atomic<uint32_t> address_count;
  LocalAddress addresses[kMaxLocalAddresses];
  Neighbour neighbours[kMaxNeighbours];
  QueueLocks locks[kMaxQueues];
  // Who holds an rx chunk: 0 the kernel (fill ring, or on its way), else slot + 1. Written by the
  // client before it consumes the ring entry and by whoever gives the chunk back.
  std::atomic<uint8_t> rx_owner[kRxFrames];
  // 1 while the kernel sends the chunk. The owner sets it, whoever drains the completion ring
  // clears it.
  std::atomic<uint8_t> tx_in_flight[kTxFrames];
  ClientSlot client[kMaxSlots];
};

}  // namespace underpass
