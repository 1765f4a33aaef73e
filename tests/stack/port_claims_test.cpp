// port_claims_test.cpp - which local ports are taken from the kernel, and for how long
#include "stack/port_claims.h"

#include <criterion/criterion.h>
#include <netinet/in.h>

#include <cerrno>

#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

namespace {

SocketAddress any(uint16_t port) { return {IpAddress::any(AF_INET), port, 0}; }
SocketAddress any_v6(uint16_t port) { return {IpAddress::any(AF_INET6), port, 0}; }
SocketAddress on(const char* address, uint16_t port) { return {ip(address), port, 0}; }

}  // namespace

TestSuite(port_claims);

Test(port_claims, a_port_is_claimed_with_its_first_user_and_released_with_its_last) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_TCP, any(5000)).ok());
  cr_expect(ports.hold(IPPROTO_TCP, any(5000)).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 5000), 1);
  cr_expect_eq(network.a.port_owner(IPPROTO_UDP, 5000), 0);
  ports.drop(IPPROTO_TCP, any(5000));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 5000), 1);
  ports.drop(IPPROTO_TCP, any(5000));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 5000), 0);
  ports.drop(IPPROTO_TCP, any(5000));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 5000), 0);
}

Test(port_claims, a_port_of_another_process_is_not_taken) {
  Network network;
  network.a.give_port_away(IPPROTO_UDP, 53);
  PortClaims& ports = network.a.stack().ports();
  cr_expect_eq(ports.hold(IPPROTO_UDP, any(53)).error(), EADDRINUSE);
  ports.drop(IPPROTO_UDP, any(53));
  cr_expect_neq(network.a.port_owner(IPPROTO_UDP, 53), 0);
}

Test(port_claims, a_port_is_ours_on_the_address_that_was_asked_for) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_TCP, on("10.0.0.1", 80)).ok());
  cr_expect(ports.is_claimed(IPPROTO_TCP, on("10.0.0.1", 80)));
  cr_expect_not(ports.is_claimed(IPPROTO_TCP, any(80)));
  cr_expect(ports.only_elsewhere(IPPROTO_TCP, on("10.0.0.3", 80)));
  cr_expect_not(ports.only_elsewhere(IPPROTO_TCP, on("10.0.0.1", 80)));
  cr_expect_not(ports.only_elsewhere(IPPROTO_TCP, on("10.0.0.3", 81)));
  ports.drop(IPPROTO_TCP, any(80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 1);
  ports.drop(IPPROTO_TCP, on("10.0.0.1", 80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 0);
}

// The flow map needs bpf(2), which a unit test has not: the second address is refused, and the
// first stays as it is.
Test(port_claims, a_second_address_that_cannot_be_steered_is_refused) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_TCP, on("10.0.0.1", 80)).ok());
  cr_expect_eq(ports.hold(IPPROTO_TCP, on("10.0.0.3", 80)).error(), EADDRINUSE);
  cr_expect(ports.is_claimed(IPPROTO_TCP, on("10.0.0.1", 80)));
}

Test(port_claims, all_addresses_cover_each_of_them) {
  for (const bool any_first : {true, false}) {
    Network network;
    PortClaims& ports = network.a.stack().ports();
    const SocketAddress one = on("10.0.0.1", 80);
    const SocketAddress first = any_first ? any(80) : one;
    const SocketAddress second = any_first ? one : any(80);
    cr_expect(ports.hold(IPPROTO_TCP, first).ok());
    cr_expect(ports.hold(IPPROTO_TCP, second).ok());
    cr_expect_eq(network.a.port_claim(IPPROTO_TCP, 80), IpAddress::any(AF_INET));
    ports.drop(IPPROTO_TCP, any(80));
    cr_expect_eq(network.a.port_claim(IPPROTO_TCP, 80), one.ip);
    ports.drop(IPPROTO_TCP, one);
    cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 0);
  }
}

Test(port_claims, one_of_the_covered_goes_and_all_stay) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_TCP, on("10.0.0.1", 80)).ok());
  cr_expect(ports.hold(IPPROTO_TCP, any(80)).ok());
  ports.drop(IPPROTO_TCP, on("10.0.0.1", 80));
  cr_expect_eq(network.a.port_claim(IPPROTO_TCP, 80), IpAddress::any(AF_INET));
  ports.drop(IPPROTO_TCP, any(80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 0);
}

Test(port_claims, a_released_claim_is_made_anew_by_the_next_user) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_TCP, any(80)).ok());
  ports.release(IPPROTO_TCP, any(80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 0);
  cr_expect_not(ports.is_claimed(IPPROTO_TCP, any(80)));
  cr_expect(ports.hold(IPPROTO_TCP, any(80)).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 1);
  ports.drop(IPPROTO_TCP, any(80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 1);
  ports.drop(IPPROTO_TCP, any(80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 0);
}

Test(port_claims, a_user_moves_to_another_address) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_UDP, any(53)).ok());
  cr_expect(ports.move(IPPROTO_UDP, any(53), on("10.0.0.1", 53)).ok());
  cr_expect_eq(network.a.port_claim(IPPROTO_UDP, 53), ip("10.0.0.1"));
  cr_expect(ports.hold(IPPROTO_UDP, any(53)).ok());
  cr_expect(ports.move(IPPROTO_UDP, on("10.0.0.1", 53), any(53)).ok());
  ports.drop(IPPROTO_UDP, any(53));
  cr_expect_eq(network.a.port_claim(IPPROTO_UDP, 53), IpAddress::any(AF_INET));
  cr_expect(ports.move(IPPROTO_UDP, any(53), on("10.0.0.1", 54)).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_UDP, 53), 0);
  ports.drop(IPPROTO_UDP, on("10.0.0.1", 54));
  cr_expect_eq(network.a.port_owner(IPPROTO_UDP, 54), 0);
}

