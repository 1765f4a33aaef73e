// sys.cpp - the one place where system calls are made
#include "base/sys.h"

#ifndef __x86_64__
#error "the registers of a system call are known for x86-64 only"
#endif

namespace underpass::sys {

// As in the System V ABI for x86-64, A.2.1.
long call(long number, long a, long b, long c, long d, long e, long f) {
  register long fourth asm("r10") = d;
  register long fifth asm("r8") = e;
  register long sixth asm("r9") = f;
  long result = number;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
               : "rcx", "r11", "memory");
  return result;
}

}  // namespace underpass::sys
