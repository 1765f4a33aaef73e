// diagnosis.cpp - the checks, from the interface outwards
#include "tools/diagnosis.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/limits.h"
#include "tools/host_facts.h"
#include "tools/layout.h"
#include "tools/link_facts.h"
#include "xdp/broker_client.h"

namespace underpass {

namespace {

constexpr uint32_t kEthernetHeaderBytes = 14;
constexpr uint32_t kMaxMtuBytes = kMaxFrameBytes - kEthernetHeaderBytes;
// Clients map the rings of sockets that the broker has bound, and share those of a queue. Before
// "xsk: allow remap of fill and/or completion rings" that is EBUSY.
constexpr KernelVersion kOldestKernel{6, 4};
// From here a map's fd is enough to write to it: "bpf: refine kernel.unprivileged_bpf_disabled".
constexpr KernelVersion kUnprivilegedMapUpdates{5, 19};
// What libxdp calls the program that runs several others in turn.
constexpr const char* kDispatcherName = "xdp_dispatcher";

// Collects findings in the order of the checks.
class Examination {
 public:
  explicit Examination(std::string iface) : iface_(std::move(iface)) {}
  std::vector<Finding> run();

 private:
  void ok(std::string what) { add(Verdict::kOk, std::move(what), ""); }
  void note(std::string what, std::string remedy) {
    add(Verdict::kNote, std::move(what), std::move(remedy));
  }
  void missing(std::string what, std::string remedy) {
    add(Verdict::kMissing, std::move(what), std::move(remedy));
  }
  void add(Verdict verdict, std::string what, std::string remedy) {
    findings_.push_back({verdict, std::move(what), std::move(remedy)});
  }

  void check_link();
  void check_mtu();
  void check_kernel();
  void check_files();
  bool check_broker();
  // What only a broker that is yet to start needs.
  void check_rights();
  void check_other_program();
  void check_memlock();
  void check_driver();
  void check_queues();
  void check_veth();
  void check_unprivileged_bpf();
  void check_processor();

