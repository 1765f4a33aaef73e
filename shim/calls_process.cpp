// calls_process.cpp - vfork, whose child would share our memory, and the end of a process
#include <paths.h>

#include "base/sys.h"
#include "shim/passed_fds.h"
#include "shim/real.h"
#include "stack/no_cancellation.h"
#include "stack/process.h"

using namespace underpass;

// What the child does to its descriptors between vfork and exec must not happen to the parent's
// table, so it gets memory of its own. POSIX allows no more to the child than what works in both.
UP_EXPORT pid_t vfork() noexcept { return ::fork(); }

// posix_spawn(3) itself is libc's, and calls no name of ours: what its child is to have under
// another number is moved when that is said.
UP_EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t* actions, int from,
                                               int to) noexcept {
  const NoCancellation guard;
  move_out_passed(from);
  return real().posix_spawn_file_actions_adddup2(actions, from, to);
}

// As glibc's, which calls nothing in between (_exit(2)); but what has been sent is sent.
UP_EXPORT void _exit(int status) {
  process_leave(status);
  for (;;) sys::call(SYS_exit_group, status);
}

// As glibc's (misc/daemon.c), whose own calls go past our names: the parent's connections would die
// with it, and the table would not know what has become of 0, 1 and 2.
UP_EXPORT int daemon(int keeps_directory, int keeps_streams) noexcept {
  const NoCancellation guard;
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child != 0) ::_exit(0);
  if (::setsid() == -1) return -1;
  if (keeps_directory == 0) static_cast<void>(::chdir("/") == 0);
  if (keeps_streams != 0) return 0;
  const int null = ::open(_PATH_DEVNULL, O_RDWR);
  if (null < 0) return -1;
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) ::dup2(null, fd);
  if (null > STDERR_FILENO) ::close(null);
  return 0;
}

UP_EXPORT void _Exit(int status) noexcept { ::_exit(status); }
