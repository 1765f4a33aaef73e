// destinations.h - next hop and MAC of each peer, and what waits for one
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "stack/host_view.h"

namespace underpass {

struct IpAddressHash {
  size_t operator()(const IpAddress& ip) const {
    uint64_t words[2];
    static_assert(sizeof words == sizeof ip.bytes);
    __builtin_memcpy(words, ip.bytes.data(), sizeof words);
    return (words[0] ^ (words[1] * 0x9e3779b97f4a7c15U)) * 0xff51afd7ed558ccdU;
  }
};

struct Destination {
  Route route;
  int error = 0;  // of the route
  uint64_t route_generation = 0;
  uint64_t neighbour_generation = UINT64_MAX;
  NeighbourState state = NeighbourState::kEmpty;
  MacAddress mac{};
  uint64_t used_ns = 0;
  // While an answer is waited for: when it was asked for, and the failures that were known then.
  // The kernel may say nothing between two failures, so their number tells an old from a new one.
  bool asking = false;
  uint64_t asked_ns = 0;
  uint32_t failures = 0;
  // Whole IP packets, the oldest first.
  std::vector<std::vector<uint8_t>> waiting;
};

// Guarded by the stack mutex.
class Destinations {
 public:
  explicit Destinations(HostView& host) : host_(&host) {}
  // Of another view nothing is known; what waits is dropped.
  void start_over(HostView& host);

  // The destination with its route and neighbour as they are now. Pointers live until
  // forget_unused().
  Destination& look_up(const IpAddress& ip, uint64_t now_ns);
  // Keeps a packet until the neighbour is known; of too many the oldest goes (RFC 1122 2.3.2.2).
  void enqueue(Destination& destination, std::vector<uint8_t> packet);
  bool anybody_waits() const { return waiting_ != 0; }
  // Calls send(ip, destination, packet) for what can go now, and failed(ip) where the kernel has
  // given up. What has no way over the interface any more is dropped without a word, as a
  // retransmission that finds none.
  template <class Send, class Failed>
  void retry(uint64_t now_ns, Send send, Failed failed);

 private:
  void refresh(const IpAddress& ip, Destination& destination, uint64_t now_ns);
  void drop_waiting(Destination& destination);
  void forget_unused(uint64_t now_ns);

  HostView* host_;
  std::unordered_map<IpAddress, Destination, IpAddressHash> table_;
  size_t waiting_ = 0;
  IpAddress last_ip_{};
  Destination* last_ = nullptr;
};

template <class Send, class Failed>
void Destinations::retry(uint64_t now_ns, Send send, Failed failed) {
  if (waiting_ == 0) return;
  std::vector<IpAddress> failures;
  for (auto& [ip, destination] : table_) {
    if (destination.waiting.empty()) continue;
    refresh(ip, destination, now_ns);
    if (destination.error != 0 || !destination.route.through_interface) {
      drop_waiting(destination);
    } else if (destination.state == NeighbourState::kReachable) {
      std::vector<std::vector<uint8_t>> packets = std::move(destination.waiting);
      destination.waiting.clear();
      waiting_ -= packets.size();
      for (const auto& packet : packets) send(ip, destination, packet);
    } else if (destination.state == NeighbourState::kFailed) {
      drop_waiting(destination);
      destination.asking = false;
      failures.push_back(ip);
    }
  }
  for (const IpAddress& ip : failures) failed(ip);
}

}  // namespace underpass
