// steering.cpp - loading and attaching through libbpf, or libxdp where its dispatcher is
#include "xdp/broker/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <time.h>
#include <xdp/libxdp.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/siphash.h"
#include "base/sys.h"
#include "xdp/broker/refusal.h"
#include "xdp/steer.skel.h"
#include "xdp/steer_abi.h"

namespace underpass {

namespace {

constexpr const char* kProgramName = "underpass_steer";
constexpr const char* kDispatcherName = "xdp_dispatcher";
// The program of a broker that has just ended is taken off asynchronously on some kernels.
constexpr int kAttachTries = 100;
constexpr long kAttachPauseNs = 20'000'000;
constexpr size_t kPortBytes = UP_PORT_ENTRIES * sizeof(up_port_entry);

int log_line(const char* format, va_list arguments) {
  char line[kMaxLogLine];
  const int length = std::vsnprintf(line, sizeof line, format, arguments);
  std::string text(line, std::min(static_cast<size_t>(std::max(length, 0)), sizeof line - 1));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  log_write(LogLevel::warning, "%s", text.c_str());
  return length;
}

int print_of_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
  return level == LIBBPF_WARN ? log_line(format, arguments) : 0;
}

int print_of_libxdp(libxdp_print_level level, const char* format, va_list arguments) {
  return level == LIBXDP_WARN ? log_line(format, arguments) : 0;
}

void pause() {
  const timespec rest{0, kAttachPauseNs};
  ::nanosleep(&rest, nullptr);
}

// The XDP program on the interface, of whichever mode; id 0: none.
struct Attached {
  uint32_t id = 0;
  std::string name;
};

Attached attached_to(uint32_t ifindex) {
  bpf_xdp_query_opts query{};
  query.sz = sizeof query;
  const int failed = bpf_xdp_query(static_cast<int>(ifindex), 0, &query);
  if (failed < 0) throw Refusal("asking for the XDP program of the interface", -failed);
  Attached attached;
  attached.id = std::max({query.prog_id, query.drv_prog_id, query.skb_prog_id, query.hw_prog_id});
  if (attached.id == 0) return attached;
  const Fd fd(bpf_prog_get_fd_by_id(attached.id));
  bpf_prog_info info{};
  uint32_t length = sizeof info;
  if (fd && bpf_obj_get_info_by_fd(fd.get(), &info, &length) == 0) attached.name = info.name;
  return attached;
}

// Waits, for a bounded time, for a program of ours to go.
Attached wait_for_own(uint32_t ifindex) {
  Attached attached = attached_to(ifindex);
  for (int i = 0; i < kAttachTries && attached.name == kProgramName; ++i) {
    pause();
    attached = attached_to(ifindex);
  }
  return attached;
}

steer_bpf* open_program(const Nic& nic, uint32_t slots) {
  steer_bpf* const program = steer_bpf__open();
  if (program == nullptr) throw Refusal("opening the XDP program", errno);
  program->rodata->queues = nic.rx_queues;
  program->rodata->max_frame_bytes = kMaxFrameBytes;
  program->rodata->hash_seed = static_cast<uint32_t>(random_sip_key().k0);
  if (bpf_map__set_max_entries(program->maps.up_xsks, slots * nic.rx_queues) != 0) {
    steer_bpf__destroy(program);
    throw Refusal("sizing the XSKMAP", errno);
  }
  return program;
}

int map_fd(const bpf_map* map) { return bpf_map__fd(map); }

}  // namespace

Steering::Steering(const Nic& nic, uint32_t slots, bool generic_only)
    : nic_(nic),
      program_(nullptr, steer_bpf__destroy),
      flow_keys_(UP_MAX_FLOWS),
      flow_slots_(UP_MAX_FLOWS) {
  libbpf_set_print(print_of_libbpf);
  libxdp_set_print(print_of_libxdp);
  const Attached other = wait_for_own(nic.index);
  if (other.name == kProgramName) {
    throw Refusal(fmt::format(
        "programs of a broker that was killed still use {}: a new one can start when they end",
        nic.name));
  }
  program_.reset(open_program(nic, slots));
  if (other.name == kDispatcherName) {
    attach_through_libxdp();
  } else if (other.id != 0) {
    throw Refusal(fmt::format("interface {} is in use by another XDP program (id {}, {})", nic.name,
                              other.id, other.name));
  } else {
    attach_alone(generic_only);
  }
  void* const ports =
      ::mmap(nullptr, kPortBytes, PROT_READ | PROT_WRITE, MAP_SHARED, ports_fd(), 0);
  if (ports == MAP_FAILED) throw Refusal("mapping the port table", errno);
  ports_ = static_cast<up_port_entry*>(ports);
}

