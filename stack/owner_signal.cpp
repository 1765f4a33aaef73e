// owner_signal.cpp - what send_sigurg() does in fs/fcntl.c
#include "stack/owner_signal.h"

#include <fcntl.h>
#include <signal.h>

#include "base/sys.h"

namespace underpass {

namespace {

// The kernel's own signals may always be sent; ours need the right that kill(2) needs.
void send_to(const f_owner_ex& owner, int number) {
  switch (owner.type) {
    case F_OWNER_TID:
      sys::call(SYS_tkill, owner.pid, number);
      break;
    case F_OWNER_PID:
      sys::call(SYS_kill, owner.pid, number);
      break;
    case F_OWNER_PGRP:
      sys::call(SYS_kill, -owner.pid, number);
      break;
  }
}

}  // namespace

void raise_urgent(int fd) {
  f_owner_ex owner{};
  if (sys::fcntl(fd, F_GETOWN_EX, sys::arg(&owner)) != 0 || owner.pid == 0) return;
  send_to(owner, SIGURG);
}

}  // namespace underpass
