// poller.cpp - one look at all, then one wait for all, until something is there
#include "shim/poller.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <vector>

#include "shim/fd_table.h"
#include "stack/clock.h"

namespace underpass {

namespace {

constexpr short kAlways = POLLERR | POLLHUP;
constexpr uint64_t kKernelTurnNs = 20 * kNsPerUs;

// What wakes a poll(2): of sockets, whoever waits to read or to write is told of everything of that
// kind, and a change of state is told to all (sock_def_readable(), sock_def_write_space() and
// sock_def_wakeup() in net/core/sock.c). It then looks at its numbers anew: one may be closed by
// now.
Readiness woken_by(short events) {
  constexpr Readiness kOfReaders = EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND;
  constexpr Readiness kOfWriters = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
  const auto asked = static_cast<Readiness>(events);
  return asked | EPOLLRDHUP | ((asked & kOfReaders) != 0 ? kOfReaders : 0) |
         ((asked & kOfWriters) != 0 ? kOfWriters : 0);
}

class Poll;

// One file of ours: its place among the program's pollfds, and what wakes us.
struct Watched : WaiterObservation {
  Watched(Waiter& waiter, Poll& whole, OpenFile& open, size_t place,
          short events) UP_NO_THREAD_SAFETY : WaiterObservation(waiter, woken_by(events)),
                                              poll(whole),
                                              file(&open),
                                              index(place) {
    file->call_begins();
  }
  ~Watched() override UP_NO_THREAD_SAFETY {
    detach();
    file->call_ends();
  }
  void notify(Readiness events) UP_REQUIRES(stack_mutex) override;

  Poll& poll;
  Ref<OpenFile> file;
  size_t index;
};

// A poll(2) in progress. Lives under the lock.
class Poll {
 public:
  Poll(std::span<pollfd> fds, Waiter& waiter, Polling how, std::vector<size_t>& ended)
      : fds_(fds),
        waiter_(waiter),
        always_(how == Polling::kAsPoll ? kAlways : short{0}),
        ended_(ended) {}

  // Sorts the descriptors into ours and the kernel's.
  void build() UP_REQUIRES(stack_mutex);
  int look(bool may_wait) UP_REQUIRES(stack_mutex);
  std::span<pollfd> kernel() { return kernel_; }
  // Threads that wait for a connection are known to other processes.
  void waits(bool on) UP_REQUIRES(stack_mutex) {
    for (const Watched& one : watched_) {
      if ((fds_[one.index].events & POLLIN) != 0) one.file->waits(on);
    }
  }
  // Revents of kernel() into the program's array.
  void merge_kernel();
  // The program has closed it: the wait goes on with the kernel's file, and ends at the next news.
  void renumber(const Watched& one) UP_REQUIRES(stack_mutex);
  bool has_closed() const { return has_closed_; }
  int count() const;
  bool has_invalid() const;

 private:
  std::span<pollfd> fds_;
  Waiter& waiter_;
  const short always_;
  // Places of the kernel's files of which it says over and over what nobody has asked for.
  std::vector<size_t>& ended_;
  std::deque<Watched> watched_;
  std::vector<pollfd> kernel_;
  std::vector<size_t> kernel_index_;
  size_t pure_kernel_ = 0;  // of kernel_: not the kernel side of a file of ours
  bool has_closed_ = false;
};

void Watched::notify(Readiness events) {
  if ((events & kRenumbered) != 0) return poll.renumber(*this);
  WaiterObservation::notify(events);
}

class PollWaits {
 public:
  explicit PollWaits(Poll& poll) UP_NO_THREAD_SAFETY : poll_(poll) { poll_.waits(true); }
  ~PollWaits() UP_NO_THREAD_SAFETY { poll_.waits(false); }
  PollWaits(const PollWaits&) = delete;
  PollWaits& operator=(const PollWaits&) = delete;