Test(port_claims, a_move_leaves_what_was_covered) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_UDP, any(53)).ok());
  cr_expect(ports.hold(IPPROTO_UDP, on("10.0.0.1", 53)).ok());
  cr_expect(ports.move(IPPROTO_UDP, any(53), on("10.0.0.1", 53)).ok());
  cr_expect_eq(network.a.port_claim(IPPROTO_UDP, 53), ip("10.0.0.1"));
  ports.drop(IPPROTO_UDP, on("10.0.0.1", 53));
  cr_expect_eq(network.a.port_claim(IPPROTO_UDP, 53), ip("10.0.0.1"));
}

Test(port_claims, families_have_a_port_each) {
  Network network;
  network.a.give_port_away(IPPROTO_TCP, 80);
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.hold(IPPROTO_TCP, any_v6(80)).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 1);
  cr_expect_not(ports.is_claimed(IPPROTO_TCP, any(80)));
  ports.drop(IPPROTO_TCP, any_v6(80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 0);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 7);
}

Test(port_claims, both_families_are_held_and_dropped_together) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  const Binding both{any_v6(80), Families::kBoth};
  cr_expect(ports.hold(IPPROTO_TCP, both).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 1);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 1);
  cr_expect(ports.hold(IPPROTO_TCP, on("10.0.0.1", 80)).ok());
  ports.drop(IPPROTO_TCP, both);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 0);
  cr_expect_eq(network.a.port_claim(IPPROTO_TCP, 80), ip("10.0.0.1"));
}

Test(port_claims, both_families_or_none) {
  for (const int taken : {AF_INET, AF_INET6}) {
    const int other = taken == AF_INET ? AF_INET6 : AF_INET;
    Network network;
    network.a.give_port_away(IPPROTO_TCP, 80, taken);
    PortClaims& ports = network.a.stack().ports();
    const Binding both{any_v6(80), Families::kBoth};
    cr_expect_eq(ports.hold(IPPROTO_TCP, both).error(), EADDRINUSE);
    cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, other), 0);
  }
}

Test(port_claims, both_families_become_one_address) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  const Binding both{any_v6(53), Families::kBoth};
  cr_expect(ports.hold(IPPROTO_UDP, both).ok());
  cr_expect(ports.move(IPPROTO_UDP, both, on("10.0.0.1", 53)).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_UDP, 53, AF_INET6), 0);
  cr_expect_eq(network.a.port_claim(IPPROTO_UDP, 53), ip("10.0.0.1"));
  cr_expect(ports.move(IPPROTO_UDP, on("10.0.0.1", 53), both).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_UDP, 53, AF_INET6), 1);
  cr_expect_eq(network.a.port_claim(IPPROTO_UDP, 53), IpAddress::any(AF_INET));
}

Test(port_claims, a_listeners_port_is_shared_with_another_process) {
  Network network;
  network.a.give_port_away(IPPROTO_TCP, 80);
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.join(IPPROTO_TCP, any(80)).ok());
  cr_expect(ports.needs_flows(IPPROTO_TCP, any(80)));
  cr_expect(ports.needs_flows(IPPROTO_TCP, on("10.0.0.1", 80)));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 7, "its own connections are its own");
  cr_expect(ports.hold(IPPROTO_TCP, any(80)).ok(), "an accepted connection");
  ports.leave(IPPROTO_TCP, any(80));
  ports.drop(IPPROTO_TCP, any(80));
  cr_expect(ports.needs_flows(IPPROTO_TCP, any(80)));
  ports.drop(IPPROTO_TCP, any(80));
  cr_expect_not(ports.needs_flows(IPPROTO_TCP, any(80)));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 7);
}

Test(port_claims, who_joins_a_free_port_has_it_as_before) {
  Network network;
  PortClaims& ports = network.a.stack().ports();
  const Binding both{any_v6(80), Families::kBoth};
  cr_expect(ports.join(IPPROTO_TCP, both).ok());
  cr_expect_not(ports.needs_flows(IPPROTO_TCP, any(80)));
  cr_expect(ports.join(IPPROTO_TCP, on("10.0.0.1", 80)).ok(), "it is covered");
  ports.leave(IPPROTO_TCP, both);
  ports.drop(IPPROTO_TCP, both);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 0);
  cr_expect_eq(network.a.port_claim(IPPROTO_TCP, 80), ip("10.0.0.1"));
  ports.leave(IPPROTO_TCP, on("10.0.0.1", 80));
  ports.drop(IPPROTO_TCP, on("10.0.0.1", 80));
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 0);
}

Test(port_claims, both_families_are_joined_or_none) {
  Network network;
  network.a.give_port_away(IPPROTO_TCP, 80);
  PortClaims& ports = network.a.stack().ports();
  cr_expect(ports.join(IPPROTO_TCP, Binding{any_v6(80), Families::kBoth}).ok());
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 1);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 7);
  ports.leave(IPPROTO_TCP, Binding{any_v6(80), Families::kBoth});
  ports.drop(IPPROTO_TCP, Binding{any_v6(80), Families::kBoth});
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80, AF_INET6), 0);
  cr_expect_eq(network.a.port_owner(IPPROTO_TCP, 80), 7);
}
