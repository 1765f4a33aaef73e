// broker_client_test.cpp - whom a client believes
#include "xdp/broker_client.h"

#include <criterion/criterion.h>

using namespace underpass;

Test(broker_client, root_and_the_user_himself_may_be_the_broker_and_nobody_else) {
  constexpr uid_t kRoot = 0, kUser = 1000, kOther = 1001;
  cr_assert(may_be_broker(kRoot, kRoot));
  cr_assert(may_be_broker(kRoot, kUser));
  cr_assert(may_be_broker(kUser, kUser));
  cr_assert(!may_be_broker(kUser, kRoot));
  cr_assert(!may_be_broker(kOther, kUser));
}

// What a user of another user namespace looks like that has no number in ours.
Test(broker_client, user_without_a_number_is_nobodys_own) {
  constexpr uid_t kOverflow = 65534;
  cr_assert(!may_be_broker(kOverflow, kOverflow));
  cr_assert(may_be_broker(0, kOverflow));
}
