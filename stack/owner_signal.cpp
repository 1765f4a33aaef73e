// owner_signal.cpp - what send_sigurg() and send_sigio() do in fs/fcntl.c
#include "stack/owner_signal.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <iterator>

#include "base/sys.h"

namespace underpass {

namespace {

// band_table in fs/fcntl.c.
struct Band {
  int code;
  long events;
};
constexpr Band kBands[] = {
    {POLL_IN, POLLIN | POLLRDNORM},
    {POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND},
    {POLL_ERR, POLLERR},
    {POLL_HUP, POLLHUP | POLLERR},
};

const Band& band_of(Readiness events) {
  if ((events & EPOLLERR) != 0) return kBands[2];
  if ((events & EPOLLHUP) != 0) return kBands[3];
  return (events & EPOLLIN) != 0 ? kBands[0] : kBands[1];
}

bool owner_of(int fd, f_owner_ex& owner) {
  return sys::fcntl(fd, F_GETOWN_EX, sys::arg(&owner)) == 0 && owner.pid != 0;
}

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

// With siginfo. A group cannot be sent any.
long queue_to(const f_owner_ex& owner, int number, int fd, const Band& band) {
  siginfo_t info{};
  info.si_signo = number;
  info.si_code = SI_SIGIO;
  info.si_fd = fd;
  info.si_band = band.events;
  if (owner.type == F_OWNER_PID) {
    return sys::call(SYS_rt_sigqueueinfo, owner.pid, number, sys::arg(&info));
  }
  if (owner.type != F_OWNER_TID) return -1;
  return sys::call(SYS_rt_tgsigqueueinfo, sys::getpid(), owner.pid, number, sys::arg(&info));
}

}  // namespace

void raise_urgent(int fd) {
  f_owner_ex owner{};
  if (owner_of(fd, owner)) send_to(owner, SIGURG);
}

void raise_io(int fd, Readiness events) {
  f_owner_ex owner{};
  if (!owner_of(fd, owner)) return;
  const int number = sys::fcntl(fd, F_GETSIG);
  if (number > 0 && queue_to(owner, number, fd, band_of(events)) == 0) return;
  send_to(owner, number > 0 && owner.type == F_OWNER_PGRP ? number : SIGIO);
}

void restore_io_code(siginfo_t& info) {
  if (info.si_code != SI_SIGIO) return;
  const auto* const band = std::find_if(std::begin(kBands), std::end(kBands), [&](const Band& one) {
    return one.events == info.si_band;
  });
  if (band != std::end(kBands)) info.si_code = band->code;
}

}  // namespace underpass
