// epoll_set.cpp - the items, their list, and the two kernel epolls beside them
#include "shim/epoll_set.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/siphash.h"
#include "base/sys.h"
#include "base/user_pointer.h"
#include "shim/real.h"
#include "stack/clock.h"

namespace underpass {

namespace {

constexpr Readiness kAlways = EPOLLERR | EPOLLHUP;
// What is not an event but a way of reporting.
constexpr uint32_t kModes = EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;
// EPOLLEXCLUSIVE_OK_BITS in fs/eventpoll.c.
constexpr uint32_t kBesideExclusive =
    EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
// While there are events of the stack, kernel sides are looked at this often: a system call each.
constexpr uint64_t kKernelPollNs = 20 * kNsPerUs;
// A program that polls without waiting, over and over, finds the kernel sides of our files looked
// at no more often than that; until then each of its polls looks, as it may itself have sent what
// it looks for.
constexpr uint32_t kBusyPolls = 16;
constexpr size_t kShadowBatch = 64;
constexpr uint32_t kCollectedAlone = 4;

int control_kernel(int epoll, int operation, int fd, epoll_event* event) {
  return static_cast<int>(sys::call(SYS_epoll_ctl, epoll, operation, fd, sys::arg(event)));
}

int poll_kernel(int epoll, std::span<epoll_event> out) {
  constexpr long kKernelSigsetBytes = 8;
  return static_cast<int>(sys::call(SYS_epoll_pwait, epoll, sys::arg(out.data()),
                                    static_cast<long>(out.size()), 0, 0, kKernelSigsetBytes));
}

}  // namespace

struct EpollSet::Item : Observation {
  Item(EpollSet& owner, int number, OpenFile& open, uint32_t name)
      : set(owner), fd(number), file(&open), cookie(name) {}

  void notify(Readiness events) UP_REQUIRES(stack_mutex) override;
  // ep_poll_callback() in fs/eventpoll.c.
  bool takes_it(Readiness events) const UP_REQUIRES(stack_mutex) override {
    return set.waiting_ != 0 && (events & interest() & (EPOLLIN | EPOLLOUT)) != 0;
  }
  bool is_exclusive() const { return (event.events & EPOLLEXCLUSIVE) != 0; }
  Readiness interest() const { return armed ? (event.events & ~kModes) | kAlways : Readiness{0}; }

  EpollSet& set;
  const int fd;
  OpenFile* const file;
  const uint32_t cookie;
  epoll_event event{};
  bool listens = false;             // counted in listeners_
  bool armed = true;                // false: a one-shot that has been reported
  Readiness kernel_registered = 0;  // what the shadow polls for; 0: not in it
  int kernel_fd = -1;               // under which number
  uint64_t reported_in = 0;         // the collection that has reported it
  bool queued = false;
  Item* next = nullptr;
  Item* previous = nullptr;
};

void EpollSet::Item::notify(Readiness events) {
  if (events & kClosed) {
    set.erase(*this);
    return;
  }
  if (events & kPlacementChanged) {
    if (file->is_kernels()) {
      set.give_to_kernel(*this);
      return;
    }
    set.note_listener(*this);
    set.update_kernel_side(*this);
    set.enqueue(*this);
    return;
  }
  if (events & interest()) set.enqueue(*this);
}

uint64_t EpollSet::cookie() {
  // Not to be met by chance among a program's own values.
  static const uint64_t value = random_sip_key().k0;
  return value;
}

int EpollSet::without_cookie(epoll_event* events, int count, bool* had_cookie) {
  *had_cookie = false;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 != cookie()) continue;
    *had_cookie = true;
    std::memmove(&events[i], &events[i + 1], static_cast<size_t>(count - i - 1) * sizeof *events);
    return count - 1;
  }
  return count;
}

EpollSet::EpollSet(int fd, Fd shadow, Fd wake)
    : OpenFile(fd), shadow_(std::move(shadow)), wake_(std::move(wake)) {}

EpollSet::~EpollSet() = default;

Ref<EpollSet> EpollSet::create(int fd) {
  Fd shadow = make_out_of_the_way([] { return sys::call(SYS_epoll_create1, EPOLL_CLOEXEC); });
  Fd wake =
      make_out_of_the_way([]() -> long { return sys::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); });
  if (!shadow || !wake) return nullptr;
  epoll_event woken{};
  woken.events = EPOLLIN;
  epoll_event nested{};
  nested.events = EPOLLIN;
  nested.data.u64 = cookie();
  if (control_kernel(shadow.get(), EPOLL_CTL_ADD, wake.get(), &woken) < 0 ||
      control_kernel(fd, EPOLL_CTL_ADD, shadow.get(), &nested) < 0) {
    return nullptr;
  }
  return Ref<EpollSet>(new EpollSet(fd, std::move(shadow), std::move(wake)));
}

