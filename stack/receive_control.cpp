// receive_control.cpp - writes control data for the program
#include "stack/receive_control.h"

#include <netinet/in.h>
#include <sys/time.h>

#include <array>

#include "stack/clock.h"
#include "stack/control_writer.h"

namespace underpass {

namespace {

void write_v4(ControlWriter& out, const SocketOptions& options, const Datagram& datagram,
              uint32_t ifindex, const IpAddress& answering) {
  if (options.packet_info) {
    const in_addr to{datagram.to.v4()};
    const in_addr answers_from{answering.v4()};
    out.put(IPPROTO_IP, IP_PKTINFO, in_pktinfo{static_cast<int>(ifindex), answers_from, to});
  }
  if (options.receive_ttl) out.put(IPPROTO_IP, IP_TTL, int{datagram.ttl});
  if (options.receive_tos) out.put(IPPROTO_IP, IP_TOS, datagram.tos);
}

void write_v6(ControlWriter& out, const SocketOptions& options, const Datagram& datagram) {
  if (options.receive_hop_limit) out.put(IPPROTO_IPV6, IPV6_HOPLIMIT, int{datagram.ttl});
  if (options.receive_traffic_class) out.put(IPPROTO_IPV6, IPV6_TCLASS, int{datagram.tos});
}

}  // namespace

void write_times(ControlWriter& out, const TimeOptions& times, uint64_t arrived_ns) {
  const timespec arrived = to_timespec(arrived_ns);
  const bool of_2038 = times.of_2038;
  if (times.plain && times.nanoseconds) {
    out.put(SOL_SOCKET, of_2038 ? SO_TIMESTAMPNS_NEW : SO_TIMESTAMPNS, arrived);
  } else if (times.plain) {
    out.put(SOL_SOCKET, of_2038 ? SO_TIMESTAMP_NEW : SO_TIMESTAMP,
            timeval{arrived.tv_sec, arrived.tv_nsec / 1000});
  }
  // Software's is the first of three (scm_timestamping in linux/errqueue.h).
  using Times = std::array<timespec, 3>;
  if (times.in_three && arrived_ns != 0) {
    out.put(SOL_SOCKET, of_2038 ? SO_TIMESTAMPING_NEW : SO_TIMESTAMPING, Times{arrived});
  }
}

void write_receive_control(msghdr& message, const SocketOptions& options, const Datagram& datagram,
                           uint32_t ifindex, const IpAddress& answering) {
  ControlWriter out(message);
  // What came before anybody wanted to know comes now (__sock_recv_timestamp() in net/socket.c).
  const bool late = datagram.arrived_ns == 0 && options.times.plain;
  write_times(out, options.times, late ? realtime_ns() : datagram.arrived_ns);
  // Of both families, as ip6_datagram_recv_common_ctl().
  if (options.packet_info_v6) {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, datagram.to.bytes.data(), sizeof info.ipi6_addr);
    info.ipi6_ifindex = ifindex;
    out.put(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  if (datagram.to.is_v4()) {
    write_v4(out, options, datagram, ifindex, answering);
  } else {
    write_v6(out, options, datagram);
  }
}

}  // namespace underpass
