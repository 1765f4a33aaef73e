// neighbour_table_test.cpp - the mirror's entries, and the broker's half of it
#include "xdp/neighbour_table.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/neighbour.h>

#include <cstring>

#include "tests/xdp/fake_queue.h"
#include "xdp/broker/neighbours.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr MacAddress kMac{2, 0, 0, 0, 0, 1};
constexpr uint32_t kNow = 1000;  // seconds

IpAddress ip(uint32_t number) { return IpAddress::from_v4(htonl(0x0a000000 + number)); }

NeighbourState state_of(FakeControl& control, const IpAddress& address) {
  NeighbourView view;
  return find_neighbour(control.get(), address, view) == nullptr ? NeighbourState::kEmpty
                                                                 : view.state;
}

}  // namespace

Test(neighbour_table, address_that_was_never_seen_is_not_found) {
  FakeControl control(1);
  NeighbourView view;
  cr_assert_null(find_neighbour(control.get(), ip(1), view));
}

Test(neighbour_table, entry_is_found_with_what_was_written) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  cr_assert(neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow).visible);
  NeighbourView view;
  cr_assert_not_null(find_neighbour(control.get(), ip(1), view));
  cr_assert(view.ip == ip(1) && view.mac == kMac);
  cr_assert(view.state == NeighbourState::kReachable);
}

Test(neighbour_table, states_of_the_kernel_are_what_a_sender_needs) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_INCOMPLETE, {}}, kNow);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kIncomplete);
  for (const int nud : {NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_PERMANENT}) {
    neighbours.update({ip(1), static_cast<uint16_t>(nud), kMac}, kNow);
    cr_assert(state_of(control, ip(1)) == NeighbourState::kReachable);
  }
  neighbours.update({ip(1), NUD_FAILED, {}}, kNow);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kFailed);
  neighbours.update({ip(1), NUD_NONE, {}}, kNow);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kEmpty);
}

Test(neighbour_table, only_a_visible_change_is_told) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  cr_assert(neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow).visible);
  const uint64_t generation = control->neighbour_generation;
  cr_assert(!neighbours.update({ip(1), NUD_STALE, kMac}, kNow).visible);
  cr_assert_eq(control->neighbour_generation, generation);
  cr_assert(neighbours.update({ip(1), NUD_REACHABLE, MacAddress{2, 0, 0, 0, 0, 2}}, kNow).visible);
  cr_assert_neq(control->neighbour_generation, generation);
  cr_assert(!neighbours.update({ip(2), NUD_NONE, {}}, kNow).visible, "never known, now deleted");
}

// Seen as a connect that never ended: the address had failed before, so the second failure was no
// change.
Test(neighbour_table, second_failure_is_told) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_FAILED, {}}, kNow);
  const uint64_t generation = control->neighbour_generation;
  neighbours.want(ip(1), kNow);
  cr_assert(neighbours.update({ip(1), NUD_FAILED, {}}, kNow).visible);
  cr_assert_gt(control->neighbour_generation, generation);
  NeighbourView view;
  cr_assert_not_null(find_neighbour(control.get(), ip(1), view));
  cr_assert(view.state == NeighbourState::kFailed);
  cr_assert_eq(view.failures, 2);
}

Test(neighbour_table, wanted_again_a_known_address_stays_known) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_STALE, kMac}, kNow);
  neighbours.want(ip(1), kNow);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kReachable);
}

Test(neighbour_table, groups_are_no_neighbours) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  cr_assert(
      !neighbours.update({IpAddress::from_v4(htonl(0xe00000fb)), NUD_NOARP, kMac}, kNow).visible);
}

// A deleted entry must not end the search for those that were put behind it.
Test(neighbour_table, hundreds_are_found_also_when_others_were_deleted) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  constexpr uint32_t kCount = 500;
  for (uint32_t i = 1; i <= kCount; ++i) neighbours.update({ip(i), NUD_REACHABLE, kMac}, kNow);
  for (uint32_t i = 1; i <= kCount; i += 2) neighbours.update({ip(i), NUD_NONE, {}}, kNow);
  for (uint32_t i = 1; i <= kCount; ++i) {
    const bool kept = i % 2 == 0;
    cr_assert_eq(state_of(control, ip(i)) == NeighbourState::kReachable, kept, "%u", i);
  }
}

Test(neighbour_table, full_window_makes_room_for_the_newest) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  for (uint32_t i = 1; i <= 3 * kMaxNeighbours; ++i) {
    neighbours.update({ip(i), NUD_REACHABLE, kMac}, kNow);
    cr_assert(state_of(control, ip(i)) == NeighbourState::kReachable, "%u", i);
  }
}

