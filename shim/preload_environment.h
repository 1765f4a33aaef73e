// preload_environment.h - what brought the library into this program, for programs that it starts
//
// LD_PRELOAD and the UNDERPASS_* variables, as they were when the program began. Programs that give
// others an environment of their own making (inetd-like servers, CGI) do not know them, and would
// start them on the kernel.
#pragma once

#include <cstddef>

namespace underpass {

class PreloadEnvironment {
 public:
  // Once, before main().
  static void remember(char* const* environment);

  // Room for what extended() writes, in pointers; 0 if `environment` (null: empty) is right as it
  // is: because it names LD_PRELOAD or UNDERPASS_IFACE, so that whoever takes one of them away
  // means it; because this program was not started with both; or because the library cannot be read
  // here (chroot(2), another user). Async-signal-safe, as extended() is, since a child of fork(2)
  // may call no more.
  static size_t room_for(char* const* environment);
  static char** extended(char* const* environment, char** room);
};

}  // namespace underpass
