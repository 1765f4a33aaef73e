// port_claims.cpp - the entry of the port table where it is free, else a flow
#include "stack/port_claims.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace underpass {

namespace {

Flow from_anybody(uint8_t protocol, const SocketAddress& local) {
  return {protocol, local, {IpAddress::any(local.ip.family()), 0, 0}};
}

}  // namespace

void PortClaims::start_over(PortTable& table) {
  table_ = &table;
  for (auto& [key, uses] : uses_) {
    for (Use& use : uses) {
      use.place = Place::kNowhere;
      use.members = 0;
    }
  }
}

const PortClaims::Use* PortClaims::find(uint8_t protocol, const SocketAddress& local) const {
  const auto it = uses_.find(key_of(protocol, local));
  if (it == uses_.end()) return nullptr;
  const auto use = std::find_if(it->second.begin(), it->second.end(),
                                [&](const Use& one) { return one.ip == local.ip; });
  return use == it->second.end() ? nullptr : &*use;
}

PortClaims::Use* PortClaims::find(uint8_t protocol, const SocketAddress& local) {
  return const_cast<Use*>(static_cast<const PortClaims*>(this)->find(protocol, local));
}

bool Binding::covers(const IpAddress& ip) const {
  if (!address.ip.is_any()) return address.ip == ip;
  return families == Families::kBoth || address.ip.is_v4() == ip.is_v4();
}

Result<void> PortClaims::hold(uint8_t protocol, const Binding& local) {
  auto held = hold_one(protocol, local.address);
  if (!held || local.families == Families::kOwn) return held;
  auto both = hold_one(protocol, local.over_v4());
  if (!both) drop_one(protocol, local.address);
  return both;
}

Result<void> PortClaims::hold_one(uint8_t protocol, const SocketAddress& local) {
  Use* const use = find(protocol, local);
  if (use != nullptr && use->place != Place::kNowhere) {
    ++use->users;
    return {};
  }
  auto place = claim(protocol, local);
  if (!place) return Error{place.error()};
  if (use != nullptr) {
    use->place = *place;
    ++use->users;
  } else {
    uses_[key_of(protocol, local)].push_back({local.ip, 1, *place});
  }
  return {};
}

Result<void> PortClaims::join(uint8_t protocol, const Binding& local) {
  auto joined = join_one(protocol, local.address);
  if (!joined || local.families == Families::kOwn) return joined;
  auto both = join_one(protocol, local.over_v4());
  if (both) return both;
  leave_one(protocol, local.address);
  drop_one(protocol, local.address);
  return both;
}

Result<void> PortClaims::join_one(uint8_t protocol, const SocketAddress& local) {
  if (away_) return hold_one(protocol, local);
  auto share = table_->join(protocol, local);
  if (!share) {
    // Another address has the entry.
    auto held = hold_one(protocol, local);
    if (!held || find(protocol, local)->place != Place::kEntry) return held;
    share = table_->join(protocol, local);
    if (share) ++find(protocol, local)->members;
    return {};
  }
  const Place place = *share == PortTable::Share::kElder ? Place::kEntry : Place::kMember;
  Use* const use = find(protocol, local);
  if (use == nullptr) {
    uses_[key_of(protocol, local)].push_back({local.ip, 1, place, 1});
    return {};
  }
  use->place = place;
  ++use->users;
  ++use->members;
  return {};
}

bool PortClaims::rejoin(uint8_t protocol, const Binding& local) {
  const bool own = rejoin_one(protocol, local.address);
  return own && (local.families == Families::kOwn || rejoin_one(protocol, local.over_v4()));
}

bool PortClaims::rejoin_one(uint8_t protocol, const SocketAddress& local) {
  Use* const use = find(protocol, local);
  if (away_ || use == nullptr || (use->place != Place::kEntry && use->place != Place::kMember)) {
    return false;
  }
  const auto share = table_->join(protocol, local);
  if (!share) return false;
  use->place = *share == PortTable::Share::kElder ? Place::kEntry : Place::kMember;
  ++use->members;
  return true;
}

void PortClaims::leave(uint8_t protocol, const Binding& local) {
  leave_one(protocol, local.address);
  if (local.families == Families::kBoth) leave_one(protocol, local.over_v4());
}

void PortClaims::leave_one(uint8_t protocol, const SocketAddress& local) {
  Use* const use = find(protocol, local);
  if (use == nullptr || use->members == 0 || --use->members != 0) return;
  table_->leave(protocol, local);
}

bool PortClaims::needs_flows(uint8_t protocol, const SocketAddress& local) const {
  const auto it = uses_.find(key_of(protocol, local));
  return it != uses_.end() && std::any_of(it->second.begin(), it->second.end(), [](const Use& one) {
           return one.place == Place::kMember;
         });
}

PortTable::Others PortClaims::others(uint8_t protocol, const Binding& local) const {
  PortTable::Others found = table_->others(protocol, local.address);
  if (local.families == Families::kBoth) {
    const PortTable::Others over_v4 = table_->others(protocol, local.over_v4());
    found.members |= over_v4.members;
    found.waiting |= over_v4.waiting;
  }
  return found;
}

