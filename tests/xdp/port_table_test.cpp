// port_table_test.cpp - claiming and releasing entries that others use too
#include "xdp/port_table.h"

#include <criterion/criterion.h>
#include <netinet/in.h>

#include <cerrno>
#include <vector>

using namespace underpass;

namespace {

struct Table {
  std::vector<up_port_entry> entries = std::vector<up_port_entry>(UP_PORT_ENTRIES);
  PortTable of(uint32_t slot) { return PortTable(entries.data(), -1, slot); }
  uint64_t tcp(uint16_t port) {
    return entries[UP_PORT_INDEX(UP_FAMILY_V4, UP_PORT_TCP, port)].value;
  }
  uint64_t members(uint16_t port) {
    return entries[UP_PORT_INDEX(UP_FAMILY_V4, UP_PORT_TCP, port)].members;
  }
  uint64_t udp(uint16_t port) {
    return entries[UP_PORT_INDEX(UP_FAMILY_V4, UP_PORT_UDP, port)].value;
  }
};

SocketAddress any(uint16_t port) { return {IpAddress::any(AF_INET), port, 0}; }
SocketAddress on(uint32_t v4, uint16_t port) { return {IpAddress::from_v4(v4), port, 0}; }
uint64_t entry_of(uint32_t v4, uint64_t rest) {
  return uint64_t{v4} << UP_PORT_ADDRESS_SHIFT | rest;
}

}  // namespace

Test(port_table, claimed_port_carries_the_slot) {
  Table table;
  PortTable ports = table.of(4);
  cr_assert(ports.claim(IPPROTO_TCP, any(80)));
  cr_assert_eq(table.tcp(80), 5);
  cr_assert_eq(table.udp(80), 0);
  cr_assert(ports.claim(IPPROTO_UDP, any(65535)));
  cr_assert_eq(table.udp(65535), 5);
}

Test(port_table, port_of_another_client_is_in_use) {
  Table table;
  PortTable mine = table.of(0), other = table.of(1);
  cr_assert(mine.claim(IPPROTO_TCP, any(80)));
  cr_assert_eq(other.claim(IPPROTO_TCP, any(80)).error(), EADDRINUSE);
  cr_assert(mine.claim(IPPROTO_TCP, any(80)), "claiming one's own again");
  other.release(IPPROTO_TCP, any(80));
  cr_assert_eq(table.tcp(80), 1);
  mine.release(IPPROTO_TCP, any(80));
  cr_assert(other.claim(IPPROTO_TCP, any(80)));
  cr_assert_eq(table.tcp(80), 2);
}

Test(port_table, protocol_without_ports_has_one_entry) {
  Table table;
  PortTable mine = table.of(0), other = table.of(1);
  cr_assert(mine.claim(253, any(7)));
  cr_assert_eq(table.entries[UP_PROTOCOL_INDEX(UP_FAMILY_V4, 253)].value, 1);
  cr_assert_eq(other.claim(253, any(8)).error(), EADDRINUSE);
  cr_assert(other.claim(255, any(0)), "the last of the table");
  mine.release(253, any(7));
  cr_assert_eq(table.entries[UP_PROTOCOL_INDEX(UP_FAMILY_V4, 253)].value, 0);
}

Test(port_table, count_of_flows_survives_claim_and_release) {
  Table table;
  PortTable ports = table.of(2);
  table.entries[UP_PORT_INDEX(UP_FAMILY_V4, UP_PORT_TCP, 80)].value = 3 * UP_PORT_FLOWS_ONE;
  cr_assert(ports.claim(IPPROTO_TCP, any(80)));
  cr_assert_eq(table.tcp(80), 3 * UP_PORT_FLOWS_ONE + 3);
  ports.release(IPPROTO_TCP, any(80));
  cr_assert_eq(table.tcp(80), 3 * UP_PORT_FLOWS_ONE);
}

Test(port_table, claim_of_one_address_carries_it) {
  Table table;
  PortTable mine = table.of(0), other = table.of(1);
  cr_assert(mine.claim(IPPROTO_TCP, on(7, 80)));
  cr_assert_eq(table.tcp(80), entry_of(7, 1));
  cr_assert(mine.claim(IPPROTO_TCP, on(7, 80)), "claiming one's own again");
  cr_assert_eq(mine.claim(IPPROTO_TCP, on(8, 80)).error(), EEXIST);
  cr_assert_eq(mine.claim(IPPROTO_TCP, any(80)).error(), EEXIST);
  cr_assert_eq(other.claim(IPPROTO_TCP, on(8, 80)).error(), EEXIST);
  cr_assert_eq(other.claim(IPPROTO_TCP, on(7, 80)).error(), EADDRINUSE);
  cr_assert_eq(other.claim(IPPROTO_TCP, any(80)).error(), EADDRINUSE);
  for (const SocketAddress& not_held : {any(80), on(8, 80)}) mine.release(IPPROTO_TCP, not_held);
  cr_assert_eq(table.tcp(80), entry_of(7, 1));
  mine.release(IPPROTO_TCP, on(7, 80));
  cr_assert_eq(table.tcp(80), 0);
}

