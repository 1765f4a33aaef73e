// timer_wheel.h - timers by the tick they are due at; setting one costs the same however many run
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace underpass {

// Embedded in what is timed. Linked while it is scheduled.
struct WheelTimer {
  static constexpr uint64_t kNever = UINT64_MAX;

  bool scheduled() const { return next != nullptr; }

  WheelTimer* next = nullptr;
  WheelTimer* previous = nullptr;
  uint64_t due_tick = kNever;
  uint64_t slot_tick = kNever;  // where it hangs, never later than it is due
};

// A timer that moves back stays where it hangs until that slot comes up: retransmission timers are
// set again with every segment, and hardly ever fire. Needs the stack mutex.
class TimerWheel {
 public:
  TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // kNever stops it lazily. Ticks that have passed count as the next one.
  void schedule(WheelTimer& timer, uint64_t due_tick);
  void cancel(WheelTimer& timer);
  // Unlinks every timer due at `tick` or before and calls fire(WheelTimer&), which may schedule and
  // cancel any.
  template <class Fire>
  void advance(uint64_t tick, Fire fire);
  // No timer is due before it; kNever: none runs. It may be early by what schedule() put off.
  uint64_t next_tick() const;

 private:
  static constexpr uint64_t kSlots = 512;
  static constexpr uint64_t kWords = kSlots / 64;

  void link(WheelTimer& timer);
  WheelTimer& head(uint64_t tick) { return heads_[tick % kSlots]; }

  std::array<WheelTimer, kSlots> heads_;  // circular lists
  std::array<uint64_t, kWords> occupied_{};
  uint64_t now_tick_ = 0;
};

template <class Fire>
void TimerWheel::advance(uint64_t tick, Fire fire) {
  for (;;) {
    const uint64_t next = next_tick();
    if (next > tick) break;
    now_tick_ = next;
    WheelTimer& list = head(next);
    while (list.next != &list) {
      WheelTimer& timer = *list.next;
      const uint64_t due = timer.due_tick;
      cancel(timer);
      if (due == WheelTimer::kNever) continue;
      if (due > next) {
        schedule(timer, due);
      } else {
        fire(timer);
      }
    }
  }
  if (tick > now_tick_) now_tick_ = tick;
}

}  // namespace underpass
