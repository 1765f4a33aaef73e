// port_table.cpp - stores into the mapped array; the flow map through bpf(2)
#include "xdp/port_table.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"
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

static_assert(kMaxSlots <= UP_MAX_SLOTS);

constexpr uint64_t kAddressMask = ~uint64_t{0} << UP_PORT_ADDRESS_SHIFT;

uint64_t bits_of(uint32_t slot) { return UP_MEMBER(slot) | UP_MEMBER_WAITS(slot); }

bool swap(up_port_entry& entry, __u64& seen, __u64 wanted) {
  return __atomic_compare_exchange_n(&entry.value, &seen, wanted, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

uint64_t members_of(const up_port_entry& entry) {
  return __atomic_load_n(&entry.members, __ATOMIC_SEQ_CST) & UINT32_MAX;
}

// What is left of a claim when its elder has gone: the members', or nothing. A client that joins
// makes itself a member before it looks at the claim, so whoever takes the claim away looks at the
// members behind that.
void give_up(up_port_entry& entry, uint64_t elder) {
  __u64 seen = __atomic_load_n(&entry.value, __ATOMIC_SEQ_CST);
  while ((seen & UP_PORT_SLOT_MASK) == elder) {
    const uint64_t shared = (seen & ~UP_PORT_SLOT_MASK) | UP_PORT_SHARED;
    const bool has_members = members_of(entry) != 0;
    if (!swap(entry, seen, has_members ? shared : seen & UP_PORT_FLOWS_MASK)) continue;
    if (has_members || members_of(entry) == 0) return;
    __u64 free = seen & UP_PORT_FLOWS_MASK;
    while ((free & ~UP_PORT_FLOWS_MASK) == 0 &&
           !swap(entry, free, (shared & ~UP_PORT_FLOWS_MASK) | (free & UP_PORT_FLOWS_MASK))) {
    }
    return;
  }
}

}  // namespace

void leave_entry(up_port_entry& entry, uint32_t slot) {
  __atomic_fetch_and(&entry.members, ~bits_of(slot), __ATOMIC_SEQ_CST);
  give_up(entry, slot + 1);
  // Without an elder the last member takes the claim with it.
  const uint64_t value = __atomic_load_n(&entry.value, __ATOMIC_SEQ_CST);
  if ((value & UP_PORT_SHARED) != 0 && members_of(entry) == 0) give_up(entry, 0);
}

PortTable::PortTable(up_port_entry* entries, int flow_map_fd, uint32_t slot)
    : entries_(entries), flow_map_fd_(flow_map_fd), slot_(slot) {}

Result<void> PortTable::claim(uint8_t protocol, const SocketAddress& local) {
  auto* entry = &entries_[port_index_of(protocol, local)].value;
  const uint64_t wanted = claim_of(slot_, local.ip);
  auto seen = __atomic_load_n(entry, __ATOMIC_RELAXED);
  for (;;) {
    const uint64_t held = seen & ~(UP_PORT_FLOWS_MASK | UP_PORT_SHARED);
    if (held == wanted) return {};
    if ((seen & ~UP_PORT_FLOWS_MASK) != 0) {
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
  up_port_entry& entry = entry_of(protocol, held);
  const uint64_t ours = claim_of(slot_, held.ip);
  constexpr uint64_t kBeside = UP_PORT_FLOWS_MASK | UP_PORT_SHARED;
  auto seen = __atomic_load_n(&entry.value, __ATOMIC_RELAXED);
  while ((seen & ~kBeside) == ours && !swap(entry, seen, (seen & kBeside) | claim)) {
  }
}

void PortTable::move(uint8_t protocol, const SocketAddress& held, const IpAddress& to) {
  replace(protocol, held, claim_of(slot_, to));
}

void PortTable::release(uint8_t protocol, const SocketAddress& local) {
  up_port_entry& entry = entry_of(protocol, local);
  const uint64_t value = __atomic_load_n(&entry.value, __ATOMIC_SEQ_CST);
  if ((value & ~(UP_PORT_FLOWS_MASK | UP_PORT_SHARED)) != claim_of(slot_, local.ip)) return;
  give_up(entry, slot_ + 1);
}

Result<PortTable::Share> PortTable::join(uint8_t protocol, const SocketAddress& local) {
  up_port_entry& entry = entry_of(protocol, local);
  const uint64_t wanted = claim_of(slot_, local.ip);
  const bool was_member = (__atomic_fetch_or(&entry.members, UP_MEMBER(slot_), __ATOMIC_SEQ_CST) &
                           UP_MEMBER(slot_)) != 0;
  auto seen = __atomic_load_n(&entry.value, __ATOMIC_SEQ_CST);
  for (;;) {
    const uint64_t held = seen & ~(UP_PORT_FLOWS_MASK | UP_PORT_SHARED);
    if (held == wanted) return Share::kElder;
    if ((seen & ~UP_PORT_FLOWS_MASK) == 0) {
      if (swap(entry, seen, seen | wanted)) return Share::kElder;
      continue;
    }
    if ((seen & kAddressMask) != (wanted & kAddressMask)) break;
    if ((seen & UP_PORT_SHARED) != 0 || swap(entry, seen, seen | UP_PORT_SHARED)) {
      return Share::kMember;
    }
  }
  if (!was_member) __atomic_fetch_and(&entry.members, ~bits_of(slot_), __ATOMIC_SEQ_CST);
  return Error{local.ip.is_any() ? EADDRINUSE : EEXIST};
}

// The last one becomes the elder: connections that are being opened with it are known to nobody but
// the choices, which are looked at where there is a claim.
void PortTable::leave(uint8_t protocol, const SocketAddress& local) {
  up_port_entry& entry = entry_of(protocol, local);
  __atomic_fetch_and(&entry.members, ~bits_of(slot_), __ATOMIC_SEQ_CST);
  __u64 seen = __atomic_load_n(&entry.value, __ATOMIC_SEQ_CST);
  while ((seen & UP_PORT_SHARED) != 0 && (seen & UP_PORT_SLOT_MASK) == 0 &&
         members_of(entry) == 0 && !swap(entry, seen, seen | (slot_ + 1))) {
  }
}

void PortTable::wait(uint8_t protocol, const SocketAddress& local, bool waits) {
  up_port_entry& entry = entry_of(protocol, local);
  const bool does =
      (__atomic_load_n(&entry.members, __ATOMIC_RELAXED) & UP_MEMBER_WAITS(slot_)) != 0;
  if (does == waits) return;
  if (waits) {
    __atomic_fetch_or(&entry.members, UP_MEMBER_WAITS(slot_), __ATOMIC_SEQ_CST);
  } else {
    __atomic_fetch_and(&entry.members, ~UP_MEMBER_WAITS(slot_), __ATOMIC_SEQ_CST);
  }
}

PortTable::Others PortTable::others(uint8_t protocol, const SocketAddress& local) const {
  const uint64_t members =
      __atomic_load_n(&entry_of(protocol, local).members, __ATOMIC_SEQ_CST) & ~bits_of(slot_);
  const auto all = static_cast<uint32_t>(members);
  return {all, static_cast<uint32_t>(members >> UP_MAX_SLOTS) & all};
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
