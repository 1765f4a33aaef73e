// host_watch.cpp - rtnetlink(7) through libmnl
#include "xdp/broker/host_watch.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/sys.h"
#include "xdp/address_table.h"
#include "xdp/broker/refusal.h"

namespace underpass {

namespace {

constexpr uint32_t kGroups[] = {RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR,
                                RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
                                RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,  RTNLGRP_NEXTHOP};
// A flood of route changes must not be lost; if it is, everything is read again (ENOBUFS).
constexpr int kReceiveBufferBytes = 4 << 20;
// A kernel message is at most this long (NLMSG_GOODSIZE is a page; dumps use up to 32 KiB).
constexpr size_t kMessageBytes = 32768;

int keep_attribute(const nlattr* attribute, void* data) {
  auto& table = *static_cast<std::array<const nlattr*, 64>*>(data);
  const uint16_t type = mnl_attr_get_type(attribute);
  if (type < table.size()) table[type] = attribute;
  return MNL_CB_OK;
}

std::array<const nlattr*, 64> attributes_of(const nlmsghdr* header, size_t fixed_bytes) {
  std::array<const nlattr*, 64> table{};
  mnl_attr_parse(header, static_cast<unsigned>(fixed_bytes), keep_attribute, &table);
  return table;
}

bool read_ip(const nlattr* attribute, IpAddress& out) {
  if (attribute == nullptr) return false;
  const void* const payload = mnl_attr_get_payload(attribute);
  const size_t bytes = mnl_attr_get_payload_len(attribute);
  if (bytes == sizeof(in_addr)) {
    uint32_t v4 = 0;
    std::memcpy(&v4, payload, sizeof v4);
    out = IpAddress::from_v4(v4);
    return true;
  }
  if (bytes != out.bytes.size()) return false;
  std::memcpy(out.bytes.data(), payload, bytes);
  return true;
}

bool read_mac(const nlattr* attribute, MacAddress& out) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != out.size()) return false;
  std::memcpy(out.data(), mnl_attr_get_payload(attribute), out.size());
  return true;
}

// Whether the kernel takes what comes to the address: not before nobody else has been found to have
// it (RFC 4862, 5.4; ipv6_chk_addr()).
bool is_usable(const ifaddrmsg& address, const nlattr* flags) {
  const uint32_t set = flags != nullptr ? mnl_attr_get_u32(flags) : address.ifa_flags;
  if ((set & IFA_F_DADFAILED) != 0) return false;
  return (set & IFA_F_TENTATIVE) == 0 || (set & IFA_F_OPTIMISTIC) != 0;
}

uint32_t monotonic_s() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint32_t>(now.tv_sec);
}

}  // namespace

HostWatch::HostWatch(const Nic& nic, Control& control, Steering& steering)
    : ifindex_(nic.index),
      control_(control),
      steering_(steering),
      neighbours_(control),
      events_(open_socket()),
      requests_(open_socket()) {
  subscribe();
  if (const auto done = read_all(); !done) throw Refusal("reading the host's state", done.error());
}

HostWatch::Socket HostWatch::open_socket() {
  Socket socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC), mnl_socket_close);
  if (socket == nullptr || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    throw Refusal("opening a netlink socket", errno);
  }
  return socket;
}

