// steer_members_test.cpp - a port that several slots have: who gets which connection
#include <criterion/criterion.h>
#include <linux/bpf.h>

#include <array>
#include <vector>

#include "tests/steer/steer_case.h"
#include "tests/steer/steer_fixture.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kSynAck = 0x12;
constexpr uint8_t kAck = 0x10;
constexpr uint64_t kNobody = UP_PORT_SHARED;     // shared, and the last elder has gone
constexpr uint64_t kElder = UP_PORT_SHARED | 2;  // slot 1
constexpr uint64_t kAll = UP_MEMBER(0) | UP_MEMBER(1) | UP_MEMBER(3);
constexpr const char* kOurs6 = "fd00::1";
constexpr const char* kPeer6 = "fd00::9";

// Slots 0, 1 and 3 have rings, 2 has none.
class Members {
 public:
  explicit Members(int family = AF_INET, uint8_t protocol = IPPROTO_TCP)
      : family_(family), protocol_(protocol) {
    steer.add_address(kOurs);
    steer.add_address(kOurs6);
    for (const uint32_t slot : {0U, 1U, 3U}) steer.give_socket(slot);
  }

  void set(uint64_t value, uint64_t members) {
    steer.set_entry(protocol_, kClaimed, value, family_, members);
  }
  int send(uint16_t from_port, uint8_t flags) {
    const bool v6 = family_ == AF_INET6;
    FrameSpec spec{.protocol = protocol_, .from_port = from_port, .tcp_flags = flags};
    if (v6) {
      spec.ether_type = ETH_P_IPV6;
      spec.version = 6;
      spec.to = kOurs6;
      spec.from = kPeer6;
    }
    const std::vector<uint8_t> frame = frame_of(spec);
    return steer.run(frame.data(), frame.size());
  }
  up_flow_key key(uint16_t from_port) const {
    const bool v6 = family_ == AF_INET6;
    return flow_key(v6 ? kOurs6 : kOurs, kClaimed, v6 ? kPeer6 : kPeer, from_port);
  }
  std::optional<uint32_t> choice(uint16_t from_port) const { return steer.choice(key(from_port)); }
  // The slot that a frame goes to: with its rings taken away it is passed. -1: the kernel's.
  int receiver(uint16_t from_port, uint8_t flags) {
    if (send(from_port, flags) != XDP_REDIRECT) return -1;
    for (const uint32_t slot : {0U, 1U, 3U}) {
      steer.take_socket(slot);
      const bool gone = send(from_port, flags) != XDP_REDIRECT;
      steer.give_socket(slot);
      if (gone) return static_cast<int>(slot);
    }
    return -2;
  }

  SteerFixture steer;

 private:
  const int family_;
  const uint8_t protocol_;
};

std::array<int, kSteerSlots> spread(Members& port, uint16_t first, int count) {
  std::array<int, kSteerSlots> got{};
  for (uint16_t i = 0; i < count; ++i) {
    const auto from_port = static_cast<uint16_t>(first + i);
    cr_assert_eq(port.send(from_port, kSyn), XDP_REDIRECT);
    const auto slot = port.choice(from_port);
    cr_assert(slot.has_value());
    cr_assert_lt(*slot, kSteerSlots);
    ++got[*slot];
  }
  return got;
}

}  // namespace

TestSuite(steer_members);

Test(steer_members, connections_spread_over_the_members) {
  skip_without_bpf();
  for (const int family : {AF_INET, AF_INET6}) {
    Members port(family);
    port.set(kElder, kAll);
    const auto got = spread(port, 20000, 300);
    cr_expect_eq(got[2], 0);
    for (const size_t slot : {0U, 1U, 3U}) {
      cr_expect(got[slot] > 60 && got[slot] < 140, "slot %zu has %d of 300", slot, got[slot]);
    }
  }
}

Test(steer_members, a_connection_stays_with_its_member_when_others_join_and_leave) {
  skip_without_bpf();
  Members port;
  port.set(kNobody, UP_MEMBER(0) | UP_MEMBER(3));
  std::array<uint32_t, 50> before{};
  for (uint16_t i = 0; i < before.size(); ++i) {
    port.send(static_cast<uint16_t>(30000 + i), kSyn);
    before[i] = *port.choice(static_cast<uint16_t>(30000 + i));
  }
  for (const uint64_t members : {kAll, uint64_t{UP_MEMBER(1)}, kAll}) {
    port.set(kElder, members);
    for (uint16_t i = 0; i < before.size(); i += 7) {
      const auto from_port = static_cast<uint16_t>(30000 + i);
      cr_expect_eq(port.receiver(from_port, kAck), static_cast<int>(before[i]));
    }
  }
}

Test(steer_members, a_repeated_syn_goes_to_the_same_member_while_it_is_one) {
  skip_without_bpf();
  Members port;
  port.set(kNobody, UP_MEMBER(3));
  cr_assert_eq(port.send(40000, kSyn), XDP_REDIRECT);
  port.set(kNobody, UP_MEMBER(3) | UP_MEMBER(0) | UP_MEMBER(1));
  cr_expect_eq(port.send(40000, kSyn), XDP_REDIRECT);
  cr_expect_eq(port.choice(40000).value(), 3);
  port.set(kNobody, UP_MEMBER(0));
  cr_expect_eq(port.send(40000, kSyn), XDP_REDIRECT);
  cr_expect_eq(port.choice(40000).value(), 0, "it has left, and another one answers");
}

