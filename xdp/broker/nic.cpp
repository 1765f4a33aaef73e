// nic.cpp - netdevice(7) and ethtool ioctls
#include "xdp/broker/nic.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/limits.h"
#include "xdp/broker/refusal.h"

namespace underpass {

namespace {

class Asker {
 public:
  explicit Asker(const std::string& name)
      : name_(name), fd_(sys::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}

  ifreq ask(unsigned long request) const {
    ifreq answer = named();
    const int done = sys::ioctl(fd_.get(), request, &answer);
    if (done < 0) throw Refusal(name_, -done);
    return answer;
  }
  // False: the driver does not say.
  bool ethtool(void* command) const {
    ifreq request = named();
    request.ifr_data = static_cast<char*>(command);
    return sys::ioctl(fd_.get(), SIOCETHTOOL, &request) >= 0;
  }

 private:
  ifreq named() const {
    ifreq request{};
    name_.copy(request.ifr_name, sizeof request.ifr_name - 1);
    return request;
  }

  const std::string& name_;
  Fd fd_;
};

void read_queues(const Asker& asker, Nic& nic) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (!asker.ethtool(&channels)) return;
  nic.rx_queues = std::max(1U, channels.rx_count + channels.combined_count);
  nic.tx_queues = std::max(1U, channels.tx_count + channels.combined_count);
}

void check(const Nic& nic, const Asker& asker) {
  if (asker.ask(SIOCGIFHWADDR).ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    throw Refusal(fmt::format("{} is not an Ethernet interface", nic.name));
  }
  if (nic.rx_queues > kMaxQueues) {
    throw Refusal(
        fmt::format("{} has {} rx queues, at most {} can be served: `ethtool -L {} "
                    "combined {}`",
                    nic.name, nic.rx_queues, kMaxQueues, nic.name, kMaxQueues));
  }
}

}  // namespace

Nic examine_nic(const std::string& name) {
  Nic nic;
  nic.name = name;
  nic.index = name.size() < IFNAMSIZ ? ::if_nametoindex(name.c_str()) : 0;
  if (nic.index == 0) {
    throw Refusal(fmt::format("there is no interface {} in this network namespace", name));
  }
  const Asker asker(nic.name);
  nic.mtu_bytes = static_cast<uint32_t>(asker.ask(SIOCGIFMTU).ifr_mtu);
  const ifreq hardware = asker.ask(SIOCGIFHWADDR);
  std::memcpy(nic.mac.data(), hardware.ifr_hwaddr.sa_data, nic.mac.size());
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (asker.ethtool(&driver)) nic.driver = driver.driver;
  read_queues(asker, nic);
  check(nic, asker);
  return nic;
}

}  // namespace underpass
