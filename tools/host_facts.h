// host_facts.h - what this kernel and this process may do
//
// Nothing here touches an interface: the BPF program of the probe is loaded, never attached.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace underpass {

struct KernelVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};

KernelVersion kernel_version();
// Of CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF (CAP_SYS_ADMIN will do), those that this process lacks,
// as "CAP_A, CAP_B"; empty if none.
std::string missing_capabilities();
// EAFNOSUPPORT: the kernel has no AF_XDP. EPERM: CAP_NET_RAW is missing.
Result<void> try_xdp_socket();
// Loads a two-instruction XDP program and makes an XSKMAP, and drops both. EPERM: not allowed.
Result<void> try_bpf();
// "id 12, name xdp_pass"; the name needs CAP_SYS_ADMIN or CAP_BPF and is left out without.
struct XdpProgram {
  uint32_t id = 0;
  std::string name;
};
XdpProgram xdp_program(uint32_t id);
// Bytes that may be pinned; nothing if there is no limit for this process.
std::optional<uint64_t> memlock_limit_bytes();
// kernel.unprivileged_bpf_disabled; nothing if the kernel does not say.
std::optional<int> unprivileged_bpf_disabled();
std::string clocksource();

}  // namespace underpass
