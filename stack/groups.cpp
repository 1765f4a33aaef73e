// groups.cpp - memberships, as getsockopt(2) tells of them
#include "stack/groups.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/sys.h"

namespace underpass {

namespace {

template <class T>
std::optional<T> read_at(const void* value, socklen_t length, size_t offset) {
  T out;
  if (length < offset + sizeof out) return std::nullopt;
  std::memcpy(&out, static_cast<const uint8_t*>(value) + offset, sizeof out);
  return out;
}

// All structures of these options begin with the group, or have it behind the interface's number.
std::optional<IpAddress> group_of(int level, int name, const void* value, socklen_t length) {
  if (name >= MCAST_JOIN_GROUP && name <= MCAST_MSFILTER) {
    const auto group = read_at<sockaddr_storage>(value, length, offsetof(group_req, gr_group));
    if (!group) return std::nullopt;
    const auto* address = reinterpret_cast<const sockaddr*>(&*group);
    const auto named = SocketAddress::from_sockaddr(address, sizeof *group);
    if (!named) return std::nullopt;
    return named->ip;
  }
  if (level == IPPROTO_IPV6 && (name == IPV6_JOIN_GROUP || name == IPV6_LEAVE_GROUP)) {
    const auto group = read_at<in6_addr>(value, length, 0);
    return group ? std::optional(IpAddress::from_v6(*group)) : std::nullopt;
  }
  if (level == IPPROTO_IP &&
      ((name >= IP_ADD_MEMBERSHIP && name <= IP_DROP_SOURCE_MEMBERSHIP) || name == IP_MSFILTER)) {
    const auto group = read_at<in_addr>(value, length, 0);
    return group ? std::optional(IpAddress::from_v4(group->s_addr)) : std::nullopt;
  }
  return std::nullopt;
}

// Of anybody's datagrams; not one that has chosen sources.
bool is_member(int fd, uint32_t ifindex, const IpAddress& group) {
  group_filter filter{};
  filter.gf_interface = ifindex;
  const int family = group.family();
  SocketAddress{group, 0, 0}.to_sockaddr(family, filter.gf_group);
  socklen_t length = GROUP_FILTER_SIZE(0);
  const int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  return sys::getsockopt(fd, level, MCAST_MSFILTER, &filter, &length) == 0 &&
         filter.gf_fmode == MCAST_EXCLUDE && filter.gf_numsrc == 0;
}

}  // namespace

Flow Groups::flow_of(const Group& group) {
  return {IPPROTO_UDP, {group.ip, group.taken_port, 0}, {IpAddress::any(group.ip.family()), 0, 0}};
}

bool Groups::note(int level, int name, const void* value, socklen_t length) {
  const auto group = group_of(level, name, value, length);
  if (!group || !group->is_multicast()) return false;
  const bool known = std::any_of(groups_.begin(), groups_.end(),
                                 [&](const Group& one) { return one.ip == *group; });
  if (!known) groups_.push_back({*group, 0});
  return true;
}

void Groups::follow(PortClaims& ports, int fd, uint32_t ifindex, const Binding& local) {
  for (Group& group : groups_) {
    const bool wanted =
        local.address.port != 0 && local.covers(group.ip) && is_member(fd, ifindex, group.ip);
    const uint16_t port = wanted ? local.address.port : uint16_t{0};
    if (group.taken_port == port) continue;
    if (group.taken_port != 0) ports.drop_flow(flow_of(group));
    group.taken_port = port;
    if (port != 0 && !ports.add_flow(flow_of(group))) group.taken_port = 0;
  }
}

void Groups::drop(PortClaims& ports) {
  for (const Group& group : groups_) {
    if (group.taken_port != 0) ports.drop_flow(flow_of(group));
  }
  groups_.clear();
}

}  // namespace underpass
