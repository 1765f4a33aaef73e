// address_map.cpp - up_addresses of steer_abi.h
#include "xdp/broker/address_map.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "xdp/steer_abi.h"

namespace underpass {

namespace {

std::vector<IpAddress> no_longer_in(int map_fd, std::span<const OwnAddress> addresses) {
  std::vector<IpAddress> stale;
  up_address_key key;
  void* before = nullptr;
  while (bpf_map_get_next_key(map_fd, before, &key) == 0) {
    IpAddress known;
    std::memcpy(known.bytes.data(), key.ip, sizeof key.ip);
    const bool stays = std::any_of(addresses.begin(), addresses.end(),
                                   [&](const OwnAddress& one) { return one.ip == known; });
    if (!stays) stale.push_back(known);
    before = &key;
  }
  return stale;
}

}  // namespace

Result<void> set_own_addresses(int map_fd, std::span<const OwnAddress> addresses) {
  for (const IpAddress& ip : no_longer_in(map_fd, addresses)) {
    bpf_map_delete_elem(map_fd, ip.bytes.data());
  }
  up_address value{};
  for (const OwnAddress& own : addresses) {
    const unsigned bit = UP_ADDRESS_BIT(own.ip.bytes);
    value.own[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  for (const OwnAddress& own : addresses) {
    value.where = own.here ? UP_ADDRESS_HERE : UP_ADDRESS_ELSEWHERE;
    if (bpf_map_update_elem(map_fd, own.ip.bytes.data(), &value, BPF_ANY) != 0) return Error{errno};
  }
  return {};
}

bool is_own_address(int map_fd, const IpAddress& ip) {
  up_address value;
  return bpf_map_lookup_elem(map_fd, ip.bytes.data(), &value) == 0;
}

}  // namespace underpass
