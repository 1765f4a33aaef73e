// readiness.h - who can become readable or writable, and who wants to know
//
// One mechanism serves poll, select, epoll (level, edge, one-shot, nested) and blocking calls.
// Guarded by the stack mutex throughout.
#pragma once

#include <sys/epoll.h>

#include <cstdint>

#include "base/ref.h"
#include "stack/stack_mutex.h"

namespace underpass {

// EPOLL* bits, which are the POLL* bits.
using Readiness = uint32_t;
constexpr Readiness kReadable = EPOLLIN | EPOLLRDNORM;
constexpr Readiness kWritable = EPOLLOUT | EPOLLWRNORM;
// Beside them in a notification: the source's kernel_events() changed, or it became the kernel's.
constexpr Readiness kPlacementChanged = 1U << 24;
// Beside them in a notification: the last descriptor was closed. The observer must detach.
constexpr Readiness kClosed = 1U << 25;

// Beside them in a notification: the program itself has done it, and gets no SIGIO.
constexpr Readiness kByTheProgram = 1U << 26;
// Beside nothing else: the program has closed a number, and calls in progress may have to use
// another one for the kernel's file (OpenFile::fd()).
constexpr Readiness kRenumbered = 1U << 27;

class ReadinessSource;

// Linked into one source. An observer of many sources has one Observation each.
class Observation {
 public:
  Observation() = default;
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;
  virtual ~Observation() { detach(); }

  void attach(ReadinessSource& source) UP_REQUIRES(stack_mutex);
  // Of those that are attached so, one is told of what is there to read or to write: the first that
  // takes_it(). The others do not learn of it, as on Linux (EPOLLEXCLUSIVE).
  void attach_exclusively(ReadinessSource& source) UP_REQUIRES(stack_mutex);
  // Idempotent. Allowed inside notify().
  void detach() UP_NO_THREAD_SAFETY;
  ReadinessSource* source() const { return source_; }

  // Something happened: `events` just became true, or became true again (a new edge: each arrival
  // is one, as in Linux). May attach or detach observations; may not block.
  virtual void notify(Readiness events) UP_REQUIRES(stack_mutex) = 0;
  virtual bool takes_it(Readiness) const UP_REQUIRES(stack_mutex) { return true; }

 private:
  friend class ReadinessSource;
  ReadinessSource* source_ = nullptr;
  bool exclusive_ = false;
  Observation* next_ = nullptr;
  Observation* previous_ = nullptr;
};

class ReadinessSource {
 public:
  virtual ~ReadinessSource();
  virtual Readiness readiness() const UP_REQUIRES(stack_mutex) = 0;
  void notify(Readiness events) UP_REQUIRES(stack_mutex);

  // Counted by fds that share it and by calls in progress.
  void ref() UP_NO_THREAD_SAFETY { ++references_; }
  void unref() UP_NO_THREAD_SAFETY {
    if (--references_ == 0) delete this;
  }

 private:
  friend class Observation;
  Observation* first_ = nullptr;
  // The next observation of a notify() in progress; detach() moves it on. Notifies may nest.
  struct Walk {
    Observation* next;
    Walk* outer;
  };
  Walk* walk_ = nullptr;
  int references_ = 0;

 protected:
  // In the child of a fork: the observers are the parent's.
  void forget_observers() UP_REQUIRES(stack_mutex) {
    first_ = nullptr;
    walk_ = nullptr;
  }
};

}  // namespace underpass
