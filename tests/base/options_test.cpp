// options_test.cpp - values from text, within their bounds
#include "base/options.h"

#include <criterion/criterion.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

using namespace underpass;

namespace {

const OptionInfo& named(const char* name) {
  for (const OptionInfo& info : option_table()) {
    if (std::strcmp(info.name, name) == 0) return info;
  }
  cr_assert_fail("no option %s", name);
  return option_table()[0];
}

}  // namespace

Test(options, every_default_is_a_value_of_its_option) {
  for (const OptionInfo& info : option_table()) {
    Options options;
    cr_expect(set_option(options, info, info.initial).ok(), "%s", info.name);
    cr_expect_gt(std::strlen(info.help), 0);
    cr_expect_eq(std::strncmp(info.variable, "UNDERPASS_", 10), 0);
  }
}

Test(options, numbers_have_bounds) {
  Options options;
  const OptionInfo& spin = named("spin_us");
  cr_assert(set_option(options, spin, "7"));
  cr_assert_eq(options.spin_us, 7);
  cr_assert(set_option(options, spin, "0"));
  const std::string too_many = std::to_string(uint64_t{spin.most} + 1);
  for (const std::string& bad : {std::string("-1"), std::string("7x"), std::string(""),
                                 std::string(" 7"), std::string("99999999999"), too_many}) {
    cr_expect_eq(set_option(options, spin, bad).error(), EINVAL, "'%s'", bad.c_str());
  }
  cr_assert_eq(options.spin_us, 0, "a bad value changes nothing");
}

Test(options, switches_are_zero_or_one) {
  Options options;
  cr_assert(set_option(options, named("tcp"), "0"));
  cr_assert(!options.tcp);
  cr_assert_eq(set_option(options, named("tcp"), "no").error(), EINVAL);
}

Test(options, long_text_is_refused_whole) {
  Options options;
  cr_assert(set_option(options, named("log_file"), std::string(kMaxOptionText - 1, 'a')));
  cr_assert_eq(set_option(options, named("log_file"), std::string(kMaxOptionText, 'b')).error(),
               EINVAL);
  cr_assert_eq(options.log_file[0], 'a');
}

Test(options, environment_is_read_and_bad_values_are_as_if_absent) {
  ::setenv("UNDERPASS_IFACE", "eth7", 1);
  ::setenv("UNDERPASS_SPIN_US", "123", 1);
  ::setenv("UNDERPASS_UDP", "maybe", 1);
  const Options options = options_from_environment();
  cr_assert_str_eq(options.iface, "eth7");
  cr_assert_eq(options.spin_us, 123);
  cr_assert(options.udp);
}

Test(options, overlong_interface_is_none) {
  ::setenv("UNDERPASS_IFACE", "a-name-that-is-too-long-for-linux", 1);
  const Options options = options_from_environment();
  cr_assert_str_eq(options.iface, "");
}
