// kernel_flows.h - flows of bypassed ports that are the kernel's: connections moved to it
//
// Each has an entry in the flow map, whoever claims the port, for as long as the kernel has the
// connection, TIME_WAIT included. The broker's thread alone uses it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "xdp/broker/steering.h"

namespace underpass {

class KernelFlows {
 public:
  // Throws Refusal.
  explicit KernelFlows(Steering& steering);

  // E2BIG: the flow map is full.
  Result<void> give(const Flow& flow);
  // Connections that the kernel has on ports which `slot` has claimed stay the kernel's.
  void keep_from(uint32_t slot);
  // Gives back those whose connection the kernel no longer has; looks at some each time.
  void review();
  bool empty() const { return flows_.empty(); }

 private:
  bool kernel_has(const Flow& flow) const;
  std::vector<Flow> all_of(uint8_t family) const;

  Steering& steering_;
  Fd diag_;
  std::deque<Flow> flows_;
};

}  // namespace underpass
