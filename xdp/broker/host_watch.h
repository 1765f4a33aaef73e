// host_watch.h - follows the kernel's addresses, MTU, routes and neighbours through rtnetlink
#pragma once

#include <libmnl/libmnl.h>

#include <memory>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "xdp/broker/neighbours.h"
#include "xdp/broker/netlink_dump.h"
#include "xdp/broker/nic.h"
#include "xdp/broker/steering.h"
#include "xdp/control_abi.h"

namespace underpass {

// Writes the control memory and the XDP program's addresses. The broker's thread alone uses it.
class HostWatch {
 public:
  // Subscribes, then reads everything. Throws Refusal, also if that cannot be had whole.
  HostWatch(const Nic& nic, Control& control, Steering& steering);

  int fd() const { return mnl_socket_get_fd(events_.get()); }
  // Handles all that has happened. True: the control memory tells something new.
  bool handle_events();
  // A client wants a neighbour: the kernel resolves it. The answer is an event.
  void resolve(const IpAddress& ip);
  // To be called once a second: keeps fresh what clients use, and reads again what could not be
  // read. True: as handle_events().
  bool refresh();
  bool interface_gone() const { return interface_gone_; }

 private:
  // Of the whole host: a frame from any of them is not another host's.
  struct Address {
    IpAddress ip;
    uint32_t prefix_bits;
    uint32_t ifindex;
    bool operator==(const Address&) const = default;
  };
  using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

  static Socket open_socket();
  static int on_message(const nlmsghdr* header, void* self);
  void subscribe();
  // Nothing is applied of what was not read to its end. The error: of the first that was not.
  Result<void> read_all();
  void read_all_again();
  static Result<NetlinkDump> dump(uint16_t type);
  void handle(const nlmsghdr* header);
  void handle_link(const nlmsghdr* header);
  void handle_address(const nlmsghdr* header);
  void apply_address(const nlmsghdr* header);
  void handle_neighbour(const nlmsghdr* header);
  void publish_addresses();
  void routes_changed();
  void ask(const IpAddress& ip);

  const uint32_t ifindex_;
  Control& control_;
  Steering& steering_;
  Neighbours neighbours_;
  Socket events_;
  Socket requests_;
  std::vector<Address> addresses_;
  bool changed_ = false;
  // The kernel has told of changes that were lost, and could not be asked since.
  bool outdated_ = false;
  bool interface_gone_ = false;
};

}  // namespace underpass
