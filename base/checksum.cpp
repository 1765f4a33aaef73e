// checksum.cpp - sums of 32 bits, folded
#include "base/checksum.h"

#include <arpa/inet.h>

#include <cstring>

namespace underpass {

namespace {

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

uint32_t fold(uint64_t sum) {
  sum = (sum & 0xffffffffU) + (sum >> 32);
  sum = (sum & 0xffffffffU) + (sum >> 32);
  auto half = static_cast<uint32_t>(sum);
  half = (half & 0xffffU) + (half >> 16);
  return (half & 0xffffU) + (half >> 16);
}

}  // namespace

uint16_t checksum(const void* data, size_t bytes, uint32_t initial) {
  const auto* at = static_cast<const uint8_t*>(data);
  // Additions of 32 bits with the carries in the upper halves, in the vectors that every x86-64
  // has.
  using Vector = uint64_t __attribute__((vector_size(16)));
  Vector even{};
  Vector odd{};
  while (bytes >= 2 * sizeof(Vector)) {
    const auto a = load<Vector>(at);
    const auto b = load<Vector>(at + sizeof(Vector));
    even += (a & 0xffffffffU) + (a >> 32);
    odd += (b & 0xffffffffU) + (b >> 32);
    at += 2 * sizeof(Vector);
    bytes -= 2 * sizeof(Vector);
  }
  even += odd;
  uint64_t sum = initial + even[0] + even[1];
  while (bytes >= 2) {
    sum += load<uint16_t>(at);
    at += 2;
    bytes -= 2;
  }
  if (bytes != 0) {
    uint8_t last[2] = {*at, 0};
    sum += load<uint16_t>(last);
  }
  return static_cast<uint16_t>(fold(sum));
}

uint32_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                           uint32_t length) {
  uint64_t sum = htons(protocol);
  sum += htons(static_cast<uint16_t>(length));
  if (source.is_v4()) {
    sum += source.v4();
    sum += destination.v4();
  } else {
    sum += checksum(source.bytes.data(), source.bytes.size());
    sum += checksum(destination.bytes.data(), destination.bytes.size());
  }
  return fold(sum);
}

}  // namespace underpass
