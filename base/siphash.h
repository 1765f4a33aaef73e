// siphash.h - SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash that an attacker cannot steer
#pragma once

#include <cstddef>
#include <cstdint>

namespace underpass {

struct SipKey {
  uint64_t k0;
  uint64_t k1;
};

// From getrandom(2).
SipKey random_sip_key();
uint64_t siphash(const SipKey& key, const void* data, size_t bytes);

}  // namespace underpass
