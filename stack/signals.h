// signals.h - whether a call that a signal handler has interrupted goes on
#pragma once

namespace underpass {

// After an EINTR: true when each signal that has a handler wants calls restarted (SA_RESTART,
// sigaction(2)). Which of the signals it was is not to be known from outside of the kernel; with
// mixed handlers the call ends, because a program that interrupts itself on purpose would hang
// otherwise. Costs 64 system calls.
bool interrupted_call_restarts();

}  // namespace underpass
