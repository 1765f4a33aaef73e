// destinations_test.cpp - what is remembered of the kernel's routes and neighbours
#include "stack/destinations.h"

#include <criterion/criterion.h>

#include <cerrno>

#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kMs = 1'000'000;

struct Fixture {
  SimulatedView view{ip("10.0.0.1")};
  Destinations destinations{view};
  uint64_t now = 1'000'000 * kMs;
  size_t sent = 0;
  size_t failed = 0;
  void retry() {
    destinations.retry(
        now, [&](const IpAddress&, Destination&, const std::vector<uint8_t>&) { ++sent; },
        [&](const IpAddress&) { ++failed; });
  }
};

}  // namespace

TestSuite(destinations);

Test(destinations, a_reachable_neighbour_is_not_asked_for) {
  Fixture f;
  cr_expect(f.destinations.look_up(ip("10.0.0.2"), f.now).state == NeighbourState::kReachable);
  cr_expect_eq(f.view.resolves(), 0);
}

Test(destinations, packets_wait_and_go_when_the_neighbour_is_known) {
  Fixture f;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kEmpty);
  for (int i = 0; i < 20; ++i) {
    Destination& destination = f.destinations.look_up(ip("10.0.0.2"), f.now);
    f.destinations.enqueue(destination, {1, 2, 3});
  }
  cr_expect_eq(f.view.resolves(), 1);
  cr_expect(f.destinations.anybody_waits());
  f.retry();
  cr_expect_eq(f.sent, 0);
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kReachable);
  f.retry();
  cr_expect_eq(f.sent, 8);
  cr_expect_not(f.destinations.anybody_waits());
}

Test(destinations, a_failure_is_told_once) {
  Fixture f;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kEmpty);
  f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
  f.now += 3000 * kMs;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kFailed);
  f.retry();
  f.retry();
  cr_expect_eq(f.failed, 1);
  cr_expect_not(f.destinations.anybody_waits());
}

// The second connect to a host that nobody has: within a second of the first request, and ended by
// a failure that comes at once.
Test(destinations, who_comes_after_a_failure_asks_anew_and_is_told_of_the_next) {
  Fixture f;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kFailed);
  for (size_t round = 1; round <= 3; ++round) {
    f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
    cr_expect_eq(f.view.resolves(), round);
    f.retry();
    cr_expect_eq(f.failed, round - 1, "the failure from before the request");
    f.now += kMs;
    f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kFailed);
    f.retry();
    cr_expect_eq(f.failed, round);
    f.now += 10 * kMs;
  }
}

// Seen as EHOSTUNREACH of a host that answers: the entry had made room for another, whose failures
// count from 0.
Test(destinations, an_entry_that_goes_while_it_is_asked_for_has_not_failed) {
  Fixture f;
  for (int i = 0; i < 2; ++i) f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kFailed);
  f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
  f.view.evict(ip("10.0.0.2"));
  f.retry();
  cr_expect_eq(f.failed, 0);
  cr_expect(f.destinations.anybody_waits());
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kFailed);
  f.retry();
  cr_expect_eq(f.failed, 1, "the next failure is one");
}

// They would wait for ever, and have every drive() look at all destinations.
Test(destinations, what_waits_is_dropped_when_there_is_no_route_any_more) {
  Fixture f;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kEmpty);
  f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
  f.view.set_route_error(EHOSTUNREACH);
  f.retry();
  cr_expect_not(f.destinations.anybody_waits());
  cr_expect_eq(f.failed, 0, "a soft error, as of a retransmission");
  f.view.set_route_error(0);
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kReachable);
  f.retry();
  cr_expect_eq(f.sent, 0);
}

Test(destinations, what_waits_is_dropped_when_the_route_leads_elsewhere) {
  Fixture f;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kEmpty);
  f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
  f.view.set_elsewhere(true);
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kReachable);
  f.retry();
  cr_expect_eq(f.sent, 0);
  cr_expect_not(f.destinations.anybody_waits());
}

// The broker may have been restarted since.
Test(destinations, a_request_that_is_not_answered_is_repeated_while_packets_wait) {
  Fixture f;
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kEmpty);
  f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
  f.now += 1000 * kMs;
  f.destinations.enqueue(f.destinations.look_up(ip("10.0.0.2"), f.now), {1});
  cr_expect_eq(f.view.resolves(), 2);
}

Test(destinations, a_route_error_is_remembered_until_routes_change) {
  Fixture f;
  f.view.set_route_error(ENETUNREACH);
  cr_expect_eq(f.destinations.look_up(ip("10.0.0.2"), f.now).error, ENETUNREACH);
  f.view.set_route_error(0);
  cr_expect_eq(f.destinations.look_up(ip("10.0.0.2"), f.now).error, 0);
}

Test(destinations, a_changed_neighbour_is_noticed) {
  Fixture f;
  f.view.set_peer_mac({1, 1, 1, 1, 1, 1});
  cr_expect_eq(f.destinations.look_up(ip("10.0.0.2"), f.now).mac[0], 1);
  f.view.set_peer_mac({9, 9, 9, 9, 9, 9});
  f.view.set_neighbour(ip("10.0.0.2"), NeighbourState::kReachable);
  cr_expect_eq(f.destinations.look_up(ip("10.0.0.2"), f.now).mac[0], 9);
}

Test(destinations, many_are_kept_apart) {
  Fixture f;
  for (uint32_t i = 1; i < 5000; ++i) {
    const IpAddress address = IpAddress::from_v4(htonl(0x0a010000 + i));
    cr_expect(f.destinations.look_up(address, f.now).route.next_hop == address);
  }
  const IpAddress again = IpAddress::from_v4(htonl(0x0a010000 + 77));
  cr_expect(f.destinations.look_up(again, f.now).route.next_hop == again);
}
