// simulated_wire.h - two frame ports joined by a wire that loses, repeats, reorders and delays
//
// Everything follows from the seed and from VirtualClock: a failing run can be repeated.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/virtual_clock.h"
#include "xdp/frame_port.h"

namespace underpass::test {

using Bytes = std::vector<uint8_t>;

struct WireFaults {
  double loss = 0;         // probability of each
  double duplication = 0;  // the copy comes after `reorder_ns`
  double reordering = 0;   // the frame is late by `reorder_ns`
  uint64_t delay_ns = 50'000;
  uint64_t reorder_ns = 300'000;
  uint64_t ns_per_byte = 0;  // 0: as fast as one likes
};

class SimulatedWire;

// A received frame is a heap block of its own length that release() frees: a sanitizer sees every
// read past its end and every use after its release.
class SimulatedPort : public FramePort {
 public:
  SimulatedPort(SimulatedWire& wire, int side, const MacAddress& mac);
  ~SimulatedPort() override;

  const PortCapabilities& capabilities() const override { return capabilities_; }
  size_t receive(std::span<RxFrame> out) override;
  void release(std::span<const uint64_t> ids) override;
  uint8_t* reserve() override;
  void submit(uint32_t length_bytes) override;
  void flush() override;
  bool readable() const override;
  std::span<const int> poll_fds() const override { return {}; }

  PortCapabilities& settings() { return capabilities_; }
  // Frames lent to the stack and not yet given back.
  size_t lent_frames() const { return lent_.size(); }
  // While false, reserve() has no chunk.
  void set_transmitting(bool on) { transmitting_ = on; }
  size_t sent_frames() const { return sent_; }
  size_t flushes_with_frames() const { return flushes_; }

 private:
  SimulatedWire& wire_;
  const int side_;
  PortCapabilities capabilities_;
  std::map<uint64_t, std::unique_ptr<uint8_t[]>> lent_;
  uint64_t next_id_ = 1;
  Bytes chunk_;
  std::vector<Bytes> queued_;
  bool transmitting_ = true;
  size_t sent_ = 0;
  size_t flushes_ = 0;
};

class SimulatedWire {
 public:
  explicit SimulatedWire(uint64_t seed = 1);

  SimulatedPort& port(int side) { return *ports_[side]; }
  WireFaults faults;
  // Sees each frame of `side` as it is sent, and may change it. False: the frame is lost.
  std::function<bool(int side, Bytes& frame)> tap;
  void send(int from_side, Bytes frame);
  // When the next frame arrives; UINT64_MAX: the wire is empty.
  uint64_t next_arrival_ns() const;
  size_t lost_frames() const { return lost_; }

 private:
  friend class SimulatedPort;
  void put(int to_side, uint64_t arrival_ns, Bytes frame);
  bool happens(double probability);

  // The rings of a real port hold this many; more are lost.
  static constexpr size_t kRingFrames = 2048;

  std::mt19937_64 random_;
  std::multimap<uint64_t, Bytes> arriving_[2];
  uint64_t busy_until_ns_[2] = {0, 0};
  size_t lost_ = 0;
  std::unique_ptr<SimulatedPort> ports_[2];
};

}  // namespace underpass::test
