// simulated_wire.cpp - frames on their way
#include "tests/support/simulated_wire.h"

#include <algorithm>
#include <cstring>

namespace underpass::test {

SimulatedPort::SimulatedPort(SimulatedWire& wire, int side, const MacAddress& mac)
    : wire_(wire), side_(side) {
  capabilities_.mac = mac;
}

SimulatedPort::~SimulatedPort() = default;

size_t SimulatedPort::receive(std::span<RxFrame> out) {
  auto& arriving = wire_.arriving_[side_];
  size_t count = 0;
  while (count < out.size() && !arriving.empty() &&
         arriving.begin()->first <= VirtualClock::now_ns) {
    const Bytes& frame = arriving.begin()->second;
    auto block = std::make_unique<uint8_t[]>(frame.size());
    std::copy(frame.begin(), frame.end(), block.get());
    const uint64_t id = next_id_++;
    out[count++] = {block.get(), static_cast<uint32_t>(frame.size()), id};
    lent_.emplace(id, std::move(block));
    arriving.erase(arriving.begin());
  }
  return count;
}

void SimulatedPort::release(std::span<const uint64_t> ids) {
  for (uint64_t id : ids) {
    if (lent_.erase(id) != 1) std::abort();  // given back twice, or never lent
  }
}

uint8_t* SimulatedPort::reserve() {
  if (!transmitting_) return nullptr;
  chunk_.resize(capabilities_.mtu_bytes + 14);
  return chunk_.data();
}

void SimulatedPort::submit(uint32_t length_bytes) {
  chunk_.resize(length_bytes);
  queued_.push_back(std::move(chunk_));
  chunk_ = {};
  ++sent_;
}

void SimulatedPort::flush() {
  if (!queued_.empty()) ++flushes_;
  for (Bytes& frame : queued_) wire_.send(side_, std::move(frame));
  queued_.clear();
}

bool SimulatedPort::readable() const {
  const auto& arriving = wire_.arriving_[side_];
  return !arriving.empty() && arriving.begin()->first <= VirtualClock::now_ns;
}

SimulatedWire::SimulatedWire(uint64_t seed) : random_(seed) {
  ports_[0] = std::make_unique<SimulatedPort>(*this, 0, MacAddress{2, 0, 0, 0, 0, 1});
  ports_[1] = std::make_unique<SimulatedPort>(*this, 1, MacAddress{2, 0, 0, 0, 0, 2});
}

bool SimulatedWire::happens(double probability) {
  return probability > 0 && std::uniform_real_distribution<>(0, 1)(random_) < probability;
}

void SimulatedWire::send(int from_side, Bytes frame) {
  if (tap && !tap(from_side, frame)) {
    ++lost_;
    return;
  }
  uint64_t& busy = busy_until_ns_[from_side];
  busy = std::max(busy, VirtualClock::now_ns) + faults.ns_per_byte * frame.size();
  const uint64_t arrival = busy + faults.delay_ns;
  const int to_side = 1 - from_side;
  if (happens(faults.duplication)) put(to_side, arrival + faults.reorder_ns, frame);
  if (happens(faults.loss)) {
    ++lost_;
    return;
  }
  const bool late = happens(faults.reordering);
  put(to_side, arrival + (late ? faults.reorder_ns : 0), std::move(frame));
}

void SimulatedWire::put(int to_side, uint64_t arrival_ns, Bytes frame) {
  if (arriving_[to_side].size() >= kRingFrames) {
    ++lost_;
    return;
  }
  arriving_[to_side].emplace(arrival_ns, std::move(frame));
}

uint64_t SimulatedWire::next_arrival_ns() const {
  uint64_t next = UINT64_MAX;
  for (const auto& arriving : arriving_) {
    if (!arriving.empty()) next = std::min(next, arriving.begin()->first);
  }
  return next;
}

}  // namespace underpass::test
