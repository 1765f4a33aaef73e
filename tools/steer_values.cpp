// steer_values.cpp - asks the broker, which alone may read the XDP program's maps
#include "tools/steer_values.h"

#include "xdp/broker_client.h"
#include "xdp/steer_abi.h"

namespace underpass {

Result<std::vector<SteerValue>> steer_values(const std::string& iface) {
  const auto counters = BrokerClient::steer_counters(iface);
  if (!counters) return Error{counters.error()};
  return std::vector<SteerValue>{
#define X(name, help) {#name, help, (*counters)[UP_STEER_##name]},
      UP_STEER_COUNTERS(X)
#undef X
  };
}

}  // namespace underpass
