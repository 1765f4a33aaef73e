// readiness.cpp - the list of observers of a source
#include "stack/readiness.h"

namespace underpass {

void Observation::attach(ReadinessSource& source) {
  detach();
  source_ = &source;
  exclusive_ = false;
  next_ = source.first_;
  previous_ = nullptr;
  if (next_ != nullptr) next_->previous_ = this;
  source.first_ = this;
}

// Behind all others, in the order of their coming.
void Observation::attach_exclusively(ReadinessSource& source) {
  Observation* last = source.first_;
  while (last != nullptr && last->next_ != nullptr) last = last->next_;
  if (last == nullptr) {
    attach(source);
  } else {
    detach();
    source_ = &source;
    next_ = nullptr;
    previous_ = last;
    last->next_ = this;
  }
  exclusive_ = true;
}

void Observation::detach() {
  if (source_ == nullptr) return;
  // A notify() that stands before this one goes on with the next.
  for (auto* walk = source_->walk_; walk != nullptr; walk = walk->outer) {
    if (walk->next == this) walk->next = next_;
  }
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else {
    source_->first_ = next_;
  }
  if (next_ != nullptr) next_->previous_ = previous_;
  source_ = nullptr;
  next_ = previous_ = nullptr;
}

ReadinessSource::~ReadinessSource() {
  while (first_ != nullptr) first_->detach();
}

// As __wake_up_common() in kernel/sched/wait.c: a change of state is for all.
void ReadinessSource::notify(Readiness events) {
  constexpr Readiness kForOne = kReadable | kWritable | EPOLLPRI | EPOLLRDBAND | EPOLLWRBAND;
  const bool for_all = (events & ~kForOne) != 0;
  bool taken = false;
  Walk walk{first_, walk_};
  walk_ = &walk;
  while (walk.next != nullptr) {
    Observation* current = walk.next;
    walk.next = current->next_;
    if (current->exclusive_ && !for_all) {
      if (taken) continue;
      taken = current->takes_it(events);
    }
    current->notify(events);
  }
  walk_ = walk.outer;
}

}  // namespace underpass
