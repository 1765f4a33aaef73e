// broker_abi.h - what is said between the broker and its clients, over a Unix socket
//
// SOCK_SEQPACKET, one struct a message, descriptors with SCM_RIGHTS. The broker speaks first:
// kHello lets the client in, or says why not. The connection is the client's lease; its end is the
// client's death. After kAttached the broker sends kChanged whenever the memory that it writes
// tells something new, kUnreachable for what that memory has no place for, kHandedOver, and, at its
// own end, kEnding.
#pragma once

#include <net/if.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/limits.h"
#include "xdp/connection_state.h"
#include "xdp/steer_abi.h"

namespace underpass {

constexpr uint32_t kBrokerProtocol = 7;

enum class RequestKind : uint32_t {
  kAttach = 1,     // a slot and everything for it: kAttached
  kResolve,        // ask the kernel for the neighbour `ip`; no reply
  kObserve,        // the control memory, to read: kObserved. The connection is no lease any more.
  kSteerCounters,  // kCounted. Nor then.
  // The connection becomes that of the kernel socket which comes with it, and behind it, where it
  // has any, its bytes in a file: kMoved.
  kMoveOut,
  // The connection, which is the kernel's socket that comes with it, waits to be accepted at
  // `listener`: for another member of that port. No reply.
  kHandOver,
  // Such connections for which there was nobody: `listener` is there now. No reply.
  kCollect,
  // The other way: the kernel socket that comes with it has a connection, and is an unconnected one
  // when kMovedIn says that the program has it.
  kMoveIn,
  // Of a tool: programs are to leave bypass, or to come back: kRelocated, when they have. No lease.
  kRelocate,
  kRelocated,  // of a program that was asked to; no reply
  kKeepFlows,  // what the kernel has on ports that were just claimed stays its own: kKept
};

// Of kRelocate: pid 0 is all programs.
struct RelocationRequest {
  int32_t pid;
  uint32_t away;
};
struct RelocationResult {
  uint32_t programs;
  uint32_t moved;  // connections
  uint32_t left;   // that could not be moved
};

struct BrokerRequest {
  RequestKind kind;
  union {
    uint8_t ip[16];              // of kResolve
    ConnectionState connection;  // of kMoveOut
    SocketAddress listener;      // of kHandOver and kCollect: what is claimed in the port table
    RelocationRequest relocation;
    RelocationResult relocated;
  };
};

// The descriptors of kMoveOut and kMoveIn; the second of kMoveIn is a memfd that gets the bytes.
enum MovedFd : uint32_t { kMovedSocketFd, kMovedBytesFd };

enum class ReplyKind : uint32_t {
  kHello = 1,
  kAttached,
  kObserved,
  kCounted,
  kChanged,
  kUnreachable,  // an ICMP error about a segment that the client has sent
  kMoved,
  kHandedOver,  // a connection for `listener`, with its socket
  kMovedIn,
  kRelocate,  // the program is to leave bypass, or to come back: it answers with kRelocated
  kRelocated,
  kKept,
  // The broker ends, and waits until the client has given its connections to the kernel and has let
  // go of everything: the end of the lease says so.
  kEnding,
};

// Of kUnreachable; `error` is what it means.
struct UnreachableNote {
  up_flow_key flow;
  uint32_t sequence;
  uint32_t mtu_bytes;  // of EMSGSIZE
};

struct BrokerReply {
  ReplyKind kind;
  uint32_t protocol;  // kBrokerProtocol; other fields mean nothing if it is another
  uint32_t error;     // errno, or 0
  uint32_t slot;
  union {
    uint64_t counters[UP_STEER_COUNTER_COUNT];
    UnreachableNote unreachable;
    SocketAddress listener;
    ConnectionState connection;  // of kMovedIn
    RelocationRequest relocation;
    RelocationResult relocated;
  };
};

// The descriptors of kAttached, in this order; kObserved has the control memory alone.
enum AttachedFd : uint32_t {
  kControlFd,
  kUmemFd,
  kPortsFd,
  kFlowsFd,
  // Keeps the XDP program attached. Through libxdp's dispatcher there is no link to share, and a
  // second descriptor of the port table takes its place.
  kLinkFd,
  kFirstXskFd,  // one for every rx queue
};
constexpr size_t kMaxMessageFds = kFirstXskFd + kMaxQueues;

// The broker's name in the abstract namespace, which is the network namespace's own. Returns the
// address's length; 0 if `ifname` cannot be an interface.
inline socklen_t broker_address(std::string_view ifname, sockaddr_un& out) {
  constexpr std::string_view kPrefix{"\0underpass/", 11};
  if (ifname.empty() || ifname.size() >= IFNAMSIZ) return 0;
  out = {};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path, kPrefix.data(), kPrefix.size());
  std::memcpy(out.sun_path + kPrefix.size(), ifname.data(), ifname.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + kPrefix.size() + ifname.size());
}

}  // namespace underpass