Test(port_table, claim_moves_to_all_addresses) {
  Table table;
  PortTable ports = table.of(2);
  table.entries[UP_PORT_INDEX(UP_FAMILY_V4, UP_PORT_TCP, 80)].value = 3 * UP_PORT_FLOWS_ONE;
  cr_assert(ports.claim(IPPROTO_TCP, on(7, 80)));
  cr_assert_eq(table.tcp(80), entry_of(7, 3 * UP_PORT_FLOWS_ONE + 3));
  ports.move(IPPROTO_TCP, on(7, 80), IpAddress::any(AF_INET));
  cr_assert_eq(table.tcp(80), 3 * UP_PORT_FLOWS_ONE + 3);
  ports.move(IPPROTO_TCP, on(7, 80), IpAddress::from_v4(8));
  cr_assert_eq(table.tcp(80), 3 * UP_PORT_FLOWS_ONE + 3, "it is not held there any more");
  ports.move(IPPROTO_TCP, any(80), IpAddress::from_v4(8));
  cr_assert_eq(table.tcp(80), entry_of(8, 3 * UP_PORT_FLOWS_ONE + 3));
}

Test(port_table, flow_that_cannot_be_added_leaves_no_mark) {
  Table table;  // its flow map is no descriptor
  PortTable ports = table.of(0);
  const Flow flow{IPPROTO_TCP, {IpAddress::from_v4(1), 80, 0}, {IpAddress::from_v4(2), 5000, 0}};
  cr_assert_eq(ports.add_flow(flow).error(), EBADF);
  cr_assert_eq(table.tcp(80), 0);
  ports.remove_flow(flow);
  cr_assert_eq(table.tcp(80), 0);
}

Test(port_table, families_are_apart) {
  Table table;
  PortTable mine = table.of(0), other = table.of(1);
  for (const uint8_t protocol : {uint8_t{IPPROTO_TCP}, uint8_t{IPPROTO_UDP}, uint8_t{253}}) {
    const SocketAddress over_v4 = any(80);
    const SocketAddress over_v6{IpAddress::any(AF_INET6), 80, 0};
    cr_assert(mine.claim(protocol, over_v4));
    cr_assert(other.claim(protocol, over_v6));
    cr_assert_eq(table.entries[port_index_of(protocol, over_v4)].value, 1);
    cr_assert_eq(table.entries[port_index_of(protocol, over_v6)].value, 2);
    mine.release(protocol, over_v6);
    cr_assert_eq(table.entries[port_index_of(protocol, over_v6)].value, 2);
  }
}

Test(port_table, entries_do_not_overlap) {
  const SocketAddress last_v4{IpAddress::any(AF_INET), 65535, 0};
  const SocketAddress first_v6{IpAddress::any(AF_INET6), 0, 0};
  cr_assert_lt(port_index_of(IPPROTO_UDP, last_v4), port_index_of(IPPROTO_TCP, first_v6));
  const SocketAddress last_v6{IpAddress::any(AF_INET6), 65535, 0};
  cr_assert_lt(port_index_of(IPPROTO_UDP, last_v6), port_index_of(0, last_v4));
  cr_assert_lt(port_index_of(255, last_v4), port_index_of(0, first_v6));
  cr_assert_eq(port_index_of(255, last_v6), UP_PORT_ENTRIES - 1);
}

// An interface's link-local and global address end alike (RFC 4291, appendix A).
Test(port_table, ipv6_addresses_that_end_alike_are_two) {
  Table table;
  PortTable ports = table.of(0);
  SocketAddress global{IpAddress{{0xfd, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe, 0, 0, 1}}, 80, 0};
  SocketAddress link_local{IpAddress{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe, 0, 0, 1}},
                           80, 0};
  cr_assert(ports.claim(IPPROTO_TCP, global));
  cr_assert_eq(ports.claim(IPPROTO_TCP, link_local).error(), EEXIST);
  const uint64_t entry = table.entries[port_index_of(IPPROTO_TCP, global)].value;
  cr_assert(entry_covers(entry, global.ip));
  cr_assert_not(entry_covers(entry, link_local.ip));
}

Test(port_table, who_joins_has_it_alone_where_it_is_free) {
  Table table;
  PortTable ports = table.of(4);
  cr_assert_eq(ports.join(IPPROTO_TCP, any(80)).value(), PortTable::Share::kElder);
  cr_assert_eq(table.tcp(80), 5);
  cr_assert_eq(table.members(80), UP_MEMBER(4));
  ports.leave(IPPROTO_TCP, any(80));
  ports.release(IPPROTO_TCP, any(80));
  cr_assert_eq(table.tcp(80), 0);
  cr_assert_eq(table.members(80), 0);
}

