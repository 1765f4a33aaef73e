// memory.cpp - sealed memfds: nobody can shrink what others have mapped
#include "xdp/broker/memory.h"

#include <fmt/format.h>
#include <linux/memfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "xdp/broker/refusal.h"
#include "xdp/robust_lock.h"

namespace underpass {

SharedMemory::SharedMemory(const char* name, size_t bytes)
    : fd_(static_cast<int>(
          sys::call(SYS_memfd_create, sys::arg(name), MFD_CLOEXEC | MFD_ALLOW_SEALING))) {
  if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    throw Refusal(fmt::format("making {}", name), errno);
  }
  const int sealed = sys::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  if (sealed < 0) throw Refusal(fmt::format("sealing {}", name), -sealed);
  auto map = Mapping::map(fd_.get(), bytes, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!map) throw Refusal(fmt::format("mapping {}", name), map.error());
  map_ = std::move(*map);
}

Result<Fd> SharedMemory::reopen_read_only() const {
  const std::string path = fmt::format("/proc/self/fd/{}", fd_.get());
  const long fd = sys::call(SYS_openat, AT_FDCWD, sys::arg(path.c_str()), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{static_cast<int>(-fd)};
  return Fd(static_cast<int>(fd));
}

Control& init_control(const SharedMemory& memory, const Nic& nic, uint32_t slots) {
  // All zeros is what every field starts as; constructing it would touch all of its pages.
  auto& control = *static_cast<Control*>(memory.get());
  control.version = kControlVersion;
  control.ifindex = nic.index;
  nic.name.copy(control.ifname, sizeof control.ifname - 1);
  control.mac = mac_word(nic.mac);
  control.mtu_bytes = nic.mtu_bytes;
  control.queues = nic.rx_queues;
  control.tx_queues = nic.sending_queues();
  control.slots = slots;
  control.broker_pid = static_cast<uint32_t>(::getpid());
  for (uint32_t i = 0; i < nic.rx_queues; ++i) {
    RobustTryLock::init(control.locks[i].fill);
    RobustTryLock::init(control.locks[i].completion);
  }
  control.magic = kControlMagic;
  return control;
}

}  // namespace underpass
