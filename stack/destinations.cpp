// destinations.cpp - a cache of the kernel's decisions
#include "stack/destinations.h"

#include "stack/clock.h"

namespace underpass {

namespace {
constexpr size_t kWaitingPackets = 8;
constexpr size_t kMaxDestinations = 65536;
constexpr uint64_t kForgetAfterNs = 60 * kNsPerS;
// A used entry is looked up in the mirror this often, so that the broker sees that it is in use.
constexpr uint64_t kTouchEveryNs = kNsPerS;
// An unanswered request is repeated this often: the broker may have been restarted.
constexpr uint64_t kAskAgainNs = kNsPerS;
}  // namespace

Destination& Destinations::look_up(const IpAddress& ip, uint64_t now_ns) {
  Destination* found = last_;
  if (found == nullptr || last_ip_ != ip) {
    if (table_.size() >= kMaxDestinations) forget_unused(now_ns);
    found = &table_[ip];
    last_ = found;
    last_ip_ = ip;
  }
  const bool current = found->state == NeighbourState::kReachable &&
                       found->neighbour_generation == host_->neighbour_generation() &&
                       found->route_generation == host_->route_generation() &&
                       now_ns - found->used_ns < kTouchEveryNs;
  if (!current) refresh(ip, *found, now_ns);
  return *found;
}

void Destinations::refresh(const IpAddress& ip, Destination& destination, uint64_t now_ns) {
  const uint64_t routes = host_->route_generation();
  if (destination.route_generation != routes || destination.error != 0) {
    auto route = host_->route(ip, IpAddress::any(ip.family()));
    destination.error = route.error();
    if (route.ok()) destination.route = *route;
    destination.route_generation = routes;
  }
  if (destination.error != 0) return;
  destination.used_ns = now_ns;
  destination.neighbour_generation = host_->neighbour_generation();
  const NeighbourView view = host_->neighbour(destination.route.next_hop);
  destination.state = view.state;
  destination.mac = view.mac;
  if (view.state == NeighbourState::kReachable) {
    destination.asking = false;
    return;
  }
  // Who waits is told of a failure (retry()); whoever comes after that asks anew, as in the kernel.
  // Fewer failures than before: the entry has made room for another's, and counts from 0 again.
  const auto more = static_cast<int32_t>(view.failures - destination.failures);
  if (more < 0) destination.failures = view.failures;
  const bool failed = destination.asking && more > 0;
  if (failed && !destination.waiting.empty()) {
    destination.state = NeighbourState::kFailed;
    return;
  }
  destination.state = NeighbourState::kIncomplete;
  if (destination.asking && !failed && now_ns - destination.asked_ns < kAskAgainNs) return;
  destination.asking = true;
  destination.asked_ns = now_ns;
  destination.failures = view.failures;
  host_->resolve(destination.route.next_hop);
}

void Destinations::enqueue(Destination& destination, std::vector<uint8_t> packet) {
  if (destination.waiting.size() >= kWaitingPackets) {
    destination.waiting.erase(destination.waiting.begin());
    --waiting_;
  }
  destination.waiting.push_back(std::move(packet));
  ++waiting_;
}

void Destinations::drop_waiting(Destination& destination) {
  waiting_ -= destination.waiting.size();
  destination.waiting.clear();
}

void Destinations::start_over(HostView& host) {
  host_ = &host;
  table_.clear();
  waiting_ = 0;
  last_ = nullptr;
}

void Destinations::forget_unused(uint64_t now_ns) {
  last_ = nullptr;
  for (auto it = table_.begin(); it != table_.end();) {
    const bool unused = it->second.waiting.empty() && now_ns - it->second.used_ns > kForgetAfterNs;
    it = unused ? table_.erase(it) : std::next(it);
  }
}

}  // namespace underpass