 private:
  Poll& poll_;
};

void Poll::build() {
  for (size_t i = 0; i < fds_.size(); ++i) {
    pollfd& one = fds_[i];
    one.revents = 0;
    if (one.fd < 0) continue;
    OpenFile* const file = FdTable::find_to_wait(one.fd, static_cast<Readiness>(one.events));
    short events = one.events;
    if (file != nullptr) {
      watched_.emplace_back(waiter_, *this, *file, i, one.events).attach(*file);
      events = static_cast<short>((one.events | always_) &
                                  static_cast<short>(file->kernel_events() & 0x7fffU));
      if (events == 0) continue;
    } else {
      ++pure_kernel_;
    }
    if (std::find(ended_.begin(), ended_.end(), i) != ended_.end()) continue;
    kernel_.push_back({one.fd, events, 0});
    kernel_index_.push_back(i);
  }
}

void Poll::merge_kernel() {
  for (size_t i = 0; i < kernel_.size(); ++i) {
    pollfd& one = fds_[kernel_index_[i]];
    const short said = kernel_[i].revents;
    const auto asked = static_cast<short>(said & (one.events | always_ | POLLNVAL));
    if (said != 0 && asked == 0) ended_.push_back(kernel_index_[i]);
    one.revents = static_cast<short>(one.revents | asked);
  }
}

void Poll::renumber(const Watched& one) {
  has_closed_ = true;
  for (size_t i = 0; i < kernel_.size(); ++i) {
    if (kernel_index_[i] == one.index) kernel_[i].fd = one.file->fd();
  }
}

int Poll::count() const {
  return static_cast<int>(
      std::count_if(fds_.begin(), fds_.end(), [](const pollfd& one) { return one.revents != 0; }));
}

bool Poll::has_invalid() const {
  return std::any_of(fds_.begin(), fds_.end(),
                     [](const pollfd& one) { return (one.revents & POLLNVAL) != 0; });
}

int Poll::look(bool may_wait) {
  bool found = false;
  for (const Watched& one : watched_) {
    pollfd& fd = fds_[one.index];
    const auto wanted = static_cast<Readiness>(fd.events | always_);
    const auto ready = static_cast<short>(one.file->readiness() & wanted & 0x7fffU);
    fd.revents = static_cast<short>(fd.revents | ready);
    found = found || ready != 0;
  }
  // A file of ours may always have something, as a datagram socket has room: the kernel sides then
  // have their turn, now and then.
  thread_local uint64_t kernel_asked_ns = 0;
  const uint64_t now = kernel_.empty() ? 0 : monotonic_ns();
  const bool turn = found && now - kernel_asked_ns >= kKernelTurnNs;
  const bool ask = pure_kernel_ != 0 || (!kernel_.empty() && (turn || (!found && !may_wait)));
  if (ask) {
    kernel_asked_ns = now;
    timespec zero{};
    if (sys::ppoll(kernel_.data(), kernel_.size(), &zero, nullptr) > 0) merge_kernel();
  }
  // The next accept or recv looks at the side that has something.
  for (const Watched& one : watched_) {
    const size_t index = one.index;
    for (size_t i = 0; i < kernel_.size(); ++i) {
      if (kernel_index_[i] == index && kernel_[i].revents != 0) {
        one.file->hint_kernel_ready(static_cast<Readiness>(kernel_[i].revents));
      }
    }
  }
  return count();
}

}  // namespace

bool any_ours(std::span<const pollfd> fds) {
  return std::any_of(fds.begin(), fds.end(),
                     [](const pollfd& one) { return FdTable::maybe_ours(one.fd); });
}

Result<int> poll_files(std::span<pollfd> fds, Deadline deadline, const sigset_t* mask,
                       Polling how) {
  StackLock lock;
  Waiter waiter;
  std::vector<size_t> ended;
  bool interrupted = false;
  bool first = true;
  for (;;) {
    Poll poll(fds, waiter, how, ended);
    poll.build();
    drive_stack();
    const bool may_wait = !interrupted && !deadline.passed();
    const int ready = poll.look(may_wait);
    if (ready > 0 && first && how == Polling::kForSelect && poll.has_invalid()) return Error{EBADF};
    if (ready > 0) return ready;
    first = false;
    if (interrupted) return Error{EINTR};
    if (!may_wait) return 0;
    Waiter::Woke woke{};
    {
      const PollWaits waits(poll);
      woke = waiter.wait(poll.kernel(), deadline, mask);
    }
    switch (woke) {
      case Waiter::Woke::kKernel: {
        if (poll.has_closed()) break;
        poll.merge_kernel();
        const int woken = poll.look(true);
        if (woken > 0) return woken;
        break;
      }
      case Waiter::Woke::kSignal:
        interrupted = true;
        break;
      case Waiter::Woke::kTimeout:
      case Waiter::Woke::kNotified:
        break;
    }
  }
}

}  // namespace underpass
