// calls_options.cpp - getsockopt(2), setsockopt, ioctl, fcntl
#include <cstdarg>

#include "shim/fd_table.h"
#include "shim/passed_fds.h"
#include "shim/posix_border.h"
#include "shim/real.h"

namespace underpass {
namespace {

// F_DUPFD and F_DUPFD_CLOEXEC: another number of the same file.
int duplicate(int fd, int command, long least) {
  int made = 0;
  {
    HeldFile file(fd);
    made = sys::fcntl(fd, command, least);
    if (made < 0) return fail(-made);
    if (file) {
      FdTable::put(made, &*file);
      (*file).add_fd(made);
    }
  }
  move_out_for_streams(fd, made);
  return made;
}

int control(int fd, int command, long argument) {
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) return duplicate(fd, command, argument);
  if (command == F_GETFL || command == F_SETFL) {
    HeldFile file(fd);
    if (SocketFile* const socket = file.socket()) {
      return to_posix(socket->fcntl_flags(command, static_cast<int>(argument)));
    }
  }
  return real().fcntl(fd, command, argument);
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
  {
    HeldFile file(fd);
    if (SocketFile* const socket = file.socket()) {
      return to_posix(socket->getsockopt(level, name, value, length));
    }
  }
  return real().getsockopt(fd, level, name, value, length);
}

UP_EXPORT int setsockopt(int fd, int level, int name, const void* value,
                         socklen_t length) noexcept {
  {
    HeldFile file(fd);
    if (SocketFile* const socket = file.socket()) {
      return to_posix(socket->setsockopt(level, name, value, length));
    }
  }
  return real().setsockopt(fd, level, name, value, length);
}

UP_EXPORT int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list rest;
  va_start(rest, request);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  {
    HeldFile file(fd);
    if (SocketFile* const socket = file.socket()) {
      return to_posix(socket->ioctl(request, argument));
    }
  }
  return real().ioctl(fd, request, argument);
}

UP_EXPORT int sockatmark(int fd) noexcept {
  int at_mark = 0;
  return ::ioctl(fd, SIOCATMARK, &at_mark) < 0 ? -1 : at_mark;
}

UP_EXPORT int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const long argument = va_arg(rest, long);
  va_end(rest);
  if (!FdTable::maybe_ours(fd)) return real().fcntl(fd, command, argument);
  return control(fd, command, argument);
}

UP_EXPORT int fcntl64(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const long argument = va_arg(rest, long);
  va_end(rest);
  if (!FdTable::maybe_ours(fd)) return real().fcntl64(fd, command, argument);
  return control(fd, command, argument);
}
