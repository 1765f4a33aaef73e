// netlink_dump.h - all that the kernel has of one kind, or nothing
#pragma once

#include <linux/netlink.h>

#include <functional>
#include <span>
#include <vector>

#include "base/result.h"

namespace underpass {

// The answer to a request with NLM_F_DUMP, read to its end before anybody acts on it.
class NetlinkDump {
 public:
  // The kernel's next datagram, as recv(2): its length, or -errno.
  using Receive = std::function<long(std::span<char>)>;
  // EINTR: the tables were changed meanwhile, and something is missing (NLM_F_DUMP_INTR): to be
  // asked for again. EPROTO: the answer ended before its end.
  static Result<NetlinkDump> read(const Receive& receive);

  const std::vector<const nlmsghdr*>& messages() const { return messages_; }

 private:
  // Where nlmsghdrs may stand.
  using Datagram = std::vector<nlmsghdr>;
  std::vector<Datagram> datagrams_;
  std::vector<const nlmsghdr*> messages_;
};

}  // namespace underpass
