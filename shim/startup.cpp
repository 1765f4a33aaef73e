// startup.cpp - before main(), around fork(2), at exit(3)
#include "shim/startup.h"

#include <pthread.h>
#include <unistd.h>
#include <unwind.h>

#include <atomic>
#include <cstdlib>

#include "base/options.h"
#include "shim/fd_table.h"
#include "shim/preload_environment.h"
#include "shim/real.h"
#include "stack/process.h"
#include "stack/waiter.h"

namespace underpass {

namespace {

std::atomic<bool> forked{false};

}  // namespace

void after_fork_in_child() {
  process_after_fork_child();
  // Inherited descriptors are the kernel's here; the connections of the stack stay the parent's.
  {
    StackLock lock;
    FdTable::after_fork();
  }
  forked.store(true, std::memory_order_relaxed);
  process_fork_is_over();
}

namespace {

_Unwind_Reason_Code look_no_further(_Unwind_Context*, void*) { return _URC_END_OF_STACK; }

// A cancelled thread is unwound by the libgcc_s that libc loads, through our frames, whose
// personality routine is in the copy of libgcc that is linked into us. That copy learns the sizes
// of registers when it first unwinds by itself, and aborts without them.
void prepare_unwinder() { _Unwind_Backtrace(look_no_further, nullptr); }

__attribute__((constructor)) void start() {
  prepare_unwinder();
  find_real_calls();
  set_sleep_call(real().ppoll);
  PreloadEnvironment::remember(environ);
  const Options options = options_from_environment();
  if (!process_start(options)) return;
  FdTable::adopt_listeners();
  pthread_atfork(process_prepare_fork, process_after_fork_parent, after_fork_in_child);
  // The first to be registered is the last to be called.
  at_quick_exit(process_exit);
}

__attribute__((destructor)) void end() { process_exit(); }

}  // namespace

bool bypass_is_possible() { return Process::instance().may_attach(); }
bool is_forked_child() { return forked.load(std::memory_order_relaxed); }

}  // namespace underpass
