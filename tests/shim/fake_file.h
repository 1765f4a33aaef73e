// fake_file.h - an open file whose readiness a test sets, beside an eventfd that is its kernel side
#pragma once

#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "stack/open_file.h"

namespace underpass {

class FakeFile : public OpenFile {
 public:
  FakeFile() : OpenFile(sys::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), kernel_(fd_) {}

  Readiness readiness() const override { return ready_; }
  Readiness kernel_events() const override { return kernel_events_; }
  void hint_kernel_ready(Readiness events) override { hinted_ = events; }
  bool is_kernels() const override { return is_kernels_; }
  void last_close(int) UP_REQUIRES(stack_mutex) override {
    ++closes_;
    notify(kClosed);
  }

  // Something arrived: an edge.
  void arrive(Readiness events) UP_REQUIRES(stack_mutex) {
    ready_ |= events;
    notify(events);
  }
  void consume() { ready_ = 0; }
  void kernel_arrive() {
    const uint64_t one = 1;
    sys::write(kernel_.get(), &one, sizeof one);
  }
  void kernel_consume() {
    uint64_t count = 0;
    sys::read(kernel_.get(), &count, sizeof count);
  }
  int number() const { return kernel_.get(); }

  Readiness ready_ = 0;
  Readiness kernel_events_ = 0;
  Readiness hinted_ = 0;
  bool is_kernels_ = false;
  int closes_ = 0;

 private:
  Fd kernel_;
};

}  // namespace underpass
