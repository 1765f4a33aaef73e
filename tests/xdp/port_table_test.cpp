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
  uint32_t tcp(uint16_t port) { return entries[UP_PORT_INDEX(UP_PORT_TCP, port)].value; }
  uint32_t udp(uint16_t port) { return entries[UP_PORT_INDEX(UP_PORT_UDP, port)].value; }
};

}  // namespace

Test(port_table, claimed_port_carries_the_slot) {
  Table table;
  PortTable ports = table.of(4);
  cr_assert(ports.claim(IPPROTO_TCP, 80));
  cr_assert_eq(table.tcp(80), 5);
  cr_assert_eq(table.udp(80), 0);
  cr_assert(ports.claim(IPPROTO_UDP, 65535));
  cr_assert_eq(table.udp(65535), 5);
}

Test(port_table, port_of_another_client_is_in_use) {
  Table table;
  PortTable mine = table.of(0), other = table.of(1);
  cr_assert(mine.claim(IPPROTO_TCP, 80));
  cr_assert_eq(other.claim(IPPROTO_TCP, 80).error(), EADDRINUSE);
  cr_assert(mine.claim(IPPROTO_TCP, 80), "claiming one's own again");
  other.release(IPPROTO_TCP, 80);
  cr_assert_eq(table.tcp(80), 1);
  mine.release(IPPROTO_TCP, 80);
  cr_assert(other.claim(IPPROTO_TCP, 80));
  cr_assert_eq(table.tcp(80), 2);
}

Test(port_table, count_of_flows_survives_claim_and_release) {
  Table table;
  PortTable ports = table.of(2);
  table.entries[UP_PORT_INDEX(UP_PORT_TCP, 80)].value = 3 * UP_PORT_FLOWS_ONE;
  cr_assert(ports.claim(IPPROTO_TCP, 80));
  cr_assert_eq(table.tcp(80), 3 * UP_PORT_FLOWS_ONE + 3);
  ports.release(IPPROTO_TCP, 80);
  cr_assert_eq(table.tcp(80), 3 * UP_PORT_FLOWS_ONE);
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
