// receive_control.cpp - writes control data for the program
#include "stack/receive_control.h"

#include <netinet/in.h>
#include <sys/time.h>

#include "stack/clock.h"
#include "stack/control_writer.h"

namespace underpass {

namespace {

void write_time(ControlWriter& out, const SocketOptions& options, uint64_t arrived_ns) {
  const auto seconds = static_cast<time_t>(arrived_ns / kNsPerS);
  const auto fraction_ns = static_cast<long>(arrived_ns % kNsPerS);
  if (options.timestamp_ns) {
    out.put(SOL_SOCKET, SO_TIMESTAMPNS, timespec{seconds, fraction_ns});
  } else if (options.timestamp) {
    out.put(SOL_SOCKET, SO_TIMESTAMP, timeval{seconds, fraction_ns / 1000});
  }
}

void write_v4(ControlWriter& out, const SocketOptions& options, const Datagram& datagram,
              uint32_t ifindex) {
  if (options.packet_info) {
    const in_addr to{datagram.to.v4()};
    out.put(IPPROTO_IP, IP_PKTINFO, in_pktinfo{static_cast<int>(ifindex), to, to});
  }
  if (options.receive_ttl) out.put(IPPROTO_IP, IP_TTL, int{datagram.ttl});
  if (options.receive_tos) out.put(IPPROTO_IP, IP_TOS, datagram.tos);
}

void write_v6(ControlWriter& out, const SocketOptions& options, const Datagram& datagram) {
  if (options.receive_hop_limit) out.put(IPPROTO_IPV6, IPV6_HOPLIMIT, int{datagram.ttl});
  if (options.receive_traffic_class) out.put(IPPROTO_IPV6, IPV6_TCLASS, int{datagram.tos});
}

}  // namespace

void write_receive_control(msghdr& message, const SocketOptions& options, const Datagram& datagram,
                           uint32_t ifindex) {
  ControlWriter out(message);
  write_time(out, options, datagram.arrived_ns);
  // Of both families, as ip6_datagram_recv_common_ctl().
  if (options.packet_info_v6) {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, datagram.to.bytes.data(), sizeof info.ipi6_addr);
    info.ipi6_ifindex = ifindex;
    out.put(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  if (datagram.to.is_v4()) {
    write_v4(out, options, datagram, ifindex);
  } else {
    write_v6(out, options, datagram);
  }
}

}  // namespace underpass
