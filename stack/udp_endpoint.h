// udp_endpoint.h - the stack's half of a UDP socket, or of a raw one
#pragma once

#include <sys/uio.h>

#include <deque>
#include <optional>
#include <span>

#include "base/result.h"
#include "stack/stack.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

// What a received datagram came with. The bytes are in `data`, behind the UDP header; a raw
// socket's begin with the IP header, and it comes from port 0.
struct Datagram {
  pbuf* data;
  SocketAddress from;
  IpAddress to;
  uint32_t bytes;
  uint8_t ttl;
  uint8_t tos;
  uint64_t arrived_ns;  // CLOCK_REALTIME, for SO_TIMESTAMP
};

// Needs the stack mutex throughout; none of it blocks.
class UdpEndpoint {
 public:
  // Claims the port; beside others, with `shares_port` (SO_REUSEPORT). EADDRINUSE: another
  // process's stack has it. A raw socket has the number of its
  // protocol for a port, at either end (as inet_create() in net/ipv4/af_inet.c), and claims that.
  static Result<UdpEndpoint*> open(Stack& stack, const Binding& local, EndpointOwner& owner, int fd,
                                   uint8_t protocol = IPPROTO_UDP, bool shares_port = false)
      UP_REQUIRES(stack_mutex);
  void close() UP_REQUIRES(stack_mutex);

  // A wildcard with port 0 disconnects.
  void set_remote(const SocketAddress& remote) UP_REQUIRES(stack_mutex);
  // Another local address, with its claim. Port 0: nothing more comes, what is queued stays.
  // EADDRINUSE: another process's stack has it, and all is as before.
  Result<void> rebind(const Binding& local) UP_REQUIRES(stack_mutex);
  // Its port is the kernel's; what is queued stays.
  void set_away(bool away) UP_REQUIRES(stack_mutex);
  bool is_bound() const { return local_.address.port != 0; }
  const SocketAddress& local() const { return local_.address; }
  const Binding& binding() const { return local_; }
  const SocketAddress& remote() const { return remote_; }

  bool readable() const { return !queue_.empty(); }
  // Bytes of the first datagram; 0 when there is none (FIONREAD).
  uint32_t next_bytes() const { return queue_.empty() ? 0 : queue_.front().bytes; }
  // EAGAIN: none there. Copies what fits; the datagram goes unless `peek`.
  Result<Datagram> receive(std::span<const iovec> out, bool peek, size_t* copied)
      UP_REQUIRES(stack_mutex);
  void set_receive_buffer(size_t bytes) { limit_bytes_ = bytes; }
  // SO_REUSEPORT: until it is connected, it is one of several that are equal.
  bool shares_port() const { return shares_port_ && remote_.port == 0; }
  void set_record_timestamps(bool on) { timestamps_ = on; }
  // Whether the kernel lets nobody else bind its port.
  void set_has_port_alone(bool alone) { has_port_alone_ = alone; }
  bool has_port_alone() const { return has_port_alone_; }

  // 0: not for this socket; the higher the better. As compute_score() in net/ipv4/udp.c.
  int score(const SocketAddress& local, const SocketAddress& remote) const;
  void deliver(const Datagram& datagram) UP_REQUIRES(stack_mutex);
  bool wants_timestamps() const { return timestamps_; }
  bool has_room() const { return queued_bytes_ < limit_bytes_; }

 private:
  UdpEndpoint(Stack& stack, const Binding& local, EndpointOwner& owner, uint8_t protocol,
              bool shares_port)
      : stack_(stack),
        protocol_(protocol),
        local_(local),
        claim_(local),
        owner_(owner),
        shares_port_(shares_port) {}
  ~UdpEndpoint() = default;
  Result<void> hold(const Binding& claim) UP_REQUIRES(stack_mutex);
  void drop() UP_REQUIRES(stack_mutex);
  void follow_remote() UP_REQUIRES(stack_mutex);
  void publish() UP_REQUIRES(stack_mutex);

  Stack& stack_;
  const uint8_t protocol_;
  Binding local_;
  Binding claim_;
  SocketAddress remote_;
  EndpointOwner& owner_;
  std::deque<Datagram> queue_;
  size_t queued_bytes_ = 0;
  size_t limit_bytes_ = 212992;  // net.core.rmem_default
  bool timestamps_ = false;
  bool has_port_alone_ = false;
  const bool shares_port_;
  bool joined_ = false;       // a share of what comes to the claim is ours
  std::optional<Flow> flow_;  // of one that is connected beside others on the port
  SocketRecord* record_ = nullptr;
};

}  // namespace underpass
