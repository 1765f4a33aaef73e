// timer_wheel_test.cpp - timers fire at their tick, whatever was asked of them before
#include "stack/timer_wheel.h"

#include <criterion/criterion.h>

#include <map>
#include <random>
#include <vector>

using namespace underpass;

namespace {

std::vector<WheelTimer*> fired(TimerWheel& wheel, uint64_t tick) {
  std::vector<WheelTimer*> out;
  wheel.advance(tick, [&](WheelTimer& timer) { out.push_back(&timer); });
  return out;
}

}  // namespace

TestSuite(timer_wheel);

Test(timer_wheel, fires_at_its_tick_and_once) {
  TimerWheel wheel;
  WheelTimer timer;
  wheel.schedule(timer, 10);
  cr_expect_eq(wheel.next_tick(), 10);
  cr_expect(fired(wheel, 9).empty());
  cr_expect_eq(fired(wheel, 10).size(), 1);
  cr_expect(fired(wheel, 100).empty());
  cr_expect_eq(wheel.next_tick(), WheelTimer::kNever);
}

Test(timer_wheel, a_timer_put_off_does_not_fire_early) {
  TimerWheel wheel;
  WheelTimer timer;
  wheel.schedule(timer, 5);
  wheel.schedule(timer, 50);
  cr_expect(fired(wheel, 49).empty());
  cr_expect_eq(wheel.next_tick(), 50);
  cr_expect_eq(fired(wheel, 50).size(), 1);
}

Test(timer_wheel, a_timer_moved_forward_fires_then) {
  TimerWheel wheel;
  WheelTimer timer;
  wheel.schedule(timer, 50);
  wheel.schedule(timer, 5);
  cr_expect_eq(wheel.next_tick(), 5);
  cr_expect_eq(fired(wheel, 5).size(), 1);
  cr_expect(fired(wheel, 500).empty());
}

Test(timer_wheel, never_stops_it) {
  TimerWheel wheel;
  WheelTimer timer;
  wheel.schedule(timer, 5);
  wheel.schedule(timer, WheelTimer::kNever);
  cr_expect(fired(wheel, 1000).empty());
  cr_expect_not(timer.scheduled());
}

Test(timer_wheel, times_beyond_its_circumference_are_kept) {
  TimerWheel wheel;
  WheelTimer timer;
  wheel.schedule(timer, 100'000);
  cr_expect(fired(wheel, 99'999).empty());
  cr_expect_eq(fired(wheel, 100'000).size(), 1);
}

Test(timer_wheel, a_tick_that_has_passed_is_the_next) {
  TimerWheel wheel;
  WheelTimer timer;
  fired(wheel, 1000);
  wheel.schedule(timer, 3);
  cr_expect_eq(wheel.next_tick(), 1001);
  cr_expect_eq(fired(wheel, 1001).size(), 1);
}

Test(timer_wheel, firing_may_schedule_and_cancel) {
  TimerWheel wheel;
  WheelTimer first;
  WheelTimer second;
  wheel.schedule(first, 5);
  wheel.schedule(second, 5);
  size_t count = 0;
  wheel.advance(5, [&](WheelTimer& timer) {
    ++count;
    wheel.cancel(&timer == &first ? second : first);
    wheel.schedule(timer, 7);
  });
  cr_expect_eq(count, 1);
  cr_expect_eq(fired(wheel, 7).size(), 1);
}

Test(timer_wheel, agrees_with_a_list_over_many_random_steps) {
  std::mt19937 random(5);
  TimerWheel wheel;
  std::vector<WheelTimer> timers(50);
  std::map<WheelTimer*, uint64_t> expected;
  uint64_t now = 0;
  for (int step = 0; step < 20'000; ++step) {
    WheelTimer& timer = timers[random() % timers.size()];
    switch (random() % 4) {
      case 0:
      case 1: {
        const uint64_t due = now + 1 + random() % (random() % 8 == 0 ? 3000 : 100);
        wheel.schedule(timer, due);
        expected[&timer] = due;
        break;
      }
      case 2:
        wheel.cancel(timer);
        expected.erase(&timer);
        break;
      default:
        now += random() % 40;
        for (WheelTimer* one : fired(wheel, now)) {
          cr_assert(expected.count(one) == 1 && expected[one] <= now);
          expected.erase(one);
        }
        for (const auto& [one, due] : expected) cr_assert_gt(due, now);
    }
  }
}
