// steer_case.h - a frame as data, and what the steering program has to do with it
#pragma once

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <cstdint>
#include <vector>

#include "base/address.h"
#include "tests/steer/steer_fixture.h"
#include "xdp/steer_abi.h"

namespace underpass::test {

constexpr const char* kOurs = "10.0.0.1";
constexpr const char* kPeer = "10.0.0.9";
constexpr uint16_t kClaimed = 7000;  // slot 1

// Of either family.
IpAddress address_of(const char* text);

struct FrameSpec {
  uint16_t ether_type = ETH_P_IP;
  const char* to = kOurs;
  const char* from = kPeer;
  uint8_t protocol = IPPROTO_TCP;
  uint16_t from_port = 50000;
  uint16_t to_port = kClaimed;
  uint16_t fragment = 0x4000;  // IPv4: the field, flags and offset; DF
  uint8_t header_words = 5;    // IPv4's
  uint8_t version = 4;
  uint32_t bytes = 0;  // of the frame; 0: what its headers need
  uint8_t tcp_flags = 0;
};
// The header is IPv6's where the type says so.
std::vector<uint8_t> frame_of(const FrameSpec& spec);

up_flow_key flow_key(const char* local, uint16_t local_port, const char* remote,
                     uint16_t remote_port);

struct Case {
  const char* name;
  FrameSpec frame;
  int verdict;
  up_steer_counter counter;
};

// Runs the program once: the verdict, that counter and no other.
void expect_case(SteerFixture& steer, const Case& one);

}  // namespace underpass::test
