// owner_signal.h - signals for whoever a program has named by F_SETOWN (fcntl(2))
//
// Owner and signal are the kernel socket's, which the program has set them on; here they are only
// raised. Calls take no lock and may be made under any.
#pragma once

#include <signal.h>

#include "stack/readiness.h"

namespace underpass {

// SIGURG. Nothing where nobody is named.
void raise_urgent(int fd);

// SIGIO, or what F_SETSIG says, for what has become true of a socket with O_ASYNC.
void raise_io(int fd, Readiness events);

// The kernel alone may say POLL_IN and its siblings to another thread, so raise_io() says SI_SIGIO:
// what the kernel would have said is put in its place where the program is handed the siginfo.
void restore_io_code(siginfo_t& info);

}  // namespace underpass
