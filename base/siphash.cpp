// siphash.cpp - as in the paper's appendix
#include "base/siphash.h"

#include <bit>
#include <cstring>

#include "base/sys.h"

namespace underpass {

namespace {

struct SipState {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

}  // namespace

SipKey random_sip_key() {
  SipKey key{};
  auto* at = reinterpret_cast<char*>(&key);
  size_t have = 0;
  while (have < sizeof key) {
    const long got =
        sys::call(SYS_getrandom, sys::arg(at + have), static_cast<long>(sizeof key - have), 0);
    if (got > 0) have += static_cast<size_t>(got);
  }
  return key;
}

uint64_t siphash(const SipKey& key, const void* data, size_t bytes) {
  SipState s{key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d, key.k0 ^ 0x6c7967656e657261,
             key.k1 ^ 0x7465646279746573};
  const auto* at = static_cast<const uint8_t*>(data);
  const uint64_t length_byte = uint64_t{bytes} << 56;
  for (; bytes >= 8; bytes -= 8, at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    s.absorb(word);
  }
  uint64_t last = 0;
  std::memcpy(&last, at, bytes);
  s.absorb(last | length_byte);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

}  // namespace underpass
