// steer_values.h - the XDP program's counters, as the tools print them
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace underpass {

struct SteerValue {
  std::string name;
  std::string help;
  uint64_t value;
};

// In the order of the XDP program's verdicts. The errno is the broker's.
Result<std::vector<SteerValue>> steer_values(const std::string& iface);

}  // namespace underpass
