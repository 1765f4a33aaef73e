// link_facts.cpp - rtnetlink, generic netlink and ethtool, read only
#include "tools/link_facts.h"

#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/address.h"
#include "base/fd.h"
#include "tools/netlink.h"

namespace underpass {

namespace {

// Of linux/netdev.h, which Debian 12's headers do not have yet.
constexpr const char* kNetdevFamily = "netdev";
constexpr uint8_t kNetdevCmdDevGet = 1;
constexpr uint16_t kNetdevAttrIfindex = 1;
constexpr uint16_t kNetdevAttrXdpFeatures = 3;
constexpr uint64_t kXdpFeatureRedirect = 2;
constexpr uint64_t kXdpFeatureXskZeroCopy = 8;

Bytes after(const std::vector<std::byte>& payload, size_t header_bytes) {
  return Bytes(payload).subspan(std::min(header_bytes, payload.size()));
}

void read_link_attributes(LinkFacts& facts, Bytes attributes) {
  facts.mtu_bytes = number_of<uint32_t>(find_attribute(attributes, IFLA_MTU));
  facts.rx_queues = number_of<uint32_t>(find_attribute(attributes, IFLA_NUM_RX_QUEUES));
  if (const auto info = find_attribute(attributes, IFLA_LINKINFO)) {
    facts.kind = text_of(find_attribute(*info, IFLA_INFO_KIND));
  }
  if (const auto xdp = find_attribute(attributes, IFLA_XDP)) {
    facts.xdp_program_id = number_of<uint32_t>(find_attribute(*xdp, IFLA_XDP_PROG_ID));
  }
  const bool peer_is_here = !find_attribute(attributes, IFLA_LINK_NETNSID);
  const auto peer_index = number_of<uint32_t>(find_attribute(attributes, IFLA_LINK));
  char peer[IF_NAMESIZE] = "";
  if (facts.kind == "veth" && peer_is_here && ::if_indextoname(peer_index, peer) != nullptr) {
    facts.peer = peer;
  }
}

Result<void> read_link(LinkFacts& facts) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(facts.index);
  const auto answer = NetlinkRequest(RTM_GETLINK, header).ask(NETLINK_ROUTE);
  if (!answer) return Error{answer.error()};
  if (answer->size() < sizeof header) return Error{EPROTO};
  std::memcpy(&header, answer->data(), sizeof header);
  facts.up = (header.ifi_flags & IFF_UP) != 0;
  facts.loopback = (header.ifi_flags & IFF_LOOPBACK) != 0;
  read_link_attributes(facts, after(*answer, NLMSG_ALIGN(sizeof header)));
  return {};
}

void read_addresses(LinkFacts& facts) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || facts.name != one->ifa_name) continue;
    facts.has_ipv4 |= one->ifa_addr->sa_family == AF_INET;
    const auto v6 = SocketAddress::from_sockaddr(one->ifa_addr, sizeof(sockaddr_in6));
    facts.has_ipv6 |= one->ifa_addr->sa_family == AF_INET6 && !v6->ip.is_link_local();
  }
}

bool ethtool(const std::string& name, void* command) {
  const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_data = static_cast<char*>(command);
  return fd.valid() && ::ioctl(fd.get(), SIOCETHTOOL, &request) == 0;
}

bool ethtool_flag(const std::string& name, uint32_t command) {
  ethtool_value value{command, 0};
  return ethtool(name, &value) && value.data != 0;
}

void read_ethtool(LinkFacts& facts) {
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(facts.name, &driver)) facts.driver = driver.driver;
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (!ethtool(facts.name, &channels)) return;
  // RTM_GETLINK counts the queues that were allocated, this the ones in use.
  const uint32_t in_use = channels.rx_count + channels.combined_count;
  if (in_use > 0) facts.rx_queues = in_use;
}

Result<uint16_t> generic_family(const char* name) {
  const genlmsghdr header{CTRL_CMD_GETFAMILY, 1, 0};
  NetlinkRequest request(GENL_ID_CTRL, header);
  request.add(CTRL_ATTR_FAMILY_NAME, name, std::strlen(name) + 1);
  const auto answer = request.ask(NETLINK_GENERIC);
  if (!answer) return Error{answer.error()};
  return number_of<uint16_t>(find_attribute(after(*answer, GENL_HDRLEN), CTRL_ATTR_FAMILY_ID));
}

// Leaves the facts unknown on kernels before 6.3.
void read_xdp_features(LinkFacts& facts) {
  const auto family = generic_family(kNetdevFamily);
  if (!family) return;
  NetlinkRequest request(*family, genlmsghdr{kNetdevCmdDevGet, 1, 0});
  request.add(kNetdevAttrIfindex, &facts.index, sizeof facts.index);
  const auto answer = request.ask(NETLINK_GENERIC);
  if (!answer) return;
  const auto features =
      number_of<uint64_t>(find_attribute(after(*answer, GENL_HDRLEN), kNetdevAttrXdpFeatures));
  facts.native_xdp = (features & kXdpFeatureRedirect) != 0;
  facts.zero_copy = (features & kXdpFeatureXskZeroCopy) != 0;
}

}  // namespace

Result<LinkFacts> link_facts(const std::string& name) {
  LinkFacts facts;
  facts.name = name;
  facts.index = name.size() < IF_NAMESIZE ? ::if_nametoindex(name.c_str()) : 0;
  if (facts.index == 0) return Error{ENODEV};
  if (const auto read = read_link(facts); !read) return Error{read.error()};
  read_addresses(facts);
  read_ethtool(facts);
  read_xdp_features(facts);
  return facts;
}

OffloadFacts offload_facts(const std::string& name) {
  return {ethtool_flag(name, ETHTOOL_GGRO), ethtool_flag(name, ETHTOOL_GTSO)};
}

bool driver_known_native(const std::string& driver) {
  constexpr std::array<std::string_view, 24> kNative = {
      "atlantic",  "bnxt_en", "dpaa2-eth", "ena",    "fec",  "gve",
      "hv_netvsc", "i40e",    "ice",       "igb",    "igc",  "ixgbe",
      "ixgbevf",   "mlx4_en", "mlx5_core", "mvneta", "nfp",  "qede",
      "sfc",       "stmmac",  "thunder",   "tun",    "veth", "virtio_net"};
  return std::find(kNative.begin(), kNative.end(), driver) != kNative.end();
}

}  // namespace underpass
