// broker_client.h - a process's line to the broker: lease, attachment, neighbours
//
// Depends on nothing but libc. The stack mutex guards an Attachment; BrokerClient's statics are
// thread-safe.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "xdp/connection_state.h"
#include "xdp/control_abi.h"
#include "xdp/frame_port.h"
#include "xdp/handed_over.h"
#include "xdp/neighbour_table.h"
#include "xdp/port_table.h"
#include "xdp/steer_abi.h"
#include "xdp/unreachable.h"

namespace underpass {

// What came of `underpass detach` or `attach` in one program: connections.
struct RelocationCount {
  uint32_t moved = 0;
  uint32_t left = 0;  // that could not be moved
};

class RelocationListener {
 public:
  virtual ~RelocationListener() = default;
  // The broker asks the program to leave bypass, or to come back. Called with the news, under the
  // lock: the work is done later.
  virtual void relocation_asked(bool away) = 0;
  // The broker ends. `orderly`: it waits for Attachment::let_go(), and serves until then; else it
  // has gone. Called in the same way, once or, the orderly end first, twice.
  virtual void broker_ends(bool orderly) = 0;
};

// What a client holds of the broker. Destroying it unmaps and closes everything: the kernel then
// drops the XSKs from the XSKMAP and the ports fall back to the kernel.
class Attachment {
 public:
  virtual ~Attachment() = default;
  virtual FramePort& port() = 0;
  virtual PortTable& ports() = 0;
  virtual Control& control() = 0;
  virtual ClientSlot& slot() = 0;
  virtual uint32_t slot_index() const = 0;

  // Finds a neighbour. kEmpty: unknown; ask with resolve(). `mac` is good when kReachable.
  // Marks the entry as used.
  virtual NeighbourView neighbour(const IpAddress& ip) = 0;
  // Asks the kernel, through the broker, to resolve (NTF_USE). Does not block and does not fail:
  // without a broker nothing happens and the caller's own deadline ends the wait.
  virtual void resolve(const IpAddress& ip) = 0;

  // Readable when a neighbour or route changed since the last drain(), or the broker has gone.
  virtual int notify_fd() const = 0;
  virtual void drain_notify() = 0;
  // What the last drain_notify() brought; then nothing more.
  virtual std::optional<Unreachable> next_unreachable() = 0;
  virtual bool broker_alive() const = 0;
  // Who is told; once, before there is news.
  virtual void listen_to_relocations(RelocationListener& listener) = 0;
  // Ports were claimed: connections that the kernel has there go on in the kernel.
  virtual Result<void> keep_kernel_flows() = 0;
  virtual void answer_relocation(const RelocationCount& count) = 0;
  // The lease, the rings and the XDP program are given back, so that another broker can have the
  // interface. What is left is memory: of the frames that are held, and of the last news. port()
  // must not be used any more, but for reading by threads that do so at this moment.
  virtual void let_go() = 0;

  // The connection becomes that of the kernel socket `fd`, which is closed; `bytes` are its queues,
  // as ConnectionState has them. A round trip to the broker, for which it waits. An error: nothing
  // has happened (ENOTCONN: no broker), but after ETIMEDOUT, where it may happen yet.
  virtual Result<void> move_out(const ConnectionState& connection, std::span<const uint8_t> bytes,
                                int fd) = 0;
  // The other way: the connection that the kernel socket `fd` has, with the bytes of its queues;
  // the socket is unconnected then. Errors: Mover::move_in(), ENOTCONN, and after ETIMEDOUT the
  // socket may have lost it.
  virtual Result<ConnectionSnapshot> move_in(int fd) = 0;

  // A connection that nobody has accepted at `listener`, a claim of ours, goes to another process
  // that has a share of the port: `fd` is its kernel socket. An error: it stays (ENOTCONN: no
  // broker).
  virtual Result<void> hand_over(const SocketAddress& listener, int fd) = 0;
  // Asks for those that others have left, and that nobody was there to take.
  virtual void collect(const SocketAddress& listener) = 0;
  // What the last drain_notify() brought; then nothing more.
  virtual std::optional<HandedOver> next_handed_over() = 0;
};

using SteerCounters = std::array<uint64_t, UP_STEER_COUNTER_COUNT>;

// Any user can take the name of a broker in the abstract namespace. What a broker sends is mapped
// and followed, so only root's and the caller's own is believed. The kernel shows the user of
// another user namespace that has no number in ours as 65534: everybody's, and nobody's.
constexpr bool may_be_broker(uid_t holder, uid_t own) {
  constexpr uid_t kOverflowUid = 65534;
  return holder == 0 || (holder == own && holder != kOverflowUid);
}

class BrokerClient {
 public:
  // Connects to the broker of `ifname` in this network namespace (an abstract Unix socket) and
  // keeps the connection as a lease: while it is open the broker stays. ECONNREFUSED: none runs.
  // EACCES: it does not serve this user. EPERM: who has the name may not be a broker (below); it
  // has been told nothing. EPROTO: it is of another version.
  static Result<Fd> lease(const std::string& ifname);
  // Takes a slot over the lease: XSKs, UMEM, port table, link. Blocks for a bounded time (a round
  // trip; the broker retries EBUSY, trap 56). EUSERS: no free slot. ETIMEDOUT: the broker does not
  // answer.
  static Result<std::unique_ptr<Attachment>> attach(Fd lease);
  // Maps the control memory read-only, for tools; it stays mapped. Does not keep the broker.
  static Result<const Control*> observe(const std::string& ifname);
  // The XDP program's counters, summed over all CPUs, by up_steer_counter. Does not keep the
  // broker.
  static Result<SteerCounters> steer_counters(const std::string& ifname);
  // Asks the program, or all for pid 0, to leave bypass or to come back, and waits for it: some
  // seconds at most. ESRCH: no program of that pid has a slot. EPERM: it is another user's. EBUSY:
  // somebody else has just asked. ETIMEDOUT: one does not answer (it is stopped).
  struct Relocated {
    uint32_t programs = 0;
    RelocationCount connections;
  };
  static Result<Relocated> relocate(const std::string& ifname, bool away, pid_t pid);
};

}  // namespace underpass
