// calls_exec.cpp - exec in all its forms: before it, connections go to the kernel; the preload goes
// on
#include <alloca.h>
#include <spawn.h>
#include <unistd.h>

#include <cstddef>

#include "shim/fd_table.h"
#include "shim/preload_environment.h"
#include "shim/real.h"
#include "stack/clock.h"
#include "stack/no_cancellation.h"
#include "stack/process.h"

namespace underpass {
namespace {

// The arguments of execl(3) and its kin as an array; `rest` is behind the null afterwards.
size_t count_arguments(const char* first, va_list rest) {
  va_list copy;
  va_copy(copy, rest);
  size_t count = 0;
  for (const char* at = first; at != nullptr; at = va_arg(copy, const char*)) ++count;
  va_end(copy);
  return count;
}

// `out` has room for all and the null. As variadic arguments they are not const; exec changes none.
void take_arguments(const char* first, va_list* rest, char** out) {
  for (const char* at = first; at != nullptr; at = va_arg(*rest, const char*)) {
    *out++ = const_cast<char*>(at);
  }
  *out = nullptr;
}

// The stack ends here as at exit: the kernel goes on with connections that survive, and sees the
// others to their end. Should exec fail, they stay the kernel's.
void before_exec() {
  const NoCancellation guard;
  {
    StackLock lock;
    FdTable::come_over_for_exec();
    FdTable::leave_for_exec();
    Stack* const stack = Process::instance().stack();
    if (stack == nullptr) return;
    stack->drive(monotonic_ns());
    stack->move_all_out();
  }
  process_leave_listeners();
}

}  // namespace
}  // namespace underpass

using namespace underpass;

// In the caller's frame: what is made there lives as long as the call, in a child of vfork too.
#define UP_CARRY_PRELOAD(environment)                                                              \
  if (const size_t room = PreloadEnvironment::room_for(environment); room != 0) {                  \
    environment = PreloadEnvironment::extended(environment,                                        \
                                               static_cast<char**>(alloca(room * sizeof(char*)))); \
  }

UP_EXPORT int execve(const char* path, char* const arguments[],
                     char* const environment[]) noexcept {
  before_exec();
  UP_CARRY_PRELOAD(environment)
  return real().execve(path, arguments, environment);
}

UP_EXPORT int execv(const char* path, char* const arguments[]) noexcept {
  return ::execve(path, arguments, environ);
}

UP_EXPORT int execvpe(const char* file, char* const arguments[],
                      char* const environment[]) noexcept {
  before_exec();
  UP_CARRY_PRELOAD(environment)
  return real().execvpe(file, arguments, environment);
}

UP_EXPORT int execvp(const char* file, char* const arguments[]) noexcept {
  return ::execvpe(file, arguments, environ);
}

UP_EXPORT int fexecve(int fd, char* const arguments[], char* const environment[]) noexcept {
  before_exec();
  UP_CARRY_PRELOAD(environment)
  return real().fexecve(fd, arguments, environment);
}

UP_EXPORT int execveat(int directory, const char* path, char* const arguments[],
                       char* const environment[], int flags) noexcept {
  before_exec();
  UP_CARRY_PRELOAD(environment)
  return real().execveat(directory, path, arguments, environment, flags);
}

// They exec at once, in a child that calls no name of ours; connections stay.
UP_EXPORT int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                          const posix_spawnattr_t* attributes, char* const arguments[],
                          char* const environment[]) {
  UP_CARRY_PRELOAD(environment)
  return real().posix_spawn(pid, path, actions, attributes, arguments, environment);
}

UP_EXPORT int posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                           const posix_spawnattr_t* attributes, char* const arguments[],
                           char* const environment[]) {
  UP_CARRY_PRELOAD(environment)
  return real().posix_spawnp(pid, file, actions, attributes, arguments, environment);
}
#undef UP_CARRY_PRELOAD

#define UP_TAKE_ARGUMENTS(first, rest)                                                 \
  auto** const arguments =                                                             \
      static_cast<char**>(alloca((count_arguments(first, rest) + 1) * sizeof(char*))); \
  take_arguments(first, &(rest), arguments)

UP_EXPORT int execl(const char* path, const char* first, ...) noexcept {
  va_list rest;
  va_start(rest, first);
  UP_TAKE_ARGUMENTS(first, rest);
  va_end(rest);
  return ::execv(path, arguments);
}

UP_EXPORT int execlp(const char* file, const char* first, ...) noexcept {
  va_list rest;
  va_start(rest, first);
  UP_TAKE_ARGUMENTS(first, rest);
  va_end(rest);
  return ::execvp(file, arguments);
}

UP_EXPORT int execle(const char* path, const char* first, ...) noexcept {
  va_list rest;
  va_start(rest, first);
  UP_TAKE_ARGUMENTS(first, rest);
  char* const* const environment = va_arg(rest, char* const*);
  va_end(rest);
  return ::execve(path, arguments, environment);
}
#undef UP_TAKE_ARGUMENTS