Test(steer_members, what_is_in_the_flow_map_is_its_owners) {
  skip_without_bpf();
  Members port;
  port.set(kElder | UP_PORT_FLOWS_ONE, UP_MEMBER(1));
  port.steer.add_flow(port.key(40000), 3);
  port.steer.add_flow(port.key(40001), UP_FLOW_OF_KERNEL);
  cr_expect_eq(port.receiver(40000, kAck), 3);
  cr_expect_eq(port.receiver(40000, kSyn), 3, "whose TIME_WAIT it may be");
  cr_expect_eq(port.send(40001, kAck), XDP_PASS);
  cr_expect_eq(port.receiver(40002, kSyn), 1);
}

Test(steer_members, what_nobody_was_chosen_for_is_the_elders_or_the_kernels) {
  skip_without_bpf();
  Members port;
  port.set(kElder, UP_MEMBER(0) | UP_MEMBER(3));
  cr_expect_eq(port.receiver(40000, kAck), 1);
  cr_expect_eq(port.receiver(40000, kSynAck), 1, "that opens nothing");
  cr_expect_eq(port.send(40001, kSyn | 0xc0), XDP_REDIRECT);
  cr_expect(port.choice(40001).has_value(), "a SYN with ECN opens one");
  port.set(kNobody, UP_MEMBER(0) | UP_MEMBER(3));
  cr_expect_eq(port.send(40000, kAck), XDP_PASS);
}

Test(steer_members, without_members_new_connections_are_the_kernels) {
  skip_without_bpf();
  Members port;
  port.set(kElder, 0);
  cr_expect_eq(port.send(40000, kSyn), XDP_PASS);
  cr_expect_eq(port.send(40000, kAck), XDP_PASS, "and stay that");
  cr_expect_eq(port.receiver(40001, kAck), 1);
}

Test(steer_members, a_dead_members_new_connections_are_the_kernels_for_good) {
  skip_without_bpf();
  Members port;
  port.set(kElder, UP_MEMBER(2));
  cr_expect_eq(port.send(40000, kSyn), XDP_PASS);
  cr_expect_eq(port.choice(40000).value(), UP_FLOW_OF_KERNEL);
  port.set(kElder, kAll);
  cr_expect_eq(port.send(40000, kAck), XDP_PASS);
}

Test(steer_members, those_that_wait_come_first) {
  skip_without_bpf();
  Members port;
  port.set(kElder, kAll | UP_MEMBER_WAITS(3));
  cr_expect_eq(spread(port, 20000, 20)[3], 20);
  port.set(kElder, kAll | UP_MEMBER_WAITS(0) | UP_MEMBER_WAITS(3));
  const auto two = spread(port, 21000, 60);
  cr_expect_eq(two[0] + two[3], 60);
  cr_expect(two[0] > 10 && two[3] > 10, "%d and %d", two[0], two[3]);
  port.set(kElder, UP_MEMBER(0) | UP_MEMBER_WAITS(3));
  cr_expect_eq(spread(port, 22000, 20)[0], 20, "who waits is a member, too");
}

Test(steer_members, datagrams_are_one_members_for_each_flow) {
  skip_without_bpf();
  for (const int family : {AF_INET, AF_INET6}) {
    Members port(family, IPPROTO_UDP);
    port.set(kElder, kAll);
    std::array<int, kSteerSlots> got{};
    for (uint16_t i = 0; i < 60; ++i) {
      const int slot = port.receiver(static_cast<uint16_t>(20000 + i), 0);
      cr_assert_geq(slot, 0);
      ++got[static_cast<size_t>(slot)];
    }
    for (const size_t slot : {0U, 1U, 3U}) cr_expect_gt(got[slot], 5);
    cr_expect_eq(port.steer.choices(), 0, "nothing is remembered");
  }
}

Test(steer_members, a_shared_port_is_shared_on_its_address) {
  skip_without_bpf();
  Members port;
  const uint64_t other = uint64_t{address_of("10.0.0.2").v4()} << UP_PORT_ADDRESS_SHIFT;
  port.set(other | kElder, kAll);
  cr_expect_eq(port.send(40000, kSyn), XDP_PASS);
}

// A flood of SYNs takes no more memory than that, and no open connection.
Test(steer_members, what_is_remembered_is_bounded) {
  skip_without_bpf();
  Members port;
  port.set(kNobody | UP_PORT_FLOWS_ONE, kAll);
  port.steer.add_flow(port.key(1), 3);
  for (uint32_t i = 0; i < 2 * UP_MAX_CHOICES; ++i) {
    port.send(static_cast<uint16_t>(2 + i), kSyn);
  }
  cr_expect_leq(port.steer.choices(), UP_MAX_CHOICES);
  cr_expect_eq(port.receiver(1, kAck), 3);
}

Test(steer_members, a_port_of_one_remembers_nothing) {
  skip_without_bpf();
  Members port;
  port.set(2, UP_MEMBER(1));
  for (uint16_t i = 0; i < 10; ++i) cr_expect_eq(port.send(i, kSyn), XDP_REDIRECT);
  cr_expect_eq(port.steer.choices(), 0);
}
