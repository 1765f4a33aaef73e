// family.cpp - a line for each fork, and the thread that answers what children ask
#include "stack/family.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "stack/clock.h"
#include "stack/process.h"
#include "stack/service_thread.h"
#include "stack/tcp_endpoint.h"
#include "xdp/unix_message.h"

namespace underpass {

namespace {

// The parent may be stopped, or busy; without it the child could only fail.
constexpr uint64_t kPatienceNs = 10 * kNsPerS;

struct Line {
  Fd parent;
  Fd child;
};

Line make_line(int type) {
  int ends[2] = {-1, -1};
  const long made = sys::call(SYS_socketpair, AF_UNIX, type | SOCK_CLOEXEC, 0, sys::arg(ends));
  if (made < 0) return {};
  return {move_out_of_the_way(Fd(ends[0])), move_out_of_the_way(Fd(ends[1]))};
}

}  // namespace

// ---- around fork

void Family::before_fork(bool has_connections) {
  ++forks_;
  if (!has_connections) return;
  Line line = make_line(SOCK_SEQPACKET);
  next_line_ = std::move(line.parent);
  next_child_end_ = std::move(line.child);
}

void Family::after_fork_in_parent() {
  next_child_end_.reset();
  if (!next_line_) return;
  children_.push_back({std::move(next_line_), forks()});
  start_serving();
  const uint64_t one = 1;
  if (changed_) sys::write(changed_.get(), &one, sizeof one);
}

void Family::after_fork_in_child() {
  children_.clear();
  changed_.reset();
  next_line_.reset();
  // A line for good: it closes with the process, or upon exec.
  if (next_child_end_) to_parents_.push_back(next_child_end_.release());
}

// ---- the child

void Family::ask(int line, const FourTuple& flow) {
  Line answer = make_line(SOCK_STREAM);
  const int end = answer.parent.get();
  if (!answer.child || !send_message(line, &flow, sizeof flow, {&end, 1})) return;
  answer.parent.reset();
  const uint64_t until_ns = monotonic_ns() + kPatienceNs;
  for (;;) {
    const uint64_t now = monotonic_ns();
    if (now >= until_ns) break;
    timespec rest = to_timespec(until_ns - now);
    pollfd one{answer.child.get(), POLLIN, 0};
    const int ready = sys::ppoll(&one, 1, &rest, nullptr);
    if (ready > 0) return;
    if (ready < 0 && ready != -EINTR) return;
  }
  log_write(LogLevel::warning, "the parent does not give a connection away");
}

// ---- the parent

bool Family::may_share(uint64_t forks) const {
  return std::any_of(children_.begin(), children_.end(),
                     [&](const Child& one) { return one.fork > forks; });
}

void Family::start_serving() {
  if (changed_) return;
  changed_.reset(sys::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!changed_) return;
  changed_ = move_out_of_the_way(std::move(changed_));
  start_service_thread("underpass-fork", serve_main, this);
}

void* Family::serve_main(void* self) {
  static_cast<Family*>(self)->serve();
  return nullptr;
}

void Family::serve() {
  std::vector<pollfd> fds;
  for (;;) {
    fds.clear();
    {
      StackLock lock;
      uint64_t changes = 0;
      sys::read(changed_.get(), &changes, sizeof changes);
      fds.push_back({changed_.get(), POLLIN, 0});
      for (const Child& one : children_) fds.push_back({one.line.get(), POLLIN, 0});
    }
    sys::ppoll(fds.data(), fds.size(), nullptr, nullptr);
    StackLock lock;
    std::erase_if(children_, [&](const Child& one) UP_NO_THREAD_SAFETY {
      const auto at = std::find_if(fds.begin(), fds.end(), [&](const pollfd& polled) {
        return polled.fd == one.line.get();
      });
      return at != fds.end() && at->revents != 0 && !answer(one.line.get());
    });
  }
}

bool Family::answer(int line) {
  FourTuple flow;
  std::vector<Fd> fds;
  const auto got = receive_message(line, &flow, sizeof flow, fds);
  if (!got) return got.error() == EAGAIN || got.error() == EINTR;
  if (*got == 0) return false;
  if (*got == sizeof flow) move_out(flow);
  // With what came closed the child knows.
  return true;
}

void Family::move_out(const FourTuple& flow) {
  Stack* const stack = Process::instance().stack();
  if (stack == nullptr) return;
  TcpEndpoint* const endpoint = stack->tcp().find(flow);
  if (endpoint != nullptr) stack->move_out(*endpoint);
}

}  // namespace underpass