void EpollSet::last_close(int) {
  notify(kClosed);
  while (!items_.empty()) erase(*items_.begin()->second);
  fd_ = -1;
}

void EpollSet::note_listener(Item& item) {
  if (item.listens || !item.file->is_listener()) return;
  item.listens = true;
  ++listeners_;
}

// A thread waits for all of them: few listeners, if any, want to know.
void EpollSet::waits(bool on) {
  if (listeners_ == 0) return;
  for (const auto& [fd, item] : items_) {
    if (item->listens) item->file->waits(on);
  }
}

// ---- control

EpollSet::Item* EpollSet::find(int fd, const OpenFile& file) {
  const auto [from, to] = items_.equal_range(fd);
  for (auto it = from; it != to; ++it) {
    if (it->second->file == &file) return it->second.get();
  }
  return nullptr;
}

Result<void> EpollSet::control(int operation, int fd, OpenFile& file, const epoll_event* event) {
  if (&file == this) return Error{EINVAL};
  if (operation != EPOLL_CTL_DEL && !is_user_object(event)) return Error{EFAULT};
  if (operation != EPOLL_CTL_DEL && (event->events & EPOLLEXCLUSIVE) != 0 &&
      (operation == EPOLL_CTL_MOD || file.epoll() != nullptr ||
       (event->events & ~kBesideExclusive) != 0)) {
    return Error{EINVAL};
  }
  Item* const item = find(fd, file);
  switch (operation) {
    case EPOLL_CTL_ADD:
      if (item != nullptr) return Error{EEXIST};
      return add(fd, file, *event);
    case EPOLL_CTL_MOD:
      if (item == nullptr) return Error{ENOENT};
      if (item->is_exclusive()) return Error{EINVAL};
      return modify(*item, *event);
    case EPOLL_CTL_DEL:
      if (item == nullptr) return Error{ENOENT};
      erase(*item);
      return {};
    default:
      return Error{EINVAL};
  }
}

