// steering.h - the XDP program and its maps
//
// The broker's thread alone uses it. The program stays attached while anybody holds link_fd().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/result.h"
#include "xdp/broker/address_map.h"
#include "xdp/broker/nic.h"
#include "xdp/broker_client.h"

struct steer_bpf;
struct up_port_entry;
struct xdp_program;

namespace underpass {

class Steering {
 public:
  // Loads the program and attaches it: driver mode unless `generic_only`, else generic mode; beside
  // others if libxdp's dispatcher is on the interface. Throws Refusal.
  Steering(const Nic& nic, uint32_t slots, bool generic_only);
  ~Steering();
  Steering(const Steering&) = delete;
  Steering& operator=(const Steering&) = delete;

  // Takes off what a killed broker has left in the dispatcher. Only when the queues are known to be
  // ours: before that, programs of that broker may still be served by it.
  void take_off_old_program();

  bool driver_mode() const { return driver_mode_; }
  bool dispatcher() const { return through_libxdp_ != nullptr; }
  int ports_fd() const;
  int flows_fd() const;
  // ports_fd() where there is no link (AttachedFd::kLinkFd).
  int link_fd() const;
  int program_fd() const;

  // The host's addresses; replaces those of before. Frames to those of the interface may be taken.
  Result<void> set_addresses(std::span<const OwnAddress> addresses);
  bool has_address(const IpAddress& ip) const;
  bool is_here(const IpAddress& ip) const;  // on the interface
  Result<void> put_socket(uint32_t slot, uint32_t queue, int xsk_fd);
  // No frame goes to this slot any more when this returns, and its ports and flows are free.
  void forget_slot(uint32_t slot);
  // The slot that frames of the flow go to, as programs have written it: any number.
  std::optional<uint32_t> owner_of(uint8_t protocol, const SocketAddress& local,
                                   const SocketAddress& remote) const;
  // Who has a share of the port, as programs have written it.
  struct Members {
    uint32_t all;      // a bit for each slot
    uint32_t waiting;  // of those
  };
  Members members_of(uint8_t protocol, const SocketAddress& local) const;
  // Whether that slot has the port, alone or with others, and the flow map does not say whose the
  // flow is.
  bool is_open_to(uint32_t slot, const Flow& flow) const;
  // From now on this flow is the kernel's, whoever claims the port. E2BIG: the flow map is full.
  Result<void> give_flow_to_kernel(const Flow& flow);
  // From now on it is that slot's, whoever claims the port. EPERM: it is another program's. E2BIG.
  Result<void> give_flow_to_slot(const Flow& flow, uint32_t slot);
  // It is again whose the port is. Nothing where a program has taken it back already.
  void take_flow_from_kernel(const Flow& flow);
  SteerCounters counters() const;

 private:
  void attach_alone(bool generic_only);
  void attach_through_libxdp();
  void forget_flows(uint32_t slot);
  Result<void> set_flow(const Flow& flow, uint32_t owner);
  // The port's, which counts the flows.
  __u64* entry_of(const struct up_flow_key& key) const;

  const Nic& nic_;
  std::unique_ptr<steer_bpf, void (*)(steer_bpf*)> program_;
  xdp_program* through_libxdp_ = nullptr;
  uint32_t old_program_id_ = 0;
  Fd link_;
  up_port_entry* ports_ = nullptr;  // the mapped port table
  bool driver_mode_ = false;
  // For forget_flows(), which peers wait for: memory that is new costs more than reading the map.
  std::vector<up_flow_key> flow_keys_;
  std::vector<uint32_t> flow_slots_;
};

}  // namespace underpass
