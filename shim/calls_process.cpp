// calls_process.cpp - the child of vfork(2) would share our memory with its parent
#include "shim/real.h"

using namespace underpass;

// What the child does to its descriptors between vfork and exec must not happen to the parent's
// table, so it gets memory of its own. POSIX allows no more to the child than what works in both.
UP_EXPORT pid_t vfork() noexcept { return ::fork(); }
