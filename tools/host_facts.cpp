// host_facts.cpp - probes of the kernel and of our rights
#include "tools/host_facts.h"

#include <linux/bpf.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/fd.h"

namespace underpass {

namespace {

uint64_t effective_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return 0;
  return data[0].effective | uint64_t{data[1].effective} << 32;
}

bool has(int capability) { return (effective_capabilities() >> capability & 1) != 0; }

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

Result<Fd> bpf(bpf_cmd command, bpf_attr& attributes) {
  Fd fd(static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes)));
  if (!fd) return Error{errno};
  return fd;
}

Result<Fd> load_pass_program() {
  // r0 = XDP_PASS; exit
  constexpr std::array<bpf_insn, 2> kProgram = {
      bpf_insn{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS},
      bpf_insn{BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_XDP;
  attributes.insns = address_of(kProgram.data());
  attributes.insn_cnt = kProgram.size();
  attributes.license = address_of("GPL");
  return bpf(BPF_PROG_LOAD, attributes);
}

Result<Fd> make_xsk_map() {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_XSKMAP;
  attributes.key_size = sizeof(uint32_t);
  attributes.value_size = sizeof(uint32_t);
  attributes.max_entries = 1;
  return bpf(BPF_MAP_CREATE, attributes);
}

std::string first_word(const char* path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

}  // namespace

KernelVersion kernel_version() {
  utsname name{};
  KernelVersion version;
  if (::uname(&name) != 0) return version;
  if (std::sscanf(name.release, "%d.%d", &version.major, &version.minor) != 2) return {};
  return version;
}

std::string missing_capabilities() {
  std::string missing;
  const auto need = [&missing](bool held, const char* name) {
    if (held) return;
    if (!missing.empty()) missing += ", ";
    missing += name;
  };
  need(has(CAP_NET_ADMIN), "CAP_NET_ADMIN");
  need(has(CAP_NET_RAW), "CAP_NET_RAW");
  need(has(CAP_BPF) || has(CAP_SYS_ADMIN), "CAP_BPF");
  return missing;
}

Result<void> try_xdp_socket() {
  const Fd fd(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd) return Error{errno};
  return {};
}

Result<void> try_bpf() {
  if (const auto program = load_pass_program(); !program) return Error{program.error()};
  if (const auto map = make_xsk_map(); !map) return Error{map.error()};
  return {};
}

XdpProgram xdp_program(uint32_t id) {
  XdpProgram program{id, {}};
  bpf_attr by_id{};
  by_id.prog_id = id;
  const auto fd = bpf(BPF_PROG_GET_FD_BY_ID, by_id);
  if (!fd) return program;
  bpf_prog_info info{};
  bpf_attr query{};
  query.info.bpf_fd = static_cast<uint32_t>(fd->get());
  query.info.info_len = sizeof info;
  query.info.info = address_of(&info);
  if (::syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &query, sizeof query) == 0) {
    program.name.assign(info.name, ::strnlen(info.name, sizeof info.name));
  }
  return program;
}

std::optional<uint64_t> memlock_limit_bytes() {
  rlimit limit{};
  if (has(CAP_IPC_LOCK) || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return std::nullopt;
  if (limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

std::optional<int> unprivileged_bpf_disabled() {
  const std::string word = first_word("/proc/sys/kernel/unprivileged_bpf_disabled");
  if (word.empty()) return std::nullopt;
  return std::atoi(word.c_str());
}

std::string clocksource() {
  return first_word("/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

}  // namespace underpass
