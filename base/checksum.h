// checksum.h - the checksum of IP, TCP, UDP and ICMP (RFC 1071)
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/address.h"

namespace underpass {

// The ones' complement sum of RFC 1071, folded to 16 bits, not inverted, in memory order.
uint16_t checksum(const void* data, size_t bytes, uint32_t initial = 0);
// Sum of the pseudo-header (RFC 9293 3.1; RFC 768), in memory order. `length` in bytes.
uint32_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                           uint32_t length);

}  // namespace underpass
