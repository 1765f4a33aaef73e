// timer_wheel.cpp - slots, and a bit for each that has somebody
#include "stack/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace underpass {

TimerWheel::TimerWheel() {
  for (WheelTimer& list : heads_) list.next = list.previous = &list;
}

void TimerWheel::link(WheelTimer& timer) {
  // Further than the wheel is round: it is looked at again when it has come up.
  timer.slot_tick = std::clamp(timer.due_tick, now_tick_ + 1, now_tick_ + kSlots - 1);
  WheelTimer& list = head(timer.slot_tick);
  timer.previous = list.previous;
  timer.next = &list;
  list.previous->next = &timer;
  list.previous = &timer;
  const uint64_t slot = timer.slot_tick % kSlots;
  occupied_[slot / 64] |= uint64_t{1} << (slot % 64);
}

void TimerWheel::schedule(WheelTimer& timer, uint64_t due_tick) {
  timer.due_tick = due_tick;
  if (timer.scheduled()) {
    if (timer.slot_tick <= due_tick) return;
    cancel(timer);
    timer.due_tick = due_tick;
  }
  if (due_tick != WheelTimer::kNever) link(timer);
}

void TimerWheel::cancel(WheelTimer& timer) {
  timer.due_tick = WheelTimer::kNever;
  if (!timer.scheduled()) return;
  timer.previous->next = timer.next;
  timer.next->previous = timer.previous;
  timer.next = timer.previous = nullptr;
  const uint64_t slot = timer.slot_tick % kSlots;
  if (heads_[slot].next == &heads_[slot]) occupied_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
}

uint64_t TimerWheel::next_tick() const {
  const uint64_t first = (now_tick_ + 1) % kSlots;
  for (uint64_t i = 0; i <= kWords; ++i) {
    const uint64_t word = (first / 64 + i) % kWords;
    uint64_t bits = occupied_[word];
    // The first word is looked at twice: its upper part now, its lower part after the round.
    const uint64_t low = (uint64_t{1} << (first % 64)) - 1;
    if (i == 0) bits &= ~low;
    if (i == kWords) bits &= low;
    if (bits == 0) continue;
    const uint64_t slot = word * 64 + static_cast<uint64_t>(std::countr_zero(bits));
    return now_tick_ + 1 + (slot + kSlots - first) % kSlots;
  }
  return WheelTimer::kNever;
}

}  // namespace underpass
