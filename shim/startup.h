// startup.h - what the library knows about the process it was loaded into
#pragma once

namespace underpass {

// False where no socket can ever be bypassed: no interface named, or no broker when the program
// began.
bool bypass_is_possible();
// The process has come out of fork(2) of a process with the library.
bool is_forked_child();
// In the child of a fork, before anything else; process_prepare_fork() was called in the parent.
void after_fork_in_child();

}  // namespace underpass
