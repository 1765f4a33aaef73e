// interface_use.h - what the Socket class knows of the process's Interface
#pragma once

#include <cstdint>

namespace underpass {

// An Interface lives: sockets are made to be bypassed.
bool interface_is_named();
// Changes where files of before must not be touched any more: in the child of a fork, whose copy
// of the stack is dead, and at exit.
uint32_t process_generation();

}  // namespace underpass
