// port_table.cpp - stores into the mapped array; the flow map through bpf(2)
#include "xdp/port_table.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"

namespace underpass {

int port_family_of(const IpAddress& ip) { return ip.is_v4() ? UP_FAMILY_V4 : UP_FAMILY_V6; }

uint32_t port_index_of(uint8_t protocol, const SocketAddress& local) {
  const int family = port_family_of(local.ip);
  if (protocol == IPPROTO_TCP) return UP_PORT_INDEX(family, UP_PORT_TCP, local.port);
  if (protocol == IPPROTO_UDP) return UP_PORT_INDEX(family, UP_PORT_UDP, local.port);
  return UP_PROTOCOL_INDEX(family, protocol);
}

bool entry_covers(uint64_t entry, const IpAddress& ip) {
  const auto address = static_cast<uint32_t>(entry >> UP_PORT_ADDRESS_SHIFT);
  return address == 0 || address == up_fold_address(port_family_of(ip), ip.bytes.data());
}

up_flow_key flow_key_of(const Flow& flow) {
  up_flow_key key{};
  std::memcpy(key.local_ip, flow.local.ip.bytes.data(), sizeof key.local_ip);
  key.local_port = htons(flow.local.port);
  if (flow.remote.port != 0) {
    std::memcpy(key.remote_ip, flow.remote.ip.bytes.data(), sizeof key.remote_ip);
    key.remote_port = htons(flow.remote.port);
  }
  key.protocol = flow.protocol;
  return key;
}

namespace {

// An entry without its count of flows.
uint64_t claim_of(uint32_t slot, const IpAddress& ip) {
  const uint32_t address = ip.is_any() ? 0 : up_fold_address(port_family_of(ip), ip.bytes.data());
  return uint64_t{address} << UP_PORT_ADDRESS_SHIFT | (slot + 1);
}

}  // namespace

PortTable::PortTable(up_port_entry* entries, int flow_map_fd, uint32_t slot)
    : entries_(entries), flow_map_fd_(flow_map_fd), slot_(slot) {}

Result<void> PortTable::claim(uint8_t protocol, const SocketAddress& local) {
  auto* entry = &entries_[port_index_of(protocol, local)].value;
  const uint64_t wanted = claim_of(slot_, local.ip);
  auto seen = __atomic_load_n(entry, __ATOMIC_RELAXED);
  for (;;) {
    const uint64_t held = seen & ~UP_PORT_FLOWS_MASK;
    if (held == wanted) return {};
    if ((held & UP_PORT_SLOT_MASK) != 0) {
      const bool others = (held & UP_PORT_SLOT_MASK) != (wanted & UP_PORT_SLOT_MASK);
      const bool same = held >> UP_PORT_ADDRESS_SHIFT == wanted >> UP_PORT_ADDRESS_SHIFT;
      return Error{others && (same || local.ip.is_any()) ? EADDRINUSE : EEXIST};
    }
    if (__atomic_compare_exchange_n(entry, &seen, (seen & UP_PORT_FLOWS_MASK) | wanted, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
      return {};
    }
  }
}

// Puts `claim` where our claim of `held` is.
void PortTable::replace(uint8_t protocol, const SocketAddress& held, uint64_t claim) {
  auto* entry = &entries_[port_index_of(protocol, held)].value;
  const uint64_t ours = claim_of(slot_, held.ip);
  auto seen = __atomic_load_n(entry, __ATOMIC_RELAXED);
  while ((seen & ~UP_PORT_FLOWS_MASK) == ours) {
    if (__atomic_compare_exchange_n(entry, &seen, (seen & UP_PORT_FLOWS_MASK) | claim, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
      return;
    }
  }
}

void PortTable::move(uint8_t protocol, const SocketAddress& held, const IpAddress& to) {
  replace(protocol, held, claim_of(slot_, to));
}

void PortTable::release(uint8_t protocol, const SocketAddress& local) {
  replace(protocol, local, 0);
}

// The mark first: a client that is killed half-way leaves a mark too many, which costs a look-up;
// never one too few, which would hide the flow.
Result<void> PortTable::add_flow(const Flow& flow) {
  const up_flow_key key = flow_key_of(flow);
  auto* entry = &entries_[port_index_of(flow.protocol, flow.local)].value;
  bpf_attr attributes{};
  attributes.map_fd = static_cast<uint32_t>(flow_map_fd_);
  attributes.key = reinterpret_cast<uint64_t>(&key);
  attributes.value = reinterpret_cast<uint64_t>(&slot_);
  attributes.flags = BPF_NOEXIST;
  __atomic_fetch_add(entry, UP_PORT_FLOWS_ONE, __ATOMIC_ACQ_REL);
  const long done =
      sys::call(SYS_bpf, BPF_MAP_UPDATE_ELEM, sys::arg(&attributes), sizeof attributes);
  if (done >= 0) return {};
  __atomic_fetch_sub(entry, UP_PORT_FLOWS_ONE, __ATOMIC_ACQ_REL);
  return Error{static_cast<int>(-done)};
}

void PortTable::remove_flow(const Flow& flow) {
  const up_flow_key key = flow_key_of(flow);
  bpf_attr attributes{};
  attributes.map_fd = static_cast<uint32_t>(flow_map_fd_);
  attributes.key = reinterpret_cast<uint64_t>(&key);
  const long done =
      sys::call(SYS_bpf, BPF_MAP_DELETE_ELEM, sys::arg(&attributes), sizeof attributes);
  if (done < 0) return;  // not there: its owner's death has taken it
  __atomic_fetch_sub(&entries_[port_index_of(flow.protocol, flow.local)].value, UP_PORT_FLOWS_ONE,
                     __ATOMIC_ACQ_REL);
}

void PortTable::take_flow_back(const Flow& flow) {
  const auto* entry = &entries_[port_index_of(flow.protocol, flow.local)].value;
  if ((__atomic_load_n(entry, __ATOMIC_RELAXED) & UP_PORT_FLOWS_MASK) == 0) return;
  const up_flow_key key = flow_key_of(flow);
  uint32_t owner = 0;
  bpf_attr attributes{};
  attributes.map_fd = static_cast<uint32_t>(flow_map_fd_);
  attributes.key = reinterpret_cast<uint64_t>(&key);
  attributes.value = reinterpret_cast<uint64_t>(&owner);
  const long found =
      sys::call(SYS_bpf, BPF_MAP_LOOKUP_ELEM, sys::arg(&attributes), sizeof attributes);
  if (found >= 0 && owner == UP_FLOW_OF_KERNEL) remove_flow(flow);
}

}  // namespace underpass