Test(neighbour_table, what_a_dump_does_not_name_is_gone) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  neighbours.update({ip(2), NUD_REACHABLE, kMac}, kNow);
  neighbours.begin_dump();
  neighbours.update({ip(2), NUD_STALE, kMac}, kNow);
  cr_assert_eq(neighbours.end_dump(kNow).size(), 0, "nobody uses it");
  cr_assert(state_of(control, ip(1)) == NeighbourState::kEmpty);
  cr_assert(state_of(control, ip(2)) == NeighbourState::kReachable);
}

Test(neighbour_table, stale_entries_in_use_are_to_be_refreshed) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  for (uint32_t i = 1; i <= 4; ++i) neighbours.update({ip(i), NUD_STALE, kMac}, kNow);
  neighbours.update({ip(3), NUD_REACHABLE, kMac}, kNow);
  NeighbourView view;
  find_neighbour(control.get(), ip(1), view)->used_s = kNow - 1;
  find_neighbour(control.get(), ip(2), view)->used_s = kNow - 100;
  find_neighbour(control.get(), ip(3), view)->used_s = kNow;
  const auto stale = neighbours.refresh(kNow);
  cr_assert_eq(stale.size(), 1);
  cr_assert(stale[0] == ip(1));
}

// `ip neighbour flush`: the kernel says FAILED, then deletes.
Test(neighbour_table, address_in_use_that_is_flushed_keeps_its_mac_and_is_asked_for) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  NeighbourView view;
  find_neighbour(control.get(), ip(1), view)->used_s = kNow;
  cr_assert(!neighbours.update({ip(1), NUD_FAILED, {}}, kNow).visible);
  const auto deleted = neighbours.update({ip(1), NUD_NONE, {}}, kNow);
  cr_assert(deleted.ask && !deleted.visible);
  cr_assert(!neighbours.update({ip(1), NUD_INCOMPLETE, {}}, kNow).visible);
  find_neighbour(control.get(), ip(1), view);
  cr_assert(view.state == NeighbourState::kReachable && view.mac == kMac);
  cr_assert(neighbours.update({ip(1), NUD_REACHABLE, MacAddress{2, 0, 0, 0, 0, 2}}, kNow).visible);
}

Test(neighbour_table, flushed_address_that_does_not_answer_fails) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  neighbours.want(ip(1), kNow);
  neighbours.update({ip(1), NUD_NONE, {}}, kNow);
  neighbours.update({ip(1), NUD_INCOMPLETE, {}}, kNow);
  cr_assert(neighbours.update({ip(1), NUD_FAILED, {}}, kNow).visible);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kFailed);
}

Test(neighbour_table, address_in_use_that_no_longer_answers_probes_fails) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.want(ip(1), kNow);
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  neighbours.update({ip(1), NUD_PROBE, kMac}, kNow);
  cr_assert(neighbours.update({ip(1), NUD_FAILED, {}}, kNow).visible);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kFailed);
}

Test(neighbour_table, answer_that_is_flushed_before_its_asker_looks_is_not_lost) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.want(ip(1), kNow);
  neighbours.update({ip(1), NUD_INCOMPLETE, {}}, kNow);
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  cr_assert(neighbours.update({ip(1), NUD_NONE, {}}, kNow).ask);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kReachable);
}

Test(neighbour_table, flushed_address_that_nobody_uses_any_more_goes) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.want(ip(1), kNow);
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  neighbours.update({ip(1), NUD_NONE, {}}, kNow);
  const auto again = neighbours.refresh(kNow + 1);
  cr_assert_eq(again.size(), 1, "asked for while in use");
  cr_assert_eq(neighbours.refresh(kNow + 100).size(), 0);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kEmpty);
}

Test(neighbour_table, entry_of_a_writer_that_died_is_not_believed) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow);
  NeighbourView view;
  find_neighbour(control.get(), ip(1), view)->sequence.fetch_add(1);
  cr_assert(state_of(control, ip(1)) == NeighbourState::kEmpty);
}

// Clients can write the table.
Test(neighbour_table, entry_that_was_overwritten_is_written_again) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  neighbours.update({ip(1), NUD_FAILED, {}}, kNow);
  std::memset(static_cast<void*>(control->neighbours), 0xff, sizeof control->neighbours);
  cr_assert(neighbours.update({ip(1), NUD_REACHABLE, kMac}, kNow).visible);
  NeighbourView view;
  cr_assert_not_null(find_neighbour(control.get(), ip(1), view));
  cr_assert(view.state == NeighbourState::kReachable && view.mac == kMac);
  cr_assert_eq(view.failures, 1, "of our own copy");
}

Test(neighbour_table, who_asks_for_a_whole_network_is_not_followed_without_end) {
  FakeControl control(1);
  Neighbours neighbours(control.get());
  uint32_t wanted = 0;
  while (neighbours.want(ip(wanted), kNow)) cr_assert_lt(++wanted, 1U << 20);
  cr_assert_gt(wanted, kMaxNeighbours);
  cr_assert(neighbours.want(ip(0), kNow), "one that is known already");
}
