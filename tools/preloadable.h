// preloadable.h - whether the dynamic linker will load a library into a program
#pragma once

#include <string>

namespace underpass {

// "" if it will, as far as the program's file tells, or if there is no such file: exec says that
// better. Else why not: statically linked (ld.so never runs), or started with more rights than the
// caller's (ld.so(8), secure-execution mode). `program` is searched for as execvp(3) does; of a
// script, its interpreter is judged.
std::string why_not_preloadable(const std::string& program);

}  // namespace underpass
