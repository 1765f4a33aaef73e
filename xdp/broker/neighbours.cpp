// neighbours.cpp - NUD states (rtnetlink(7)) to what a sender needs to know
#include "xdp/broker/neighbours.h"

#include <linux/neighbour.h>

#include <cstring>
#include <iterator>

namespace underpass {

namespace {

// A client looks at an entry at least once a second while it uses it (stack/destinations.cpp).
constexpr uint32_t kInUseS = 5;
// Addresses that are followed: a program that asks for all of a network must not fill our memory.
constexpr size_t kMaxKnown = 16 * kMaxNeighbours;

// The kernel knows where it is, or is sure enough to send there.
constexpr uint16_t kValid =
    NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;

NeighbourState state_of(uint16_t nud, const MacAddress& mac) {
  if (nud == NUD_NONE) return NeighbourState::kEmpty;
  if ((nud & NUD_FAILED) != 0) return NeighbourState::kFailed;
  if ((nud & NUD_INCOMPLETE) != 0) return NeighbourState::kIncomplete;
  return mac == MacAddress{} ? NeighbourState::kEmpty : NeighbourState::kReachable;
}

// Nothing was found out about the neighbour: the kernel was told to forget it (it fails by itself
// only while it asks or probes), or asks anew.
bool says_nothing(uint16_t before, uint16_t now) {
  if (now == NUD_NONE || (now & NUD_INCOMPLETE) != 0) return true;
  return (now & NUD_FAILED) != 0 && (before & kValid & ~NUD_PROBE) != 0;
}

IpAddress ip_of(const std::string& key) {
  IpAddress ip;
  std::memcpy(ip.bytes.data(), key.data(), ip.bytes.size());
  return ip;
}

std::string key_of(const IpAddress& ip) {
  return {reinterpret_cast<const char*>(ip.bytes.data()), ip.bytes.size()};
}

}  // namespace

// As find_neighbour(), in our own copy.
std::optional<uint32_t> Neighbours::find(const IpAddress& ip) const {
  for (uint32_t step = 0; step < kNeighbourWindow; ++step) {
    const uint32_t index = neighbour_index(ip, step);
    if (!shown_[index]) return std::nullopt;
    if (shown_[index]->ip == ip) return index;
  }
  return std::nullopt;
}

// Its own entry, or the first that is unused, or the one used least recently.
uint32_t Neighbours::entry_for(const IpAddress& ip) const {
  if (const auto own = find(ip)) return *own;
  uint32_t oldest = neighbour_index(ip, 0);
  for (uint32_t step = 0; step < kNeighbourWindow; ++step) {
    const uint32_t index = neighbour_index(ip, step);
    if (!shown_[index] || shown_[index]->state == NeighbourState::kEmpty) return index;
    if (control_.neighbours[index].used_s < control_.neighbours[oldest].used_s) oldest = index;
  }
  return oldest;
}

bool Neighbours::in_use(const Known& known, std::optional<uint32_t> entry, uint32_t now_s) const {
  const auto recent = [now_s](uint32_t then_s) { return then_s != 0 && now_s - then_s <= kInUseS; };
  return recent(known.wanted_s) ||
         (entry && recent(control_.neighbours[*entry].used_s.load(std::memory_order_relaxed)));
}

bool Neighbours::show(const IpAddress& ip, NeighbourState state, const MacAddress& mac) {
  const auto own = find(ip);
  const bool has_entry = own.has_value();
  const NeighbourView before = own ? *shown_[*own] : NeighbourView{};
  const bool failed = state == NeighbourState::kFailed;
  if (!has_entry && state == NeighbourState::kEmpty) return false;
  // The kernel does not say when it asks again, so a second failure follows the first: that it is
  // another one is news to who waits for it.
  if (has_entry && before.state == state && before.mac == mac && !failed) return false;
  const uint32_t failures = has_entry ? before.failures : 0;
  const NeighbourView after{ip, mac, state, failures + (failed ? 1 : 0)};
  const uint32_t index = entry_for(ip);
  if (!has_entry) control_.neighbours[index].used_s = 0;
  shown_[index] = after;
  write_neighbour(control_.neighbours[index], after);
  control_.neighbour_generation.fetch_add(1, std::memory_order_release);
  return true;
}

Neighbours::Outcome Neighbours::update(const Event& event, uint32_t now_s) {
  const IpAddress& ip = event.ip;
  if (ip.is_multicast() || ip.is_broadcast() || ip.is_any()) return {};
  Known& known = known_[key_of(ip)];
  const auto entry = find(ip);
  const bool used = in_use(known, entry, now_s);
  const bool shown = entry && shown_[*entry]->state == NeighbourState::kReachable;
  Outcome outcome;
  outcome.ask = used && event.nud == NUD_NONE;
  if (!used || !shown || !says_nothing(known.nud, event.nud)) {
    outcome.visible = show(ip, state_of(event.nud, event.mac), event.mac);
  }
  known.nud = event.nud;
  known.dump = dump_;
  if (event.nud == NUD_NONE && !used) known_.erase(key_of(ip));
  return outcome;
}

bool Neighbours::want(const IpAddress& ip, uint32_t now_s) {
  const std::string key = key_of(ip);
  if (known_.size() >= kMaxKnown && known_.count(key) == 0) return false;
  known_[key].wanted_s = now_s;
  return true;
}

void Neighbours::begin_dump() { ++dump_; }

std::vector<IpAddress> Neighbours::end_dump(uint32_t now_s) {
  std::vector<IpAddress> gone;
  for (const auto& [key, known] : known_) {
    if (known.dump != dump_ && known.nud != NUD_NONE) gone.push_back(ip_of(key));
  }
  std::vector<IpAddress> ask;
  for (const IpAddress& ip : gone) {
    if (update({ip, NUD_NONE, {}}, now_s).ask) ask.push_back(ip);
  }
  return ask;
}

std::vector<IpAddress> Neighbours::refresh(uint32_t now_s) {
  std::vector<IpAddress> ask;
  for (auto at = known_.begin(); at != known_.end();) {
    const IpAddress ip = ip_of(at->first);
    const uint16_t nud = at->second.nud;
    const bool used = in_use(at->second, find(ip), now_s);
    if (used && (nud == NUD_NONE || (nud & NUD_STALE) != 0)) ask.push_back(ip);
    const bool forgotten = nud == NUD_NONE && !used;
    if (forgotten) show(ip, NeighbourState::kEmpty, {});
    at = forgotten ? known_.erase(at) : std::next(at);
  }
  return ask;
}

}  // namespace underpass
