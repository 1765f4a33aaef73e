// groups.h - of a datagram socket: the multicast groups whose frames XDP takes for it
//
// The kernel is the one to know of memberships, by whatever call they came: it is asked of each
// group that an option has named. What comes over XDP comes to this socket alone, so nobody else
// may be able to have the port (docs/decisions/019-groups-of-one-socket.md). Guarded by the stack
// mutex.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <vector>

#include "base/address.h"
#include "stack/port_claims.h"

namespace underpass {

class Groups {
 public:
  // An option that the kernel socket has accepted names a group. False: it names none.
  bool note(int level, int name, const void* value, socklen_t length);
  bool empty() const { return groups_.empty(); }
  // Takes what `fd` is a member of on that interface, whoever sends, to this port; and gives back
  // what it is not any more. Port 0: nothing is taken.
  void follow(PortClaims& ports, int fd, uint32_t ifindex, const Binding& local);
  // All is the kernel's.
  void drop(PortClaims& ports);

 private:
  struct Group {
    IpAddress ip;
    uint16_t taken_port;  // 0: it is the kernel's
  };
  static Flow flow_of(const Group& group);

  std::vector<Group> groups_;
};

}  // namespace underpass
