// tcp_options.h - the options of a segment that our side of TCP acts on
#pragma once

#include <cstdint>

#include "stack/packet.h"

namespace underpass {

struct SackBlock {
  uint32_t left;
  uint32_t right;
};

struct SegmentOptions {
  bool has_timestamp = false;
  uint32_t timestamp = 0;  // TSval
  uint32_t echo = 0;       // TSecr
  uint8_t sack_count = 0;
  SackBlock sacks[4];
};

// Stops at the first malformed option, as tcp_parse_options() in net/ipv4/tcp_input.c.
SegmentOptions parse_tcp_options(const Packet& packet);

}  // namespace underpass