Result<PortClaims::Place> PortClaims::claim(uint8_t protocol, const SocketAddress& local) {
  if (away_) return Place::kNowhere;
  auto claimed = table_->claim(protocol, local);
  if (claimed) return Place::kEntry;
  Use* const ours = in_entry(protocol, local);
  if (ours != nullptr && ours->ip.is_any()) return Place::kCovered;
  const bool alone = table_->others(protocol, local).members == 0;
  if (ours != nullptr && local.ip.is_any() && ours->place == Place::kEntry && alone) {
    table_->move(protocol, {ours->ip, local.port, 0}, local.ip);
    ours->place = Place::kCovered;
    return Place::kEntry;
  }
  if (claimed.error() != EEXIST) return Error{claimed.error()};
  // Full, or another process has it already: the kernel serves what cannot be steered.
  if (local.ip.is_any() || !table_->add_flow(from_anybody(protocol, local))) {
    return Error{EADDRINUSE};
  }
  return Place::kFlow;
}

PortClaims::Use* PortClaims::in_entry(uint8_t protocol, const SocketAddress& local) {
  const auto it = uses_.find(key_of(protocol, local));
  if (it == uses_.end()) return nullptr;
  const auto use = std::find_if(it->second.begin(), it->second.end(), [](const Use& one) {
    return one.place == Place::kEntry || one.place == Place::kMember;
  });
  return use == it->second.end() ? nullptr : &*use;
}

void PortClaims::release_use(uint8_t protocol, uint16_t port, Use& use) {
  const SocketAddress local{use.ip, port, 0};
  const Place place = std::exchange(use.place, Place::kNowhere);
  if (std::exchange(use.members, 0) != 0) table_->leave(protocol, local);
  if (place == Place::kFlow) table_->remove_flow(from_anybody(protocol, local));
  if (place != Place::kEntry && place != Place::kMember) return;
  const bool shared = table_->others(protocol, local).members != 0;
  // Those that a claim of all addresses has covered stand for themselves now.
  bool handed_on = false;
  for (Use& other : uses_[key_of(protocol, local)]) {
    if (other.place != Place::kCovered) continue;
    if (shared) {
      other.place = Place::kNowhere;  // the address is the others', too
    } else if (!handed_on && place == Place::kEntry) {
      table_->move(protocol, local, other.ip);
      other.place = Place::kEntry;
      handed_on = true;
    } else {
      const bool added = table_->add_flow(from_anybody(protocol, {other.ip, port, 0})).ok();
      other.place = added ? Place::kFlow : Place::kNowhere;
    }
  }
  // A member may have become the elder.
  if (!handed_on) table_->release(protocol, local);
}

void PortClaims::drop(uint8_t protocol, const Binding& local) {
  drop_one(protocol, local.address);
  if (local.families == Families::kBoth) drop_one(protocol, local.over_v4());
}

void PortClaims::drop_one(uint8_t protocol, const SocketAddress& local) {
  Use* const use = find(protocol, local);
  if (use == nullptr || --use->users != 0) return;
  release_use(protocol, local.port, *use);
  const auto it = uses_.find(key_of(protocol, local));
  it->second.erase(it->second.begin() + (use - it->second.data()));
  if (it->second.empty()) uses_.erase(it);
}

Result<void> PortClaims::move(uint8_t protocol, const Binding& from, const Binding& to) {
  const bool simple = from.families == Families::kOwn && to.families == Families::kOwn &&
                      from.address.ip.is_v4() == to.address.ip.is_v4();
  if (simple) return move_one(protocol, from.address, to.address);
  auto held = hold(protocol, to);
  if (held) drop(protocol, from);
  return held;
}

Result<void> PortClaims::move_one(uint8_t protocol, const SocketAddress& from,
                                  const SocketAddress& to) {
  Use* const use = find(protocol, from);
  const bool alone = use != nullptr && use->users == 1 && use->place == Place::kEntry &&
                     use->members == 0 && uses_[key_of(protocol, from)].size() == 1;
  if (alone && from.port == to.port) {
    table_->move(protocol, from, to.ip);
    use->ip = to.ip;
    return {};
  }
  auto held = hold_one(protocol, to);
  if (held) drop_one(protocol, from);
  return held;
}

void PortClaims::release(uint8_t protocol, const Binding& local) {
  Use* const use = find(protocol, local.address);
  if (use != nullptr) release_use(protocol, local.address.port, *use);
  if (local.families == Families::kBoth) release(protocol, local.over_v4());
}

Result<void> PortClaims::claim_again(uint8_t protocol, const Binding& local, bool shares_port) {
  auto held = shares_port ? join(protocol, local) : hold(protocol, local);
  if (held) drop(protocol, local);
  return held;
}

bool PortClaims::is_claimed(uint8_t protocol, const SocketAddress& local) const {
  const Use* const use = find(protocol, local);
  return use != nullptr && use->place != Place::kNowhere;
}

bool PortClaims::has_port(uint8_t protocol, const SocketAddress& local) const {
  const auto it = uses_.find(key_of(protocol, local));
  return it != uses_.end() && std::any_of(it->second.begin(), it->second.end(), [](const Use& one) {
           return one.place != Place::kNowhere;
         });
}

bool PortClaims::only_elsewhere(uint8_t protocol, const SocketAddress& local) const {
  const auto it = uses_.find(key_of(protocol, local));
  if (it == uses_.end()) return false;
  return std::none_of(it->second.begin(), it->second.end(),
                      [&](const Use& one) { return one.ip.is_any() || one.ip == local.ip; });
}

}  // namespace underpass
