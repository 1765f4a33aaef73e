// address_table_test.cpp - the interface's addresses as clients read them
#include "xdp/address_table.h"

#include <criterion/criterion.h>

#include "tests/xdp/fake_queue.h"

using namespace underpass;
using namespace underpass::test;

namespace {

LocalAddress address(uint8_t number) {
  LocalAddress made{};
  made.ip[10] = made.ip[11] = 0xff;
  made.ip[15] = number;
  made.prefix_bits = 120;
  return made;
}

}  // namespace

Test(address_table, what_was_written_is_read) {
  FakeControl control(1);
  cr_assert_eq(read_addresses(control.get()).count, 0);
  const LocalAddress two[] = {address(1), address(2)};
  write_addresses(control.get(), two);
  const AddressTable table = read_addresses(control.get());
  cr_assert_eq(table.all().size(), 2);
  cr_assert_eq(table.all()[1].ip[15], 2);
  cr_assert_eq(table.all()[1].prefix_bits, 120);
  write_addresses(control.get(), {two, 1});
  cr_assert_eq(read_addresses(control.get()).count, 1);
}

Test(address_table, more_than_it_holds_are_not_shown) {
  FakeControl control(1);
  const std::vector<LocalAddress> many(kMaxLocalAddresses + 10, address(1));
  write_addresses(control.get(), many);
  cr_assert_eq(read_addresses(control.get()).count, kMaxLocalAddresses);
}

// Seen as a bind() that never returned.
Test(address_table, reader_does_not_wait_for_a_writer_that_was_killed) {
  FakeControl control(1);
  const LocalAddress one[] = {address(1)};
  write_addresses(control.get(), one);
  control->addresses_sequence.fetch_add(1);
  cr_assert_eq(read_addresses(control.get()).count, 1);
  write_addresses(control.get(), one);
  cr_assert_eq(control->addresses_sequence % 2, 0);
}

Test(address_table, forged_count_leads_out_of_no_table) {
  FakeControl control(1);
  control->address_count = UINT32_MAX;
  cr_assert_eq(read_addresses(control.get()).count, kMaxLocalAddresses);
}
