// socket_options.cpp - which options mean something to the stack
#include "stack/socket_options.h"

#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "base/user_pointer.h"
#include "stack/clock.h"

namespace underpass {

namespace {

// Of <linux/in6.h>, which does not go with <netinet/in.h>.
constexpr int kIpv6FlowInfo = 11;
constexpr int kIpv6FlowLabelManager = 32;
constexpr int kIpv6FlowInfoSend = 33;

int read_int(const void* value, socklen_t length) {
  int out = 0;
  // IP options may be given as one byte (do_ip_setsockopt).
  std::memcpy(&out, value, std::min<size_t>(length, sizeof out));
  return out;
}

// What the kernel made of it: doubled, bounded, rounded (socket(7), tcp(7)).
uint32_t read_back(int fd, int level, int name) {
  int real = 0;
  socklen_t size = sizeof real;
  if (sys::getsockopt(fd, level, name, &real, &size) != 0 || real < 0) return 0;
  return static_cast<uint32_t>(real);
}

uint64_t read_timeout_ns(const void* value, socklen_t length) {
  timeval time{};
  if (length < sizeof time) return 0;
  std::memcpy(&time, value, sizeof time);
  if (time.tv_sec < 0) return 1;  // not at all, as sock_set_timeout()
  return static_cast<uint64_t>(time.tv_sec) * kNsPerS +
         static_cast<uint64_t>(time.tv_usec) * kNsPerUs;
}

void note_plain_times(SocketOptions& options, int name, bool on) {
  TimeOptions& times = options.times;
  times.plain = on;
  times.nanoseconds = on && (name == SO_TIMESTAMPNS || name == SO_TIMESTAMPNS_NEW);
  if (on) times.of_2038 = name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW;
  options.tcp.note_arrivals = times.any();
}

// What is received gets a time from the stack. All else that the flags ask for (of what is sent, of
// the hardware) the kernel must see.
constexpr uint32_t kTimesOfStack = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
                                   SOF_TIMESTAMPING_OPT_CMSG | SOF_TIMESTAMPING_OPT_TSONLY;

void note_times_in_three(SocketOptions& options, int name, uint32_t flags) {
  constexpr uint32_t kBoth = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE;
  options.times.in_three = (flags & kBoth) == kBoth;
  options.times.of_2038 = name == SO_TIMESTAMPING_NEW;
  options.tcp.note_arrivals = options.times.any();
  if ((flags & ~kTimesOfStack) == 0) return;
  options.kernel_only = true;
  constexpr uint32_t kOfHardware = SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
  options.kernel_receives = options.kernel_receives || (flags & kOfHardware) != 0;
}

// Of another interface than the bypassed one, by its name.
bool is_another_device(const void* value, socklen_t length, int fd, uint32_t ifindex) {
  ifreq request{};
  std::memcpy(request.ifr_name, value, std::min<size_t>(length, sizeof request.ifr_name - 1));
  if (sys::ioctl(fd, SIOCGIFINDEX, &request) < 0) return false;
  return static_cast<uint32_t>(request.ifr_ifindex) != ifindex;
}

bool note_socket_level(SocketOptions& options, int name, const void* value, socklen_t length,
                       int fd) {
  const int number = read_int(value, length);
  switch (name) {
    case SO_KEEPALIVE:
      options.tcp.keep_alive = number != 0;
      return true;
    case SO_LINGER: {
      linger value_linger{};
      std::memcpy(&value_linger, value, std::min<size_t>(length, sizeof value_linger));
      options.tcp.linger_s = value_linger.l_onoff != 0 ? value_linger.l_linger : -1;
      return true;
    }
    case SO_RCVTIMEO:
      options.receive_timeout_ns = read_timeout_ns(value, length);
      return true;
    case SO_OOBINLINE:
      options.tcp.urgent_inline = number != 0;
      return true;
    case SO_RCVLOWAT:
      // At most half of the buffer (tcp_set_rcvlowat()).
      options.tcp.receive_low_water = read_back(fd, SOL_SOCKET, SO_RCVLOWAT);
      return true;
    case SO_SNDTIMEO:
      options.send_timeout_ns = read_timeout_ns(value, length);
      return true;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
      options.receive_buffer_bytes = read_back(fd, SOL_SOCKET, SO_RCVBUF);
      options.tcp.receive_buffer_bytes = options.receive_buffer_bytes;
      return true;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
      options.tcp.send_buffer_bytes = read_back(fd, SOL_SOCKET, SO_SNDBUF);
      return true;
    case SO_TIMESTAMP:
    case SO_TIMESTAMPNS:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_NEW:
      note_plain_times(options, name, number != 0);
      return true;
    case SO_TIMESTAMPING:
    case SO_TIMESTAMPING_NEW:
      note_times_in_three(options, name, static_cast<uint32_t>(number));
      return true;
    case SO_ZEROCOPY:
      options.zero_copy = number != 0;
      return true;
    case SO_BROADCAST:
      options.broadcast = number != 0;
      return true;
    case SO_BINDTODEVICE:
    case SO_BINDTOIFINDEX:
    case SO_ATTACH_FILTER:
    case SO_ATTACH_BPF:
      options.kernel_receives = true;
      options.kernel_only = true;
      return true;
    case SO_MARK:
      options.kernel_only = true;
      return true;
    default:
      return false;
  }
}

bool note_ip_level(SocketOptions& options, int name, const void* value, socklen_t length) {
  const int number = read_int(value, length);
  switch (name) {
    case IP_TTL:
      options.tcp.ttl = number < 0 ? 64 : static_cast<uint8_t>(number);
      return true;
    case IP_TOS:
      options.tcp.tos = static_cast<uint8_t>(number);
      return true;
    case IP_PKTINFO:
      options.packet_info = number != 0;
      return true;
    case IP_RECVTTL:
      options.receive_ttl = number != 0;
      return true;
    case IP_RECVTOS:
      options.receive_tos = number != 0;
      return true;
    case IP_HDRINCL:
      options.header_included = number != 0;
      return true;
    case IP_TRANSPARENT:
    case IP_OPTIONS:
      options.kernel_only = true;
      return true;
    case IP_RECVORIGDSTADDR:
      options.kernel_only = true;
      options.kernel_receives = options.kernel_receives || number != 0;
      return true;
    default:
      return false;
  }
}

bool note_ipv6_level(SocketOptions& options, int name, const void* value, socklen_t length) {
  const int number = read_int(value, length);
  switch (name) {
    case IPV6_UNICAST_HOPS:
      options.tcp.hop_limit = number < 0 ? 0 : static_cast<uint8_t>(number);
      return true;
    case IPV6_TCLASS:
      options.tcp.traffic_class = number < 0 ? 0 : static_cast<uint8_t>(number);
      return true;
    case IPV6_RECVPKTINFO:
      options.packet_info_v6 = number != 0;
      return true;
    case IPV6_RECVHOPLIMIT:
      options.receive_hop_limit = number != 0;
      return true;
    case IPV6_RECVTCLASS:
      options.receive_traffic_class = number != 0;
      return true;
    case IPV6_PKTINFO:  // for all that is sent; so is what follows
    case IPV6_HOPOPTS:
    case IPV6_RTHDR:
    case IPV6_RTHDRDSTOPTS:
    case IPV6_DSTOPTS:
    case IPV6_NEXTHOP:
    case kIpv6FlowLabelManager:
    case IPV6_UNICAST_IF:
    case IPV6_ADDR_PREFERENCES:
    case IPV6_MTU:
    case IPV6_MINHOPCOUNT:
    case IPV6_HDRINCL:
      options.kernel_only = true;
      return true;
    case IPV6_2292PKTINFO:
    case IPV6_2292HOPLIMIT:
    case kIpv6FlowInfo:
    case kIpv6FlowInfoSend:
    case IPV6_RECVORIGDSTADDR:
    case IPV6_TRANSPARENT:
      options.kernel_only = options.kernel_only || number != 0;
      return true;
    default:
      return false;
  }
}

bool note_tcp_level(SocketOptions& options, int name, const void* value, socklen_t length, int fd) {
  const int number = read_int(value, length);
  constexpr uint32_t kMsPerS = 1000;
  switch (name) {
    case TCP_NODELAY:
      options.tcp.no_delay = number != 0;
      return true;
    case TCP_CORK:
      options.tcp.cork = number != 0;
      return true;
    case TCP_KEEPIDLE:
      options.tcp.keep_idle_ms = static_cast<uint32_t>(number) * kMsPerS;
      return true;
    case TCP_KEEPINTVL:
      options.tcp.keep_interval_ms = static_cast<uint32_t>(number) * kMsPerS;
      return true;
    case TCP_KEEPCNT:
      options.tcp.keep_count = static_cast<uint32_t>(number);
      return true;
    case TCP_SYNCNT:
      // For a listener: inet_csk_reqsk_queue_prune() and its timer. A connect asks for its own.
      options.tcp.synack_retries = static_cast<uint8_t>(number);
      options.syn_count_set = true;
      return true;
    case TCP_USER_TIMEOUT:
      options.tcp.user_timeout_ms = static_cast<uint32_t>(number);
      return true;
    case TCP_WINDOW_CLAMP:
      options.tcp.window_clamp_bytes = read_back(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP);
      return true;
    case TCP_NOTSENT_LOWAT:
      // 0: net.ipv4.tcp_notsent_lowat, which is none.
      options.tcp.not_sent_low_water = number == 0 ? UINT32_MAX : static_cast<uint32_t>(number);
      return true;
    case TCP_DEFER_ACCEPT:
      options.tcp.defer_accept_s = read_back(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT);
      return true;
    case TCP_INQ:
      options.tell_unread = number != 0;
      return true;
    case TCP_LINGER2:
      options.tcp.linger2_s = number;
      return true;
    case TCP_MD5SIG:
    case TCP_ULP:
    case TCP_REPAIR:
      options.kernel_only = true;
      return true;
    default:
      return false;
  }
}

}  // namespace

bool note_option(SocketOptions& options, int level, int name, const void* value, socklen_t length,
                 int fd) {
  if (value == nullptr || length == 0) return false;
  switch (level) {
    case SOL_SOCKET:
      return note_socket_level(options, name, value, length, fd);
    case IPPROTO_IP:
      return note_ip_level(options, name, value, length);
    case IPPROTO_IPV6:
      return note_ipv6_level(options, name, value, length);
    case IPPROTO_TCP:
      return note_tcp_level(options, name, value, length, fd);
    case IPPROTO_UDP:
      // Corking, segmentation and encapsulation are the kernel's.
      options.kernel_only = true;
      return true;
    default:
      return false;
  }
}

bool needs_kernel(int level, int name, const void* value, socklen_t length, int fd,
                  uint32_t ifindex) {
  if (level != SOL_SOCKET || length == 0 || !is_user_memory(value, length)) return false;
  const int number = read_int(value, length);
  switch (name) {
    case SO_TIMESTAMPING:
    case SO_TIMESTAMPING_NEW:
      return (static_cast<uint32_t>(number) & ~kTimesOfStack) != 0;
    case SO_MARK:
      return number != 0;
    case SO_ATTACH_FILTER:
    case SO_ATTACH_BPF:
      return true;
    case SO_BINDTODEVICE:
      return is_another_device(value, length, fd, ifindex);
    case SO_BINDTOIFINDEX:
      return number > 0 && static_cast<uint32_t>(number) != ifindex;
    default:
      return false;
  }
}

void SocketOptions::remember(int level, int name, const void* value, socklen_t length) {
  Touched one{level, name, length, {}};
  if (value == nullptr || length > sizeof one.value) return;
  std::memcpy(one.value, value, length);
  const auto same = [&](const Touched& other) {
    return other.level == level && other.name == name;
  };
  touched.erase(std::remove_if(touched.begin(), touched.end(), same), touched.end());
  touched.push_back(one);
}

void write_inherited_options(SocketOptions& options, int fd) {
  bool has_tos = false;
  for (const SocketOptions::Touched& one : options.touched) {
    // Linux does not inherit the priority (sk_clone_lock()); the queue of fast open is a
    // listener's.
    if (one.level == SOL_SOCKET && one.name == SO_PRIORITY) continue;
    if (one.level == IPPROTO_TCP && one.name == TCP_FASTOPEN) continue;
    sys::setsockopt(fd, one.level, one.name, one.value, one.length);
    has_tos = has_tos || (one.level == IPPROTO_IP && one.name == IP_TOS);
  }
  const int none = 0;
  if (has_tos) sys::setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &none, sizeof none);
  options.touched.clear();
}

}  // namespace underpass
