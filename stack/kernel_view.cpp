// kernel_view.cpp - asks the kernel where it would send a packet (RTM_GETROUTE, rtnetlink(7))
#include "stack/kernel_view.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace underpass {

namespace {

struct RouteRequest {
  nlmsghdr header;
  rtmsg route;
  uint8_t attributes[80];
};

void add_attribute(RouteRequest& request, uint16_t type, const void* value, uint16_t bytes) {
  rtattr attribute{static_cast<uint16_t>(RTA_LENGTH(bytes)), type};
  uint8_t* at = reinterpret_cast<uint8_t*>(&request) + NLMSG_ALIGN(request.header.nlmsg_len);
  std::memcpy(at, &attribute, sizeof attribute);
  std::memcpy(at + RTA_LENGTH(0), value, bytes);
  request.header.nlmsg_len = NLMSG_ALIGN(request.header.nlmsg_len) + RTA_ALIGN(RTA_LENGTH(bytes));
}

void add_address(RouteRequest& request, uint16_t type, const IpAddress& ip) {
  if (ip.is_v4()) return add_attribute(request, type, &ip.bytes[12], 4);
  add_attribute(request, type, ip.bytes.data(), 16);
}

IpAddress read_address(const rtattr& attribute) {
  IpAddress ip;
  if (RTA_PAYLOAD(&attribute) == 4) {
    uint32_t v4 = 0;
    std::memcpy(&v4, RTA_DATA(&attribute), sizeof v4);
    return IpAddress::from_v4(v4);
  }
  if (RTA_PAYLOAD(&attribute) == ip.bytes.size()) {
    std::memcpy(ip.bytes.data(), RTA_DATA(&attribute), ip.bytes.size());
  }
  return ip;
}

// A number of /proc/sys/net.
std::optional<uint8_t> read_setting(const char* path) {
  const long opened = sys::call(SYS_openat, AT_FDCWD, sys::arg(path), O_RDONLY | O_CLOEXEC);
  if (opened < 0) return std::nullopt;
  const Fd file(static_cast<int>(opened));
  char text[8] = {};
  if (sys::read(file.get(), text, sizeof text - 1) <= 0) return std::nullopt;
  return static_cast<uint8_t>(std::clamp(std::atoi(text), 0, UINT8_MAX));
}

// RTAX_HOPLIMIT, or 0.
uint8_t read_hop_limit(const rtattr& metrics) {
  auto left = static_cast<int>(RTA_PAYLOAD(&metrics));
  const auto* at = static_cast<const rtattr*>(RTA_DATA(&metrics));
  for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    uint32_t value = 0;
    if (at->rta_type != RTAX_HOPLIMIT || RTA_PAYLOAD(at) < sizeof value) continue;
    std::memcpy(&value, RTA_DATA(at), sizeof value);
    return static_cast<uint8_t>(std::min<uint32_t>(value, UINT8_MAX));
  }
  return 0;
}

Route read_route(const nlmsghdr& header, const IpAddress& destination, uint32_t ifindex) {
  const auto* message = static_cast<const rtmsg*>(NLMSG_DATA(&header));
  Route route;
  route.next_hop = destination;
  route.hop_limit = 0;
  uint32_t out = 0;
  bool multipath = false;
  auto left = static_cast<int>(RTM_PAYLOAD(&header));
  for (const rtattr* at = RTM_RTA(message); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if (at->rta_type == RTA_OIF) std::memcpy(&out, RTA_DATA(at), sizeof out);
    if (at->rta_type == RTA_GATEWAY) route.next_hop = read_address(*at);
    if (at->rta_type == RTA_PREFSRC) route.source = read_address(*at);
    if (at->rta_type == RTA_METRICS) route.hop_limit = read_hop_limit(*at);
    if (at->rta_type == RTA_VIA || at->rta_type == RTA_ENCAP) multipath = true;
  }
  route.through_interface = message->rtm_type == RTN_UNICAST && out == ifindex && !multipath;
  return route;
}

}  // namespace

// Without it no route would be known, and nothing could be answered: then sockets are the kernel's.
Result<std::unique_ptr<KernelView>> KernelView::open(Attachment& attachment) {
  const int fd = sys::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return Error{-fd};
  return std::unique_ptr<KernelView>(new KernelView(attachment, move_out_of_the_way(Fd(fd))));
}

Result<Route> KernelView::route(const IpAddress& destination, const IpAddress& source) {
  RouteRequest request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtmsg));
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.header.nlmsg_seq = ++sequence_;
  request.route.rtm_family = static_cast<uint8_t>(destination.family());
  request.route.rtm_dst_len = destination.is_v4() ? 32 : 128;
  add_address(request, RTA_DST, destination);
  if (!source.is_any()) {
    request.route.rtm_src_len = source.is_v4() ? 32 : 128;
    add_address(request, RTA_SRC, source);
  }
  // Every interface has such addresses on its link: it is ours that is asked about.
  if (destination.is_link_local()) {
    const uint32_t ifindex = attachment_.control().ifindex;
    add_attribute(request, RTA_OIF, &ifindex, sizeof ifindex);
  }
  const long sent = sys::sendto(netlink_.get(), &request, request.header.nlmsg_len, 0, nullptr, 0);
  if (sent < 0) return Error{static_cast<int>(-sent)};
  alignas(nlmsghdr) uint8_t reply[4096];
  for (;;) {
    iovec piece{reply, sizeof reply};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    // The kernel has answered before sendto() returns (rtnetlink_rcv runs in the caller).
    const long got = sys::recvmsg(netlink_.get(), &message, MSG_DONTWAIT);
    if (got < 0) return Error{static_cast<int>(-got)};
    const auto* header = reinterpret_cast<const nlmsghdr*>(reply);
    if (!NLMSG_OK(header, static_cast<unsigned>(got))) return Error{EPROTO};
    if (header->nlmsg_seq != sequence_) continue;
    if (header->nlmsg_type == NLMSG_ERROR) {
      const int error = static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
      return Error{error < 0 ? -error : EPROTO};
    }
    Route route = read_route(*header, destination, attachment_.control().ifindex);
    if (route.hop_limit == 0) route.hop_limit = default_hop_limit(destination.family());
    if (route.source.is_any() && !source.is_any()) route.source = source;
    route.mtu_bytes = attachment_.control().mtu_bytes.load(std::memory_order_relaxed);
    return route;
  }
}

uint64_t KernelView::route_generation() const {
  return attachment_.control().route_generation.load(std::memory_order_acquire);
}

NeighbourView KernelView::neighbour(const IpAddress& ip) { return attachment_.neighbour(ip); }

void KernelView::resolve(const IpAddress& ip) { attachment_.resolve(ip); }

std::optional<Unreachable> KernelView::next_unreachable() { return attachment_.next_unreachable(); }

uint64_t KernelView::neighbour_generation() const {
  return attachment_.control().neighbour_generation.load(std::memory_order_acquire);
}

std::optional<uint8_t> KernelView::setting(const char* name) const {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
  return read_setting(path);
}

// As ip6_dst_hoplimit(); over IPv4 a socket knows its own.
uint8_t KernelView::default_hop_limit(int family) const {
  constexpr uint8_t kUsual = 64;
  if (family != AF_INET6) return kUsual;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/hop_limit",
                attachment_.control().ifname);
  return read_setting(path).value_or(kUsual);
}

}  // namespace underpass
