// readiness.cpp - the list of observers of a source
#include "stack/readiness.h"

namespace underpass {

void Observation::attach(ReadinessSource& source) {
  detach();
  source_ = &source;
  next_ = source.first_;
  previous_ = nullptr;
  if (next_ != nullptr) next_->previous_ = this;
  source.first_ = this;
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

void ReadinessSource::notify(Readiness events) {
  Walk walk{first_, walk_};
  walk_ = &walk;
  while (walk.next != nullptr) {
    Observation* current = walk.next;
    walk.next = current->next_;
    current->notify(events);
  }
  walk_ = walk.outer;
}

}  // namespace underpass
