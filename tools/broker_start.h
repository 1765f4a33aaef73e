// broker_start.h - starts underpassd as a daemon and hears whether it is ready
#pragma once

#include <string>

namespace underpass {

struct BrokerStart {
  std::string broker;  // path of underpassd
  std::string iface;
  std::string log_file;  // appended to; empty: /dev/null
};

// Starts the broker in a session of its own, not as our child: a program that waits for its
// children must not see it. Waits, for a bounded time, for the one line that it writes to the
// descriptor of --ready-fd. Returns "" when that is "ok", else the reason on one line. On time-out
// the broker is killed.
std::string start_broker(const BrokerStart& start);

}  // namespace underpass
