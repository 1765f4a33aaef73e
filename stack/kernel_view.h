// kernel_view.h - routes by rtnetlink, neighbours by the broker's mirror, settings by /proc/sys
#pragma once

#include <memory>
#include <unordered_map>

#include "base/fd.h"
#include "stack/host_view.h"
#include "xdp/broker_client.h"

namespace underpass {

// Guarded by the stack mutex. route() costs a system call or two (some microseconds); the callers
// cache.
class KernelView : public HostView {
 public:
  // EAFNOSUPPORT and the like: the program may not open a netlink socket.
  static Result<std::unique_ptr<KernelView>> open(Attachment& attachment);
  Result<Route> route(const IpAddress& destination, const IpAddress& source) override;
  uint64_t route_generation() const override;
  NeighbourView neighbour(const IpAddress& ip) override;
  void resolve(const IpAddress& ip) override;
  uint64_t neighbour_generation() const override;
  std::optional<uint8_t> setting(const char* name) const override;
  std::optional<Unreachable> next_unreachable() override;
  Result<void> move_out(const ConnectionState& connection, std::span<const uint8_t> bytes,
                        int fd) override {
    return attachment_.move_out(connection, bytes, fd);
  }
  Result<void> hand_over(const SocketAddress& listener, int fd) override {
    return attachment_.hand_over(listener, fd);
  }
  void collect(const SocketAddress& listener) override { attachment_.collect(listener); }
  std::optional<HandedOver> next_handed_over() override { return attachment_.next_handed_over(); }
  Result<ConnectionSnapshot> move_in(int fd) override { return attachment_.move_in(fd); }

 private:
  KernelView(Attachment& attachment, Fd netlink)
      : attachment_(attachment), netlink_(std::move(netlink)) {}

  uint8_t default_hop_limit(int family) const;

  Attachment& attachment_;
  Fd netlink_;
  uint32_t sequence_ = 0;
};

}  // namespace underpass
