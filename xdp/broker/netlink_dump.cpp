// netlink_dump.cpp - netlink(7): messages up to NLMSG_DONE
#include "xdp/broker/netlink_dump.h"

#include <cerrno>
#include <cstring>

namespace underpass {

namespace {

// Dumps come in datagrams of up to 32 KiB.
constexpr size_t kDatagramBytes = 32768;

int error_of(const nlmsghdr& header) {
  int error = 0;
  if (header.nlmsg_len < NLMSG_LENGTH(sizeof error)) return EPROTO;
  std::memcpy(&error, NLMSG_DATA(&header), sizeof error);
  return -error;
}

}  // namespace

Result<NetlinkDump> NetlinkDump::read(const Receive& receive) {
  NetlinkDump dump;
  for (;;) {
    Datagram datagram(kDatagramBytes / sizeof(nlmsghdr));
    char* const bytes = reinterpret_cast<char*>(datagram.data());
    const long got = receive({bytes, kDatagramBytes});
    if (got == -EINTR) continue;
    if (got <= 0) return Error{got == 0 ? EPROTO : static_cast<int>(-got)};
    auto left = static_cast<unsigned>(got);
    for (const nlmsghdr* at = datagram.data(); NLMSG_OK(at, left); at = NLMSG_NEXT(at, left)) {
      if ((at->nlmsg_flags & NLM_F_DUMP_INTR) != 0) return Error{EINTR};
      if (at->nlmsg_type == NLMSG_ERROR) return Error{error_of(*at)};
      // It carries an error too: the kernel could not go on.
      if (at->nlmsg_type == NLMSG_DONE && error_of(*at) != 0) return Error{error_of(*at)};
      if (at->nlmsg_type == NLMSG_DONE) {
        dump.datagrams_.push_back(std::move(datagram));
        return dump;
      }
      dump.messages_.push_back(at);
    }
    dump.datagrams_.push_back(std::move(datagram));
  }
}

}  // namespace underpass
