// steer_fixture.cpp - BPF_PROG_TEST_RUN (bpf(2)) and maps written by hand
#include "tests/steer/steer_fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <linux/if_xdp.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/limits.h"
#include "tests/steer/steer_case.h"
#include "xdp/port_table.h"

namespace underpass::test {

void skip_without_bpf() {
  if (::geteuid() != 0) cr_skip_test("loading an XDP program needs root");
}

Fd open_loose_xsk() {
  Fd fd(sys::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  const uint32_t entries = 64;
  cr_assert_geq(sys::setsockopt(fd.get(), SOL_XDP, XDP_RX_RING, &entries, sizeof entries), 0);
  return fd;
}

SteerFixture::SteerFixture() : program_(steer_bpf__open(), steer_bpf__destroy) {
  cr_assert_not_null(program_.get());
  program_->rodata->queues = kSteerQueues;
  program_->rodata->max_frame_bytes = kMaxFrameBytes;
  bpf_map__set_max_entries(program_->maps.up_xsks, kSteerQueues * kSteerSlots);
  cr_assert_eq(steer_bpf__load(program_.get()), 0);
}

void SteerFixture::add_address(const char* text, bool here) {
  addresses_.push_back({address_of(text), here});
  const int map = bpf_map__fd(program_->maps.up_addresses);
  cr_assert(set_own_addresses(map, addresses_).ok());
}

void SteerFixture::claim(uint8_t protocol, uint16_t port, uint32_t slot, int family) {
  set_entry(protocol, port, slot + 1, family);
}

void SteerFixture::set_entry(uint8_t protocol, uint16_t port, uint64_t value, int family,
                             uint64_t members) {
  const uint32_t index = port_index_of(protocol, {IpAddress::any(family), port, 0});
  const up_port_entry entry{value, members};
  cr_assert_eq(bpf_map_update_elem(bpf_map__fd(program_->maps.up_ports), &index, &entry, BPF_ANY),
               0);
}

void SteerFixture::give_socket(uint32_t slot) {
  xsks_[slot] = open_loose_xsk();
  const uint32_t index = slot * kSteerQueues;
  const int fd = xsks_[slot].get();
  cr_assert_eq(bpf_map_update_elem(bpf_map__fd(program_->maps.up_xsks), &index, &fd, BPF_ANY), 0);
}

void SteerFixture::take_socket(uint32_t slot) {
  const uint32_t index = slot * kSteerQueues;
  cr_assert_eq(bpf_map_delete_elem(bpf_map__fd(program_->maps.up_xsks), &index), 0);
}

std::optional<uint32_t> SteerFixture::choice(const up_flow_key& key) const {
  uint32_t slot = 0;
  if (bpf_map_lookup_elem(bpf_map__fd(program_->maps.up_choices), &key, &slot) != 0) {
    return std::nullopt;
  }
  return slot;
}

size_t SteerFixture::choices() const {
  const int map = bpf_map__fd(program_->maps.up_choices);
  size_t count = 0;
  up_flow_key key{};
  for (int more = bpf_map_get_next_key(map, nullptr, &key); more == 0; ++count) {
    const up_flow_key last = key;
    more = bpf_map_get_next_key(map, &last, &key);
  }
  return count;
}

void SteerFixture::add_flow(const up_flow_key& key, uint32_t slot) {
  const int map = bpf_map__fd(program_->maps.up_flows);
  cr_assert_eq(bpf_map_update_elem(map, &key, &slot, BPF_ANY), 0);
}

int SteerFixture::run(const void* frame, size_t bytes) {
  uint8_t out[4096];
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame;
  options.data_out = out;
  options.data_size_in = static_cast<uint32_t>(bytes);
  options.data_size_out = sizeof out;
  options.repeat = 1;
  const int program = bpf_program__fd(program_->progs.underpass_steer);
  cr_assert_eq(bpf_prog_test_run_opts(program, &options), 0);
  // Nothing is ever changed in a frame.
  cr_assert_eq(options.data_size_out, bytes);
  cr_assert_eq(std::memcmp(out, frame, bytes), 0);
  return static_cast<int>(options.retval);
}

SteerCounters SteerFixture::counters() const {
  SteerCounters sums{};
  std::vector<uint64_t> each(static_cast<size_t>(libbpf_num_possible_cpus()));
  for (uint32_t i = 0; i < sums.size(); ++i) {
    cr_assert_eq(bpf_map_lookup_elem(bpf_map__fd(program_->maps.up_counters), &i, each.data()), 0);
    for (const uint64_t value : each) sums[i] += value;
  }
  return sums;
}

}  // namespace underpass::test