void HostWatch::subscribe() {
  const int fd = mnl_socket_get_fd(events_.get());
  sys::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
  for (uint32_t group : kGroups) {
    const int done =
        mnl_socket_setsockopt(events_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
    // Groups that the kernel does not have (IPv6 off) have nothing to tell.
    if (done < 0) log_write(LogLevel::info, "netlink group %u: %s", group, strerror(errno));
  }
}

// Events that are older than the answers follow and are applied again, in their order, up to the
// present state.
Result<void> HostWatch::read_all() {
  const auto links = dump(RTM_GETLINK);
  if (!links) return Error{links.error()};
  const auto addresses = dump(RTM_GETADDR);
  if (!addresses) return Error{addresses.error()};
  const auto neighbours = dump(RTM_GETNEIGH);
  if (!neighbours) return Error{neighbours.error()};
  for (const nlmsghdr* one : links->messages()) handle_link(one);
  addresses_.clear();
  for (const nlmsghdr* one : addresses->messages()) apply_address(one);
  publish_addresses();
  neighbours_.begin_dump();
  for (const nlmsghdr* one : neighbours->messages()) handle_neighbour(one);
  for (const IpAddress& ip : neighbours_.end_dump(monotonic_s())) ask(ip);
  routes_changed();
  return {};
}

// What was known stays until the kernel can be asked.
void HostWatch::read_all_again() {
  const auto done = read_all();
  outdated_ = !done;
  if (!done) log_write(LogLevel::error, "reading the host's state: %s", strerror(done.error()));
}

// A table that changes all the time is not had whole at the first try.
Result<NetlinkDump> HostWatch::dump(uint16_t type) {
  constexpr int kTries = 30;
  for (int i = 0;; ++i) {
    alignas(nlmsghdr) char buffer[256];
    nlmsghdr* const header = mnl_nlmsg_put_header(buffer);
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    // Of these three, the kernel wants all of its fixed part.
    mnl_nlmsg_put_extra_header(header, type == RTM_GETADDR    ? sizeof(ifaddrmsg)
                                       : type == RTM_GETNEIGH ? sizeof(ndmsg)
                                                              : sizeof(ifinfomsg));
    const Socket socket = open_socket();
    if (mnl_socket_sendto(socket.get(), header, header->nlmsg_len) < 0) return Error{errno};
    const int fd = mnl_socket_get_fd(socket.get());
    auto read = NetlinkDump::read([fd](std::span<char> out) {
      return sys::call(SYS_recvfrom, fd, sys::arg(out.data()), static_cast<long>(out.size()), 0, 0,
                       0);
    });
    if (read || read.error() != EINTR || i == kTries) return read;
  }
}

bool HostWatch::handle_events() {
  changed_ = false;
  alignas(nlmsghdr) char buffer[kMessageBytes];
  for (;;) {
    const long got =
        sys::call(SYS_recvfrom, fd(), sys::arg(buffer), sizeof buffer, MSG_DONTWAIT, 0, 0);
    if (got == -EINTR) continue;
    if (got == -ENOBUFS) {
      log_write(LogLevel::info, "events of the kernel were lost: reading all again");
      read_all_again();
      continue;
    }
    if (got <= 0) return changed_;
    mnl_cb_run(buffer, static_cast<size_t>(got), 0, 0, on_message, this);
  }
}

int HostWatch::on_message(const nlmsghdr* header, void* self) {
  static_cast<HostWatch*>(self)->handle(header);
  return MNL_CB_OK;
}

void HostWatch::handle(const nlmsghdr* header) {
  switch (header->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return handle_link(header);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return handle_address(header);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return handle_neighbour(header);
    default:  // routes, rules, next hops
      return routes_changed();
  }
}

// Of any link: when one goes down, the kernel takes its routes without a message for each.
void HostWatch::handle_link(const nlmsghdr* header) {
  const auto* const link = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(header));
  if (link->ifi_family == AF_BRIDGE) return;
  if (static_cast<uint32_t>(link->ifi_index) == ifindex_) {
    interface_gone_ = interface_gone_ || header->nlmsg_type == RTM_DELLINK;
    const auto attributes = attributes_of(header, sizeof *link);
    if (attributes[IFLA_MTU] != nullptr) {
      control_.mtu_bytes = mnl_attr_get_u32(attributes[IFLA_MTU]);
    }
    MacAddress mac{};
    if (read_mac(attributes[IFLA_ADDRESS], mac)) control_.mac = mac_word(mac);
  }
  routes_changed();
}

void HostWatch::handle_address(const nlmsghdr* header) {
  routes_changed();
  apply_address(header);
  publish_addresses();
}

void HostWatch::apply_address(const nlmsghdr* header) {
  const auto* const address = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(header));
  const auto attributes = attributes_of(header, sizeof *address);
  IpAddress ip;
  // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL otherwise.
  if (!read_ip(attributes[IFA_LOCAL], ip) && !read_ip(attributes[IFA_ADDRESS], ip)) return;
  const Address named{ip, address->ifa_prefixlen + (ip.is_v4() ? 96U : 0U), address->ifa_index};
  const auto found = std::find(addresses_.begin(), addresses_.end(), named);
  const bool present = found != addresses_.end();
  const bool usable =
      header->nlmsg_type == RTM_NEWADDR && is_usable(*address, attributes[IFA_FLAGS]);
  if (usable && !present) addresses_.push_back(named);
  if (!usable && present) addresses_.erase(found);
}

