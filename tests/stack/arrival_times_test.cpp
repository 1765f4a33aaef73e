// arrival_times_test.cpp - which time belongs to which byte
#include "stack/arrival_times.h"

#include <criterion/criterion.h>

using namespace underpass;

Test(arrival_times, the_last_byte_says_when) {
  ArrivalTimes times;
  times.start(0);
  times.came(3, 100);
  times.came(5, 200);
  cr_expect_eq(times.of(1), 100);
  cr_expect_eq(times.of(3), 100);
  cr_expect_eq(times.of(4), 200);
  times.read(3);
  cr_expect_eq(times.of(5), 200);
  times.read(5);
  cr_expect_eq(times.of(1), 0);
}

Test(arrival_times, of_what_came_before_nobody_knows) {
  ArrivalTimes times;
  times.came(7, 100);
  cr_expect_eq(times.on(), false);
  times.start(4);
  times.came(2, 300);
  cr_expect_eq(times.of(4), 0);
  cr_expect_eq(times.of(5), 300);
  times.read(5);
  cr_expect_eq(times.of(1), 300);
}

Test(arrival_times, a_new_start_forgets) {
  ArrivalTimes times;
  times.start(0);
  times.came(2, 100);
  times.stop();
  times.start(1);
  cr_expect_eq(times.of(1), 0);
  cr_expect_eq(times.of(2), 0);
}