  std::string iface_;
  LinkFacts link_;
  std::vector<Finding> findings_;
};

std::vector<Finding> Examination::run() {
  const auto link = link_facts(iface_);
  if (!link) return {no_such_interface(iface_)};
  link_ = *link;
  check_link();
  check_mtu();
  check_kernel();
  check_files();
  if (!check_broker()) {
    check_rights();
    check_other_program();
    check_memlock();
  }
  check_driver();
  check_queues();
  if (link_.kind == "veth") check_veth();
  check_unprivileged_bpf();
  check_processor();
  return findings_;
}

void Examination::check_link() {
  if (link_.loopback) {
    missing(fmt::format("{} is the loopback interface", iface_),
            "name the interface that other hosts are reached through");
    return;
  }
  if (link_.up) {
    ok(fmt::format("interface {} exists and is up", iface_));
  } else {
    missing(fmt::format("interface {} is down", iface_), fmt::format("ip link set {} up", iface_));
  }
  if (link_.has_ipv4 || link_.has_ipv6) {
    ok(fmt::format("it has an {} address", !link_.has_ipv6   ? "IPv4"
                                           : !link_.has_ipv4 ? "IPv6"
                                                             : "IPv4 and an IPv6"));
  } else {
    missing("it has no address that other networks know",
            fmt::format("ip address add ADDRESS/BITS dev {}", iface_));
  }
}

void Examination::check_mtu() {
  if (link_.mtu_bytes <= kMaxMtuBytes) {
    ok(fmt::format("MTU {}: a frame fits in a chunk of {} bytes", link_.mtu_bytes, kFrameBytes));
  } else {
    missing(fmt::format("MTU {} is over {}, the most that a chunk holds", link_.mtu_bytes,
                        kMaxMtuBytes),
            fmt::format("ip link set {} mtu 1500", iface_));
  }
}

void Examination::check_kernel() {
  const KernelVersion version = kernel_version();
  const std::string name = fmt::format("Linux {}.{}", version.major, version.minor);
  if (version >= kOldestKernel) {
    ok(name);
  } else {
    missing(name + " is too old",
            fmt::format("use Linux {}.{} or later (for Debian 12: linux-image-amd64 of "
                        "bookworm-backports)",
                        kOldestKernel.major, kOldestKernel.minor));
  }
}

void Examination::check_files() {
  const std::string remedy =
      "run `make`, or reinstall: underpass, underpassd and "
      "libunderpass.so belong together";
  for (const auto& [name, found] :
       {std::pair{"underpassd", find_broker()}, std::pair{"libunderpass.so", find_library()}}) {
    if (found) {
      ok(fmt::format("{} is {}", name, *found));
    } else {
      missing(fmt::format("{} is not found from {}", name, own_directory()), remedy);
    }
  }
}

bool Examination::check_broker() {
  const auto lease = BrokerClient::lease(iface_);
  if (lease) {
    ok(fmt::format("a broker runs on {}: programs need no privilege", iface_));
    return true;
  }
  if (lease.error() == EPERM) {
    findings_.push_back(held_by_another_user(iface_));
    return true;
  }
  if (lease.error() != ECONNREFUSED) {
    missing(fmt::format("the broker of {} does not let us in ({})", iface_,
                        std::strerror(lease.error())),
            "run as the user that started it, or as root");
    return true;
  }
  ok("no broker runs yet: `underpass run` will start one");
  return false;
}

void Examination::check_rights() {
  const int xdp_error = try_xdp_socket().error();
  if (xdp_error == EAFNOSUPPORT) {
    missing("this kernel has no AF_XDP", "use a kernel built with CONFIG_XDP_SOCKETS=y");
    return;
  }
  if (const std::string lacking = missing_capabilities(); !lacking.empty()) {
    missing(fmt::format("no privilege to start a broker (missing {})", lacking),
            "run as root, or let root start underpassd as a service first");
    return;
  }
  if (xdp_error != 0) {
    missing(fmt::format("an AF_XDP socket is refused ({})", std::strerror(xdp_error)),
            "look for a seccomp or LSM policy that forbids socket(AF_XDP)");
  } else {
    ok("AF_XDP sockets can be created");
  }
  if (const auto bpf = try_bpf(); !bpf) {
    missing(fmt::format("loading BPF is refused ({})", std::strerror(bpf.error())),
            "look for lockdown, seccomp or an LSM policy that forbids bpf(2)");
  } else {
    ok("BPF programs and maps can be made");
  }
}

void Examination::check_other_program() {
  if (link_.xdp_program_id == 0) {
    ok("no other XDP program is attached");
    return;
  }
  const XdpProgram program = xdp_program(link_.xdp_program_id);
  const std::string name =
      fmt::format("id {}{}{}", program.id, program.name.empty() ? "" : ", ", program.name);
  if (program.name == kDispatcherName) {
    note(fmt::format("libxdp's dispatcher is attached ({})", name),
         "ours is added to it if this kernel allows BPF_PROG_TYPE_EXT");
  } else {
    missing(fmt::format("interface {} is in use by another XDP program ({})", iface_, name),
            fmt::format("end the program that holds it, or `ip link set {} xdp off`, or load it "
                        "through xdp-loader",
                        iface_));
  }
}

void Examination::check_memlock() {
  const auto limit = memlock_limit_bytes();
  const uint64_t frames = uint64_t{std::min(link_.rx_queues, kMaxQueues)} * kRxFramesPerQueue +
                          uint64_t{kMaxSlots} * kTxFramesPerSlot;
  const uint64_t wanted = frames * kFrameBytes;
  constexpr uint64_t kMiB = 1 << 20;
  if (!limit || *limit >= wanted) {
    ok(fmt::format("{} MiB may be pinned", wanted / kMiB));
  } else {
    missing(fmt::format("only {} of {} MiB may be pinned", *limit / kMiB, wanted / kMiB),
            fmt::format("ulimit -l {}, or CAP_IPC_LOCK", wanted / 1024));
  }
}

void Examination::check_driver() {
  const std::string driver = link_.driver.empty() ? "unknown" : link_.driver;
  if (link_.native_xdp.value_or(driver_known_native(driver))) {
    const char* const copies = !link_.zero_copy   ? "zero copy if the driver has it"
                               : *link_.zero_copy ? "zero copy"
                                                  : "copies";
    ok(fmt::format("driver {}: native XDP, {}", driver, copies));
  } else {
    note(fmt::format("driver {}: no native XDP known; generic mode will be used", driver),
         "correct but slower; aggregated frames (GRO, LRO) do not fit: "
         "`ethtool -K IFACE gro off lro off`");
  }
}

void Examination::check_queues() {
  if (link_.rx_queues <= kMaxQueues) {
    ok(fmt::format("{} rx queue{}", link_.rx_queues, link_.rx_queues == 1 ? "" : "s"));
  } else {
    missing(fmt::format("{} rx queues, of which {} can be served", link_.rx_queues, kMaxQueues),
            fmt::format("ethtool -L {} combined {}", iface_, kMaxQueues));
  }
}

void Examination::check_veth() {
  if (offload_facts(iface_).gro) {
    note("veth with GRO on: frames for the kernel pass through NAPI", "");
  }
  if (link_.peer.empty()) {
    note("veth: the peer is in another namespace; its checksums may be partial", "");
    return;
  }
  const OffloadFacts peer = offload_facts(link_.peer);
  note(fmt::format("veth: the peer {} is in this namespace (TSO {})", link_.peer,
                   peer.tso ? "on" : "off"),
       "traffic to it goes over loopback unless it is moved to a namespace of its own");
}

void Examination::check_unprivileged_bpf() {
  const auto disabled = unprivileged_bpf_disabled();
  if (disabled.value_or(0) == 0 || kernel_version() >= kUnprivilegedMapUpdates) return;
  note(fmt::format("kernel.unprivileged_bpf_disabled is {}: before Linux 5.19 a program without "
                   "CAP_BPF cannot steer single flows",
                   *disabled),
       "its connections that outlive their listener stay with the port; upgrade the kernel");
}

void Examination::check_processor() {
  const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (processors == 1) {
    note("one processor: spinning takes it from the peer", "underpass run --spin-us 0");
  }
  const std::string clock = clocksource();
  constexpr std::array<std::string_view, 3> kRead = {"tsc", "kvm-clock", "arch_sys_counter"};
  if (std::find(kRead.begin(), kRead.end(), clock) == kRead.end()) {
    note(fmt::format("clock source {}: reading the time is a system call", clock),
         "choose tsc in /sys/devices/system/clocksource/clocksource0/current_clocksource");
  }
}

}  // namespace

std::vector<Finding> diagnose(const std::string& iface) { return Examination(iface).run(); }

const Finding* first_missing(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    if (finding.verdict == Verdict::kMissing) return &finding;
  }
  return nullptr;
}

std::string to_string(const Finding& finding) {
  return finding.remedy.empty() ? finding.what : finding.what + ": " + finding.remedy;
}

Finding held_by_another_user(const std::string& iface) {
  return {Verdict::kMissing,
          fmt::format("the broker's name for {} is held by a program of another user, which is not "
                      "believed",
                      iface),
          fmt::format("end it (`ss -xlp` shows it as @underpass/{})", iface)};
}

Finding no_such_interface(const std::string& iface) {
  return {Verdict::kMissing,
          fmt::format("there is no interface {} in this network namespace", iface),
          "`ip link` lists them"};
}

}  // namespace underpass
