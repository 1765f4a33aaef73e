// socket_options.h - the options that the stack acts on; the kernel socket holds the truth of all
// others
#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include <cstdint>
#include <vector>

#include "stack/tcp_endpoint.h"

namespace underpass {

// Control messages with the time when something came (sock_set_timestamp() and
// sock_set_timestamping() in net/core/sock.c).
struct TimeOptions {
  bool plain = false;  // SO_TIMESTAMP or SO_TIMESTAMPNS, the last of them
  bool nanoseconds = false;
  bool in_three = false;  // SO_TIMESTAMPING of software, for what is received
  bool of_2038 = false;   // the last of them was a ..._NEW: so are the types of the messages
  bool any() const { return plain || in_three; }
};

struct SocketOptions {
  TcpOptions tcp;
  uint64_t receive_timeout_ns = 0;  // 0: none
  uint64_t send_timeout_ns = 0;
  uint32_t receive_buffer_bytes = 0;   // as SO_RCVBUF reads back; 0: the default
  bool packet_info = false;            // IP_PKTINFO
  bool receive_ttl = false;            // IP_RECVTTL
  bool receive_tos = false;            // IP_RECVTOS
  bool packet_info_v6 = false;         // IPV6_RECVPKTINFO
  bool receive_hop_limit = false;      // IPV6_RECVHOPLIMIT
  bool receive_traffic_class = false;  // IPV6_RECVTCLASS
  TimeOptions times;
  bool broadcast = false;
  bool syn_count_set = false;    // TCP_SYNCNT
  bool tell_unread = false;      // TCP_INQ
  bool zero_copy = false;        // SO_ZEROCOPY
  bool header_included = false;  // IP_HDRINCL
  // Something was set that only the kernel can do: this socket must not be bypassed.
  bool kernel_only = false;
  // The same, of what it receives.
  bool kernel_receives = false;
  // What was set before the socket listened: accepted sockets inherit it.
  struct Touched {
    int level;
    int name;
    socklen_t length;
    uint8_t value[sizeof(timeval)];  // the longest that is inherited
  };
  std::vector<Touched> touched;

  void remember(int level, int name, const void* value, socklen_t length);
};

// Notes an option that the kernel socket has already accepted. False: the stack does not act on it.
bool note_option(SocketOptions& options, int level, int name, const void* value, socklen_t length,
                 int fd);
// An option that a connection of the stack cannot obey: it goes to the kernel first. `ifindex` is
// the bypassed interface.
bool needs_kernel(int level, int name, const void* value, socklen_t length, int fd,
                  uint32_t ifindex);
// Sets on the kernel socket `fd` what an accepted connection has inherited, and forgets it.
void write_inherited_options(SocketOptions& options, int fd);

}  // namespace underpass
