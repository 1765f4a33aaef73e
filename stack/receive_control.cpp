// receive_control.cpp - writes control data for the program
#include "stack/receive_control.h"

#include <netinet/in.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

#include "stack/clock.h"

namespace underpass {

namespace {

// The room of a message, filled one after the other.
class ControlWriter {
 public:
  explicit ControlWriter(msghdr& message)
      : message_(message), room_(message.msg_control == nullptr ? 0 : message.msg_controllen) {}
  ~ControlWriter() { message_.msg_controllen = used_; }
  ControlWriter(const ControlWriter&) = delete;
  ControlWriter& operator=(const ControlWriter&) = delete;

  // As much of it as fits and MSG_CTRUNC, as put_cmsg() in net/core/scm.c.
  template <class Value>
  void put(int level, int type, const Value& value) {
    const size_t left = room_ - used_;
    if (left < CMSG_LEN(sizeof value)) message_.msg_flags |= MSG_CTRUNC;
    if (left < sizeof(cmsghdr)) return;
    cmsghdr header{};
    header.cmsg_len = std::min(left, CMSG_LEN(sizeof value));
    header.cmsg_level = level;
    header.cmsg_type = type;
    auto* at = static_cast<uint8_t*>(message_.msg_control) + used_;
    std::memcpy(at, &header, sizeof header);
    std::memcpy(at + CMSG_LEN(0), &value, header.cmsg_len - sizeof header);
    used_ += std::min(CMSG_SPACE(sizeof value), left);
  }

 private:
  msghdr& message_;
  const size_t room_;
  size_t used_ = 0;
};

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
