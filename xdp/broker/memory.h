// memory.h - the two memories that the broker makes: control and UMEM
#pragma once

#include "base/fd.h"
#include "xdp/broker/nic.h"
#include "xdp/control_abi.h"
#include "xdp/mapping.h"

namespace underpass {

// A memfd of fixed size, mapped. Throws Refusal.
class SharedMemory {
 public:
  SharedMemory(const char* name, size_t bytes);
  int fd() const { return fd_.get(); }
  void* get() const { return map_.get(); }
  // A descriptor that cannot be written through. EPERM, ENOENT: /proc is not there.
  Result<Fd> reopen_read_only() const;

 private:
  Fd fd_;
  Mapping map_;
};

// Writes what does not change later; `memory` is all zeros.
Control& init_control(const SharedMemory& memory, const Nic& nic, uint32_t slots);

}  // namespace underpass