// The interface's own first: should all be too many, these are there.
void HostWatch::publish_addresses() {
  std::vector<OwnAddress> own;
  std::vector<LocalAddress> here;
  for (const Address& one : addresses_) {
    if (one.ifindex != ifindex_) continue;
    // What comes to 127.0.0.0/8 from the wire is the kernel's to drop.
    own.push_back({one.ip, !one.ip.is_loopback()});
    LocalAddress shown{};
    std::copy(one.ip.bytes.begin(), one.ip.bytes.end(), shown.ip);
    shown.prefix_bits = one.prefix_bits;
    here.push_back(shown);
  }
  const size_t count = own.size();
  const auto is_here = [&](const Address& one) {
    return std::any_of(own.begin(), own.begin() + static_cast<long>(count),
                       [&](const OwnAddress& of) { return of.ip == one.ip; });
  };
  for (const Address& one : addresses_) {
    // Another host of this link may have what is ours on another one (RFC 4007, 6).
    if (!is_here(one) && !one.ip.is_link_local()) own.push_back({one.ip, false});
  }
  if (const auto set = steering_.set_addresses(own); !set) {
    log_write(LogLevel::error, "the XDP program's addresses: %s", strerror(set.error()));
  }
  write_addresses(control_, here);
}

void HostWatch::handle_neighbour(const nlmsghdr* header) {
  const auto* const neighbour = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(header));
  if (static_cast<uint32_t>(neighbour->ndm_ifindex) != ifindex_) return;
  if (neighbour->ndm_family != AF_INET && neighbour->ndm_family != AF_INET6) return;
  if ((neighbour->ndm_flags & NTF_PROXY) != 0) return;
  const auto attributes = attributes_of(header, sizeof *neighbour);
  IpAddress ip;
  if (!read_ip(attributes[NDA_DST], ip)) return;
  MacAddress mac{};
  read_mac(attributes[NDA_LLADDR], mac);
  const bool deleted = header->nlmsg_type == RTM_DELNEIGH;
  const uint16_t nud = deleted ? uint16_t{NUD_NONE} : neighbour->ndm_state;
  const Neighbours::Outcome outcome = neighbours_.update({ip, nud, mac}, monotonic_s());
  changed_ = outcome.visible || changed_;
  if (outcome.ask) ask(ip);
}

void HostWatch::routes_changed() {
  control_.route_generation.fetch_add(1, std::memory_order_release);
  changed_ = true;
}

void HostWatch::resolve(const IpAddress& ip) {
  if (neighbours_.want(ip, monotonic_s())) ask(ip);
}

// NTF_USE: resolves what is unknown, looks again at what is stale.
void HostWatch::ask(const IpAddress& ip) {
  alignas(nlmsghdr) char buffer[256];
  nlmsghdr* const header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = RTM_NEWNEIGH;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE;
  auto* const neighbour = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(ndmsg)));
  neighbour->ndm_family = static_cast<uint8_t>(ip.family());
  neighbour->ndm_ifindex = static_cast<int>(ifindex_);
  neighbour->ndm_state = NUD_NONE;
  neighbour->ndm_flags = NTF_USE;
  if (ip.is_v4()) {
    const uint32_t v4 = ip.v4();
    mnl_attr_put(header, NDA_DST, sizeof v4, &v4);
  } else {
    mnl_attr_put(header, NDA_DST, ip.bytes.size(), ip.bytes.data());
  }
  // No acknowledgement: an error would be one of the asker's, whose own deadline ends its wait.
  if (mnl_socket_sendto(requests_.get(), header, header->nlmsg_len) < 0) {
    log_write(LogLevel::warning, "asking for %s: %s", ip.to_string().c_str(), strerror(errno));
  }
}

bool HostWatch::refresh() {
  changed_ = false;
  if (outdated_) read_all_again();
  // Errors of requests, which nobody waits for.
  char ignored[1024];
  const int requests = mnl_socket_get_fd(requests_.get());
  while (sys::call(SYS_recvfrom, requests, sys::arg(ignored), sizeof ignored, MSG_DONTWAIT, 0, 0) >
         0)
    ;
  for (const IpAddress& ip : neighbours_.refresh(monotonic_s())) ask(ip);
  return changed_;
}

}  // namespace underpass