Steering::~Steering() {
  if (ports_ != nullptr) ::munmap(ports_, kPortBytes);
  if (through_libxdp_ == nullptr) return;
  const xdp_attach_mode mode = driver_mode_ ? XDP_MODE_NATIVE : XDP_MODE_SKB;
  const int failed = xdp_program__detach(through_libxdp_, static_cast<int>(nic_.index), mode, 0);
  if (failed != 0)
    log_write(LogLevel::warning, "taking the XDP program off: %s", strerror(-failed));
  xdp_program__close(through_libxdp_);
}

void Steering::attach_alone(bool generic_only) {
  if (const int failed = steer_bpf__load(program_.get()); failed != 0) {
    throw Refusal("loading the XDP program", -failed);
  }
  const int program = bpf_program__fd(program_->progs.underpass_steer);
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  int driver_error = 0;
  if (!generic_only) {
    options.flags = XDP_FLAGS_DRV_MODE;
    link_.reset(bpf_link_create(program, static_cast<int>(nic_.index), BPF_XDP, &options));
    driver_mode_ = link_.valid();
    driver_error = driver_mode_ ? 0 : errno;
  }
  if (!link_) {
    options.flags = XDP_FLAGS_SKB_MODE;
    link_.reset(bpf_link_create(program, static_cast<int>(nic_.index), BPF_XDP, &options));
    if (!link_) throw Refusal("attaching the XDP program", errno);
  }
  if (driver_error != 0) {
    log_write(LogLevel::info, "no XDP in the driver of %s (%s): generic mode", nic_.name.c_str(),
              strerror(driver_error));
  }
}

// The dispatcher pins its programs, so ours outlives us if we are killed. With the rings gone it
// passes every frame; the next broker takes it off.
void Steering::attach_through_libxdp() {
  const auto index = static_cast<int>(nic_.index);
  xdp_multiprog* const present = xdp_multiprog__get_from_ifindex(index);
  if (const long failed = libxdp_get_error(present); failed != 0) {
    throw Refusal("asking libxdp for the programs on the interface", static_cast<int>(-failed));
  }
  const xdp_attach_mode mode = xdp_multiprog__attach_mode(present);
  for (xdp_program* at = xdp_multiprog__next_prog(nullptr, present); at != nullptr;
       at = xdp_multiprog__next_prog(at, present)) {
    if (std::strcmp(xdp_program__name(at), kProgramName) == 0)
      old_program_id_ = xdp_program__id(at);
  }
  xdp_multiprog__close(present);
  xdp_program* const program = xdp_program__from_bpf_obj(program_->obj, "xdp");
  if (const long failed = libxdp_get_error(program); failed != 0) {
    throw Refusal("giving the XDP program to libxdp", static_cast<int>(-failed));
  }
  if (const int failed = xdp_program__attach(program, index, mode, 0); failed != 0) {
    xdp_program__close(program);
    throw Refusal(fmt::format("joining libxdp's dispatcher on {} (this needs a kernel that allows "
                              "BPF_PROG_TYPE_EXT)",
                              nic_.name),
                  -failed);
  }
  through_libxdp_ = program;
  driver_mode_ = mode == XDP_MODE_NATIVE;
}

void Steering::take_off_old_program() {
  if (old_program_id_ == 0) return;
  const auto index = static_cast<int>(nic_.index);
  xdp_multiprog* const present = xdp_multiprog__get_from_ifindex(index);
  if (const long failed = libxdp_get_error(present); failed != 0) {
    throw Refusal("asking libxdp for the programs on the interface", static_cast<int>(-failed));
  }
  for (xdp_program* at = xdp_multiprog__next_prog(nullptr, present); at != nullptr;
       at = xdp_multiprog__next_prog(at, present)) {
    if (xdp_program__id(at) != old_program_id_) continue;
    const int failed = xdp_program__detach(at, index, xdp_multiprog__attach_mode(present), 0);
    if (failed != 0) log_write(LogLevel::warning, "an old program stays: %s", strerror(-failed));
    break;
  }
  xdp_multiprog__close(present);
}

