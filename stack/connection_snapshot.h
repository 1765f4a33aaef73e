// connection_snapshot.h - a connection as it is at one moment, outside of lwIP
//
// A value. What the peer sees does not change by its being taken.
#pragma once

#include <cstdint>
#include <vector>

#include "xdp/connection_state.h"

namespace underpass {

struct ConnectionSnapshot {
  ConnectionState state;
  std::vector<uint8_t> bytes;  // unread, in flight, unsent
};

}  // namespace underpass
