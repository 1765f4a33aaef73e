// tcp_options.cpp - reads timestamps (RFC 7323) and selective acknowledgements (RFC 2018)
#include "stack/tcp_options.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include <cstring>

namespace underpass {

namespace {

uint32_t load_be32(const uint8_t* at) {
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return ntohl(value);
}

void read_sacks(const uint8_t* at, uint32_t bytes, SegmentOptions& out) {
  constexpr uint32_t kBlockBytes = 8;
  while (bytes >= kBlockBytes && out.sack_count < std::size(out.sacks)) {
    out.sacks[out.sack_count++] = {load_be32(at), load_be32(at + 4)};
    at += kBlockBytes;
    bytes -= kBlockBytes;
  }
}

}  // namespace

SegmentOptions parse_tcp_options(const Packet& packet) {
  SegmentOptions out;
  const uint8_t* at = packet.transport + kTcpHeaderBytes;
  const uint8_t* const end = packet.transport + (packet.transport[12] >> 4U) * 4U;
  while (at < end && *at != TCPOPT_EOL) {
    if (*at == TCPOPT_NOP) {
      ++at;
      continue;
    }
    if (end - at < 2 || at[1] < 2 || at[1] > end - at) break;
    if (at[0] == TCPOPT_TIMESTAMP && at[1] == TCPOLEN_TIMESTAMP) {
      out.has_timestamp = true;
      out.timestamp = load_be32(at + 2);
      out.echo = load_be32(at + 6);
    } else if (at[0] == TCPOPT_SACK) {
      read_sacks(at + 2, at[1] - 2U, out);
    }
    at += at[1];
  }
  return out;
}

}  // namespace underpass