Test(port_table, others_join_whoever_has_it) {
  Table table;
  PortTable first = table.of(0), second = table.of(1), third = table.of(2);
  cr_assert(first.claim(IPPROTO_TCP, on(7, 80)));
  cr_assert_eq(second.join(IPPROTO_TCP, on(7, 80)).value(), PortTable::Share::kMember);
  cr_assert_eq(table.tcp(80), entry_of(7, UP_PORT_SHARED | 1));
  cr_assert_eq(table.members(80), UP_MEMBER(1), "the first has never joined");
  cr_assert_eq(first.join(IPPROTO_TCP, on(7, 80)).value(), PortTable::Share::kElder);
  cr_assert_eq(third.join(IPPROTO_TCP, any(80)).error(), EADDRINUSE);
  cr_assert_eq(third.join(IPPROTO_TCP, on(8, 80)).error(), EEXIST);
  cr_assert_eq(third.claim(IPPROTO_TCP, on(7, 80)).error(), EADDRINUSE);
  cr_assert_eq(table.members(80), UP_MEMBER(0) | UP_MEMBER(1));
  cr_assert_eq(first.others(IPPROTO_TCP, any(80)).members, UP_MEMBER(1));
}

Test(port_table, a_shared_port_goes_with_its_last_member) {
  for (const bool elder_first : {true, false}) {
    Table table;
    PortTable first = table.of(0), second = table.of(1);
    cr_assert(first.join(IPPROTO_TCP, on(7, 80)));
    cr_assert(second.join(IPPROTO_TCP, on(7, 80)));
    if (!elder_first) second.leave(IPPROTO_TCP, on(7, 80));
    first.leave(IPPROTO_TCP, on(7, 80));
    first.release(IPPROTO_TCP, on(7, 80));
    if (elder_first) {
      cr_assert_eq(table.tcp(80), entry_of(7, UP_PORT_SHARED), "without an elder");
      cr_assert_eq(first.claim(IPPROTO_TCP, any(80)).error(), EADDRINUSE);
      second.leave(IPPROTO_TCP, on(7, 80));
      second.release(IPPROTO_TCP, on(7, 80));
    }
    cr_assert_eq(table.tcp(80), 0);
    cr_assert_eq(table.members(80), 0);
  }
}

// Its listener still answers those who were on their way (haproxy's reload).
Test(port_table, the_last_member_is_the_elder_until_it_releases_the_port) {
  Table table;
  PortTable first = table.of(0), second = table.of(1), third = table.of(2);
  cr_assert(first.join(IPPROTO_TCP, on(7, 80)));
  cr_assert(second.join(IPPROTO_TCP, on(7, 80)));
  first.leave(IPPROTO_TCP, on(7, 80));
  first.release(IPPROTO_TCP, on(7, 80));
  second.leave(IPPROTO_TCP, on(7, 80));
  cr_assert_eq(table.tcp(80), entry_of(7, UP_PORT_SHARED | 2));
  cr_assert_eq(third.join(IPPROTO_TCP, on(7, 80)).value(), PortTable::Share::kMember);
  second.release(IPPROTO_TCP, on(7, 80));
  cr_assert_eq(table.tcp(80), entry_of(7, UP_PORT_SHARED));
  third.leave(IPPROTO_TCP, on(7, 80));
  third.release(IPPROTO_TCP, on(7, 80));
  cr_assert_eq(table.tcp(80), 0);
}

Test(port_table, a_dead_slot_leaves_its_entries) {
  Table table;
  PortTable first = table.of(0), second = table.of(1);
  cr_assert(first.join(IPPROTO_TCP, any(80)));
  cr_assert(second.join(IPPROTO_TCP, any(80)));
  second.wait(IPPROTO_TCP, any(80), true);
  up_port_entry& entry = table.entries[port_index_of(IPPROTO_TCP, any(80))];
  entry.value += 2 * UP_PORT_FLOWS_ONE;
  leave_entry(entry, 5);
  cr_assert_eq(entry.value, 2 * UP_PORT_FLOWS_ONE + UP_PORT_SHARED + 1, "it has nothing there");
  leave_entry(entry, 0);
  cr_assert_eq(entry.value, 2 * UP_PORT_FLOWS_ONE + UP_PORT_SHARED);
  leave_entry(entry, 1);
  cr_assert_eq(entry.value, 2 * UP_PORT_FLOWS_ONE);
  cr_assert_eq(entry.members, 0);
}

Test(port_table, who_waits_can_be_seen) {
  Table table;
  PortTable first = table.of(0), second = table.of(31);
  cr_assert(first.join(IPPROTO_TCP, any(80)));
  cr_assert(second.join(IPPROTO_TCP, any(80)));
  cr_assert_eq(first.others(IPPROTO_TCP, any(80)).waiting, 0);
  second.wait(IPPROTO_TCP, any(80), true);
  cr_assert_eq(table.members(80), UP_MEMBER(0) | UP_MEMBER(31) | UP_MEMBER_WAITS(31));
  cr_assert_eq(first.others(IPPROTO_TCP, any(80)).waiting, UP_MEMBER(31));
  cr_assert_eq(second.others(IPPROTO_TCP, any(80)).waiting, 0);
  second.wait(IPPROTO_TCP, any(80), false);
  cr_assert_eq(first.others(IPPROTO_TCP, any(80)).waiting, 0);
  second.wait(IPPROTO_TCP, any(80), true);
  second.leave(IPPROTO_TCP, any(80));
  cr_assert_eq(table.members(80), UP_MEMBER(0));
}
