// steer_fixture.h - the steering program, loaded but attached to nothing
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "xdp/broker/address_map.h"
#include "xdp/broker_client.h"
#include "xdp/steer.skel.h"

namespace underpass::test {

constexpr uint32_t kSteerQueues = 2;
constexpr uint32_t kSteerSlots = 4;

// Ends the test as skipped where programs cannot be loaded.
void skip_without_bpf();

// An AF_XDP socket that an XSKMAP takes: it has a receive ring, and no interface.
Fd open_loose_xsk();

class SteerFixture {
 public:
  SteerFixture();

  void add_address(const char* text, bool here = true);
  void claim(uint8_t protocol, uint16_t port, uint32_t slot, int family = AF_INET);
  // Rings for the slot's rx queue 0, which is the one that test runs come from.
  void give_socket(uint32_t slot);
  void take_socket(uint32_t slot);
  void set_entry(uint8_t protocol, uint16_t port, uint64_t value, int family = AF_INET,
                 uint64_t members = 0);
  void add_flow(const up_flow_key& key, uint32_t slot);

  // Which slot the program has given a connection to; nothing: none that it remembers.
  std::optional<uint32_t> choice(const up_flow_key& key) const;
  size_t choices() const;

  // Runs the program once over the frame; returns its verdict.
  int run(const void* frame, size_t bytes);
  SteerCounters counters() const;

 private:
  std::unique_ptr<steer_bpf, void (*)(steer_bpf*)> program_;
  std::vector<OwnAddress> addresses_;
  Fd xsks_[kSteerSlots];
};

}  // namespace underpass::test