int Steering::ports_fd() const { return map_fd(program_->maps.up_ports); }
int Steering::flows_fd() const { return map_fd(program_->maps.up_flows); }
int Steering::link_fd() const { return link_ ? link_.get() : ports_fd(); }
int Steering::program_fd() const { return bpf_program__fd(program_->progs.underpass_steer); }

Result<void> Steering::set_addresses(std::span<const OwnAddress> addresses) {
  return set_own_addresses(map_fd(program_->maps.up_addresses), addresses);
}

bool Steering::has_address(const IpAddress& ip) const {
  return is_own_address(map_fd(program_->maps.up_addresses), ip);
}

bool Steering::is_here(const IpAddress& ip) const {
  up_address value{};
  const int failed =
      bpf_map_lookup_elem(map_fd(program_->maps.up_addresses), ip.bytes.data(), &value);
  return failed == 0 && value.where == UP_ADDRESS_HERE;
}

Result<void> Steering::put_socket(uint32_t slot, uint32_t queue, int xsk_fd) {
  const uint32_t index = slot * nic_.rx_queues + queue;
  const int done = bpf_map_update_elem(map_fd(program_->maps.up_xsks), &index, &xsk_fd, BPF_ANY);
  if (done != 0) return Error{errno};
  return {};
}

void Steering::forget_slot(uint32_t slot) {
  for (uint32_t queue = 0; queue < nic_.rx_queues; ++queue) {
    const uint32_t index = slot * nic_.rx_queues + queue;
    bpf_map_delete_elem(map_fd(program_->maps.up_xsks), &index);
  }
  for (uint32_t i = 0; i < UP_PORT_ENTRIES; ++i) {
    // Free ones stay unwritten, and most are.
    if (ports_[i].value != 0 || ports_[i].members != 0) leave_entry(ports_[i], slot);
  }
  forget_flows(slot);
  // Runs of the XDP program that have seen the old entries end: a grace period of RCU.
  sys::call(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

void Steering::forget_flows(uint32_t slot) {
  const int map = flows_fd();
  std::vector<up_flow_key>& keys = flow_keys_;
  std::vector<uint32_t>& slots = flow_slots_;
  auto count = static_cast<uint32_t>(keys.size());
  uint32_t batch = 0;
  bpf_map_batch_opts options{};
  options.sz = sizeof options;
  // One call for all; ENOENT says that this was the last batch.
  const int failed =
      bpf_map_lookup_batch(map, nullptr, &batch, keys.data(), slots.data(), &count, &options);
  if (failed != 0 && errno != ENOENT) {
    log_write(LogLevel::warning, "reading the flow map: %s", strerror(errno));
    return;
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (slots[i] != slot || bpf_map_delete_elem(map, &keys[i]) != 0) continue;
    __atomic_fetch_sub(entry_of(keys[i]), UP_PORT_FLOWS_ONE, __ATOMIC_ACQ_REL);
  }
}

__u64* Steering::entry_of(const up_flow_key& key) const {
  SocketAddress local{{}, ntohs(key.local_port), 0};
  std::memcpy(local.ip.bytes.data(), key.local_ip, sizeof key.local_ip);
  return &ports_[port_index_of(static_cast<uint8_t>(key.protocol), local)].value;
}

// The mark first, as PortTable::add_flow() does.
Result<void> Steering::set_flow(const Flow& flow, uint32_t owner) {
  const up_flow_key key = flow_key_of(flow);
  __u64* const entry = entry_of(key);
  __atomic_fetch_add(entry, UP_PORT_FLOWS_ONE, __ATOMIC_ACQ_REL);
  const bool added = bpf_map_update_elem(flows_fd(), &key, &owner, BPF_NOEXIST) == 0;
  if (added) return {};
  // An entry that has its mark, or no room for one.
  int error = errno;
  __atomic_fetch_sub(entry, UP_PORT_FLOWS_ONE, __ATOMIC_ACQ_REL);
  if (error != EEXIST) return Error{error};
  if (bpf_map_update_elem(flows_fd(), &key, &owner, BPF_EXIST) == 0) return {};
  error = errno;
  return Error{error};
}

Result<void> Steering::give_flow_to_kernel(const Flow& flow) {
  return set_flow(flow, UP_FLOW_OF_KERNEL);
}

Result<void> Steering::give_flow_to_slot(const Flow& flow, uint32_t slot) {
  const up_flow_key key = flow_key_of(flow);
  uint32_t owner = UP_FLOW_OF_KERNEL;
  const bool known = bpf_map_lookup_elem(flows_fd(), &key, &owner) == 0;
  if (known && owner != UP_FLOW_OF_KERNEL && owner != slot) return Error{EPERM};
  return set_flow(flow, slot);
}

void Steering::take_flow_from_kernel(const Flow& flow) {
  const up_flow_key key = flow_key_of(flow);
  uint32_t owner = 0;
  if (bpf_map_lookup_elem(flows_fd(), &key, &owner) != 0 || owner != UP_FLOW_OF_KERNEL) return;
  if (bpf_map_delete_elem(flows_fd(), &key) != 0) return;
  __atomic_fetch_sub(entry_of(key), UP_PORT_FLOWS_ONE, __ATOMIC_ACQ_REL);
}

std::optional<uint32_t> Steering::owner_of(uint8_t protocol, const SocketAddress& local,
                                           const SocketAddress& remote) const {
  const uint64_t value =
      __atomic_load_n(&ports_[port_index_of(protocol, local)].value, __ATOMIC_RELAXED);
  if ((value & UP_PORT_FLOWS_MASK) != 0) {
    const SocketAddress anybody{IpAddress::any(local.ip.family()), 0, 0};
    for (const SocketAddress& from : {remote, anybody}) {
      const up_flow_key key = flow_key_of({protocol, local, from});
      uint32_t slot = 0;
      if (bpf_map_lookup_elem(flows_fd(), &key, &slot) != 0) continue;
      if (slot == UP_FLOW_OF_KERNEL) return std::nullopt;
      return slot;
    }
  }
  if (!entry_covers(value, local.ip)) return std::nullopt;
  if ((value & UP_PORT_SHARED) != 0) {
    const up_flow_key key = flow_key_of({protocol, local, remote});
    uint32_t chosen = 0;
    if (bpf_map_lookup_elem(map_fd(program_->maps.up_choices), &key, &chosen) == 0) {
      if (chosen == UP_FLOW_OF_KERNEL) return std::nullopt;
      return chosen;
    }
  }
  const auto owner = static_cast<uint32_t>(value & UP_PORT_SLOT_MASK);
  if (owner == 0) return std::nullopt;
  return owner - 1;
}

Steering::Members Steering::members_of(uint8_t protocol, const SocketAddress& local) const {
  const uint64_t members =
      __atomic_load_n(&ports_[port_index_of(protocol, local)].members, __ATOMIC_RELAXED);
  const auto all = static_cast<uint32_t>(members);
  return {all, static_cast<uint32_t>(members >> UP_MAX_SLOTS) & all};
}

bool Steering::is_open_to(uint32_t slot, const Flow& flow) const {
  const up_flow_key key = flow_key_of(flow);
  const uint64_t value = __atomic_load_n(entry_of(key), __ATOMIC_RELAXED);
  const bool has_claim = (value & UP_PORT_SLOT_MASK) == slot + 1;
  if (!entry_covers(value, flow.local.ip) ||
      (!has_claim && (members_of(flow.protocol, flow.local).all & UP_MEMBER(slot)) == 0)) {
    return false;
  }
  uint32_t owner = 0;
  return (value & UP_PORT_FLOWS_MASK) == 0 || bpf_map_lookup_elem(flows_fd(), &key, &owner) != 0;
}

SteerCounters Steering::counters() const {
  SteerCounters sums{};
  std::vector<uint64_t> each(static_cast<size_t>(std::max(1, libbpf_num_possible_cpus())));
  const int map = map_fd(program_->maps.up_counters);
  for (uint32_t i = 0; i < sums.size(); ++i) {
    if (bpf_map_lookup_elem(map, &i, each.data()) != 0) continue;
    for (const uint64_t value : each) sums[i] += value;
  }
  return sums;
}

}  // namespace underpass