Result<void> EpollSet::add(int fd, OpenFile& file, const epoll_event& event) {
  if (file.epoll() != nullptr) {
    // The kernel knows whether sets would contain one another (ELOOP).
    epoll_event probe{};
    const int added = control_kernel(shadow_.get(), EPOLL_CTL_ADD, fd, &probe);
    if (added < 0) return Error{-added};
    control_kernel(shadow_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
  auto made = std::make_unique<Item>(*this, fd, file, next_cookie_++);
  Item& item = *made;
  item.event = event;
  items_.emplace(fd, std::move(made));
  if (item.is_exclusive()) {
    item.attach_exclusively(file);
  } else {
    item.attach(file);
  }
  note_listener(item);
  update_kernel_side(item);
  if (file.readiness() & item.interest()) enqueue(item);
  if (waits_in_kernel_ > 0) {
    const uint64_t one = 1;
    sys::write(wake_.get(), &one, sizeof one);
  }
  return {};
}

Result<void> EpollSet::modify(Item& item, const epoll_event& event) {
  item.event = event;
  item.armed = true;
  update_kernel_side(item);
  if (item.file->readiness() & item.interest()) enqueue(item);
  return {};
}

void EpollSet::erase(Item& item) {
  item.detach();
  unlink(item);
  if (item.listens) --listeners_;
  if (item.kernel_registered != 0) {
    control_kernel(shadow_.get(), EPOLL_CTL_DEL, item.kernel_fd, nullptr);
    --kernel_sides_;
  }
  const auto [from, to] = items_.equal_range(item.fd);
  for (auto it = from; it != to; ++it) {
    if (it->second.get() != &item) continue;
    items_.erase(it);
    return;
  }
}

void EpollSet::update_kernel_side(Item& item) {
  const Readiness wanted = item.interest() & item.file->kernel_events() & ~kModes;
  epoll_event event{};
  event.events = wanted | (item.event.events & EPOLLET);
  event.data.u64 = uint64_t{item.cookie} << 32U | static_cast<uint32_t>(item.fd);
  const bool registered = item.kernel_registered != 0;
  if (wanted == 0) {
    if (registered) {
      control_kernel(shadow_.get(), EPOLL_CTL_DEL, item.kernel_fd, nullptr);
      --kernel_sides_;
    }
    item.kernel_registered = 0;
    return;
  }
  if (!registered) item.kernel_fd = item.file->fd();
  const int done = control_kernel(shadow_.get(), registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
                                  item.kernel_fd, &event);
  if (done < 0) return;
  if (!registered) ++kernel_sides_;
  item.kernel_registered = event.events;
}

// From now on as if the program had added a file of the kernel.
void EpollSet::give_to_kernel(Item& item) {
  epoll_event event = item.event;
  if (!item.armed) event.events = 0;
  const int fd = item.fd;
  erase(item);
  control_kernel(fd_, EPOLL_CTL_ADD, fd, &event);
  ++kernel_files_;
}

// ---- the list of those that may have something to report

void EpollSet::enqueue(Item& item) {
  if (!item.queued) {
    item.queued = true;
    item.previous = last_;
    item.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &item;
    last_ = &item;
  }
  ++wakes_;
  waiting_ = 0;
  notify(EPOLLIN | EPOLLRDNORM);
}

void EpollSet::unlink(Item& item) {
  if (!item.queued) return;
  item.queued = false;
  (item.previous != nullptr ? item.previous->next : first_) = item.next;
  (item.next != nullptr ? item.next->previous : last_) = item.previous;
}

Readiness EpollSet::readiness() const {
  for (const Item* item = first_; item != nullptr; item = item->next) {
    if (item->file->readiness() & item->interest()) return EPOLLIN | EPOLLRDNORM;
  }
  return 0;
}

void EpollSet::disarm_if_one_shot(Item& item) {
  if ((item.event.events & EPOLLONESHOT) == 0) return;
  item.armed = false;
  update_kernel_side(item);
}

size_t EpollSet::collect(std::span<epoll_event> out) {
  size_t count = 0;
  Item* const stop = last_;
  for (Item* item = first_; item != nullptr && count < out.size();) {
    Item* const next = item == stop ? nullptr : item->next;
    unlink(*item);
    const Readiness ready = item->file->readiness() & item->interest();
    if (ready != 0) {
      const bool again = (item->event.events & (EPOLLET | EPOLLONESHOT)) == 0;
      if (item->reported_in != collection_) {
        out[count].events = ready;
        out[count++].data = item->event.data;
        item->reported_in = collection_;
        disarm_if_one_shot(*item);
      }
      if (again) {
        item->queued = true;
        item->previous = last_;
        item->next = nullptr;
        (last_ != nullptr ? last_->next : first_) = item;
        last_ = item;
      }
    }
    item = next;
  }
  return count;
}

size_t EpollSet::collect_shadow(std::span<epoll_event> out) {
  epoll_event events[kShadowBatch];
  const int got = poll_kernel(shadow_.get(), {events, std::min(out.size(), kShadowBatch)});
  size_t count = 0;
  for (int i = 0; i < got; ++i) {
    const auto number = static_cast<int>(events[i].data.u64 & 0xffffffffU);
    const auto name = static_cast<uint32_t>(events[i].data.u64 >> 32U);
    const auto [from, to] = items_.equal_range(number);
    const auto found =
        std::find_if(from, to, [&](const auto& one) { return one.second->cookie == name; });
    if (found == to) continue;  // the eventfd
    Item& item = *found->second;
    item.file->hint_kernel_ready(events[i].events);
    const Readiness ready = (events[i].events | item.file->readiness()) & item.interest();
    if (ready == 0 || item.reported_in == collection_) continue;
    out[count].events = ready;
    out[count++].data = item.event.data;
    item.reported_in = collection_;
    disarm_if_one_shot(item);
  }
  return count;
}

size_t EpollSet::collect_kernel(std::span<epoll_event> out) {
  if (out.empty()) return 0;
  kernel_polled_ns_ = monotonic_ns();
  if (kernel_files_ == 0) return collect_shadow(out);
  const int got = poll_kernel(fd_, out);
  if (got <= 0) return 0;
  bool had_cookie = false;
  const auto count = static_cast<size_t>(without_cookie(out.data(), got, &had_cookie));
  return had_cookie ? count + collect_shadow(out.subspan(count)) : count;
}

// Neither side starves the other: when the kernel's turn has come it gets half of the room first.
size_t EpollSet::collect_all(std::span<epoll_event> out, bool may_wait) {
  ++collection_;
  const bool has_kernel = kernel_files_ > 0 || kernel_sides_ > 0;
  size_t count = 0;
  bool polled = false;
  // With little room many calls fit into that time: some of them are the kernel's, too.
  if (has_kernel && (monotonic_ns() - kernel_polled_ns_ >= kKernelPollNs ||
                     ++collected_alone_ >= kCollectedAlone)) {
    polled = true;
    collected_alone_ = 0;
    count = collect_kernel(out.first(std::max<size_t>(1, out.size() / 2)));
  }
  count += collect(out.subspan(count));
  if (count != 0) {
    empty_polls_ = 0;
    return count;
  }
  // Whoever waits has the kernel polled for him; whoever does not must see it now.
  const bool strict = kernel_files_ > 0 || ++empty_polls_ < kBusyPolls;
  if (has_kernel && !polled && !may_wait && strict) count = collect_kernel(out);
  if (count != 0) empty_polls_ = 0;
  return count;
}

// ---- waiting

// A thread that nothing has woken yet.
struct EpollSet::Waiting {
  explicit Waiting(EpollSet& one) UP_NO_THREAD_SAFETY : set(&one), wakes(one.wakes_) {
    ++set->waiting_;
  }
  ~Waiting() UP_NO_THREAD_SAFETY {
    if (wakes == set->wakes_) --set->waiting_;
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  EpollSet* set;
  const uint64_t wakes;
};

Result<int> EpollSet::wait(std::span<epoll_event> out, Deadline deadline, const sigset_t* mask) {
  const Ref<EpollSet> alive(this);
  Waiter waiter;
  WaiterObservation observation(waiter, EPOLLIN);
  observation.attach(*this);
  for (;;) {
    if (items_.empty()) return wait_in_kernel(out, deadline, mask);
    const bool may_wait = deadline.at_ns == UINT64_MAX || !deadline.passed();
    drive_stack();
    const size_t count = collect_all(out, may_wait);
    if (count != 0 || !may_wait) return static_cast<int>(count);
    pollfd kernel{fd_, POLLIN, 0};
    const bool ask_kernel = kernel_files_ > 0 || kernel_sides_ > 0;
    Waiter::Woke woke{};
    {
      const WaitsFor waits(*this);
      const Waiting waiting(*this);
      woke = waiter.wait(ask_kernel ? std::span<pollfd>(&kernel, 1) : std::span<pollfd>(), deadline,
                         mask);
    }
    if (woke == Waiter::Woke::kKernel) kernel_polled_ns_ = 0;
    if (woke == Waiter::Woke::kSignal) {
      const size_t last = collect_all(out, false);
      if (last == 0) return Error{EINTR};
      return static_cast<int>(last);
    }
  }
}

// No item of ours: the kernel's own wait, which add() can end.
Result<int> EpollSet::wait_in_kernel(std::span<epoll_event> out, Deadline deadline,
                                     const sigset_t* mask) {
  struct Unlocked {
    explicit Unlocked(EpollSet& set) UP_NO_THREAD_SAFETY : set_(set) {
      ++set_.waits_in_kernel_;
      stack_mutex.unlock_and_stay_inside();
    }
    ~Unlocked() UP_NO_THREAD_SAFETY {
      stack_mutex.lock_from_inside();
      uint64_t drained = 0;
      if (--set_.waits_in_kernel_ == 0) sys::read(set_.wake_.get(), &drained, sizeof drained);
    }
    EpollSet& set_;
  };
  for (;;) {
    int timeout_ms = -1;
    if (deadline.at_ns != UINT64_MAX) {
      const uint64_t now = monotonic_ns();
      const uint64_t left_ns = deadline.at_ns > now ? deadline.at_ns - now : 0;
      const uint64_t left_ms = (left_ns + kNsPerMs - 1) / kNsPerMs;
      timeout_ms = static_cast<int>(std::min<uint64_t>(left_ms, INT32_MAX));
    }
    int got = 0;
    {
      const Unlocked unlocked(*this);
      auto wait_at_kernel = [&] {
        const int count =
            real().epoll_pwait(fd_, out.data(), static_cast<int>(out.size()), timeout_ms, mask);
        return count < 0 ? -errno : count;
      };
      got = with_signals_let_in(mask, wait_at_kernel);
    }
    if (got < 0) return Error{-got};
    bool had_cookie = false;
    const int count = without_cookie(out.data(), got, &had_cookie);
    if (count > 0 || !had_cookie) return count;
    if (!items_.empty()) return wait(out, deadline, mask);
  }
}

}  // namespace underpass
