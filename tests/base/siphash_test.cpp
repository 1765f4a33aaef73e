// siphash_test.cpp - the vectors of the paper's reference implementation
#include "base/siphash.h"

#include <criterion/criterion.h>

using namespace underpass;

namespace {

// Key 00 01 .. 0f; message 00 01 .. n-1.
constexpr SipKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

uint64_t of_length(size_t bytes) {
  uint8_t message[64];
  for (uint8_t i = 0; i < sizeof message; ++i) message[i] = i;
  return siphash(kKey, message, bytes);
}

}  // namespace

Test(siphash, known_answers) {
  cr_assert_eq(of_length(0), 0x726fdb47dd0e0e31);
  cr_assert_eq(of_length(1), 0x74f839c593dc67fd);
  cr_assert_eq(of_length(7), 0xab0200f58b01d137);
  cr_assert_eq(of_length(8), 0x93f5f5799a932462);
  cr_assert_eq(of_length(15), 0xa129ca6149be45e5);
}

Test(siphash, keys_differ) {
  const SipKey a = random_sip_key();
  const SipKey b = random_sip_key();
  cr_assert(a.k0 != b.k0 && a.k1 != b.k1);
  cr_assert_neq(siphash(a, "x", 1), siphash(b, "x", 1));
}
