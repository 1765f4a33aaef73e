// process.cpp - attaching, the helper thread, fork
#include "stack/process.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/fd_limit.h"
#include "base/log.h"
#include "stack/clock.h"
#include "stack/kernel_view.h"
#include "stack/service_thread.h"
#include "stack/signals.h"
#include "stack/tcp_endpoint.h"
#include "stack/waiter.h"
#include "xdp/address_table.h"

namespace underpass {

namespace {

// After this long with all threads asleep in waits, the helper sleeps without a limit.
constexpr int kParkAfterPeriods = 50;
// How often sockets ask for a broker that has been there before.
constexpr uint64_t kTryAgainNs = kNsPerS;

// Which network namespace the socket is of (socket(7)). 0: the kernel is too old to say.
uint64_t network_of(int fd) {
  uint64_t cookie = 0;
  socklen_t bytes = sizeof cookie;
  sys::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes);
  return cookie;
}

}  // namespace

Process& Process::instance() {
  static Process& process = *new Process;
  return process;
}

Result<void> process_start(const Options& options) {
  fd_limit_ask(handlers_wait);
  Process& process = Process::instance();
  process.options_ = options;
  process.spin_.set_limit_ns(uint64_t{options.spin_us} * kNsPerUs);
  if (options.iface[0] == '\0') return Error{ENODEV};
  auto lease = BrokerClient::lease(options.iface);
  if (!lease && lease.error() == EPERM) {
    log_write(LogLevel::warning,
              "the broker's name for %s is held by another user, who is not believed: sockets stay "
              "with the kernel",
              options.iface);
    return Error{EPERM};
  }
  if (!lease) {
    log_write(LogLevel::info, "no broker for %s (%s): sockets stay with the kernel", options.iface,
              strerrordesc_np(lease.error()));
    return Error{lease.error()};
  }
  process.lease_ = std::move(*lease);
  process.may_attach_ = true;
  process.tried_ = false;
  const Fd probe(sys::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  process.network_ = network_of(probe.get());
  return {};
}

bool Process::has_interface(int fd) const { return network_ == 0 || network_of(fd) == network_; }

Result<void> Process::attach() {
  if (!may_attach_) return Error{ENODEV};
  attach_mutex_.lock();
  // There was a broker when the program began: it may be on its way to be another.
  if (attach_error_ == ECONNREFUSED && monotonic_ns() >= try_again_ns_) tried_ = false;
  if (!tried_) {
    tried_ = true;
    auto attached = attach_to_broker();
    attach_error_ = attached.error();
    try_again_ns_ = monotonic_ns() + kTryAgainNs;
    if (attached) {
      attach_to(std::move(attached->attachment), std::move(attached->view));
    } else {
      log_write(LogLevel::warning, "cannot attach to the broker of %s (%s): kernel sockets",
                options_.iface, strerrordesc_np(attach_error_));
    }
  }
  const int error = attach_error_;
  attach_mutex_.unlock();
  if (error != 0) return Error{error};
  return {};
}

Result<Process::Attached> Process::attach_to_broker() {
  Result<std::unique_ptr<Attachment>> attachment = Error{ECONNREFUSED};
  if (lease_) attachment = BrokerClient::attach(std::move(lease_));
  // Its broker may have ended since then.
  if (!attachment && (attachment.error() == ECONNREFUSED || attachment.error() == ECONNRESET)) {
    auto lease = BrokerClient::lease(options_.iface);
    if (!lease) return Error{lease.error()};
    attachment = BrokerClient::attach(std::move(*lease));
  }
  if (!attachment) return Error{attachment.error()};
  auto view = KernelView::open(**attachment);
  if (!view) return Error{view.error()};
  return Attached{std::move(*attachment), std::move(*view)};
}

void Process::attach_to(std::unique_ptr<Attachment> attachment, std::unique_ptr<HostView> view) {
  StackLock lock;
  attachment_ = std::move(attachment);
  attachment_->listen_to_relocations(relocation_);
  view_ = std::move(view);
  stack_ = std::make_unique<Stack>(setup_of(*attachment_, *view_));
  may_attach_ = true;
  tried_ = true;
  attach_error_ = 0;
  helper_event_.reset(take_event_fd());
  owner_pid_.store(sys::getpid());
  start_helper();
}

Stack::Setup Process::setup_of(Attachment& attachment, HostView& view) {
  IpAddress address = IpAddress::any(AF_INET);
  uint32_t prefix_bits = 0;
  const AddressTable table = read_addresses(attachment.control());
  for (const LocalAddress& one : table.all()) {
    IpAddress candidate;
    std::copy(std::begin(one.ip), std::end(one.ip), candidate.bytes.begin());
    if (!candidate.is_v4()) continue;
    address = candidate;
    prefix_bits = one.prefix_bits - 96;  // counted in the v4-mapped form
    break;
  }
  return {attachment.port(), view, attachment.ports(), attachment.slot(), address, prefix_bits};
}

void Process::let_go() {
  stack_->unplug();
  attachment_->let_go();
  // A descriptor of the rings in a sleeper's poll keeps the kernel from letting go of them.
  wake_ring_sleepers();
}

Result<void> Process::come_back() {
  auto attached = attach_to_broker();
  if (!attached) return Error{attached.error()};
  StackLock lock;
  before_.push_back({std::move(attachment_), std::move(view_)});
  attachment_ = std::move(attached->attachment);
  view_ = std::move(attached->view);
  attachment_->listen_to_relocations(relocation_);
  stack_->plug_in(setup_of(*attachment_, *view_));
  relocation_.has_broker(*stack_);
  wake_ring_sleepers();
  return {};
}

void Process::wake_ring_sleepers() {
  if (ring_sleeper_ != nullptr) ring_sleeper_->nudge();
  const uint64_t one = 1;
  if (helper_event_) sys::write(helper_event_.get(), &one, sizeof one);
}

// Who spins looks at the port without the lock; frames of its lie in queues.
void Process::forget_those_before() {
  if (waiting_threads_ == 0 && stack_->frames_of_before() == 0) before_.clear();
}

bool Process::is_interface_address(const IpAddress& ip) {
  if (attachment_ == nullptr) return false;
  const AddressTable table = read_addresses(attachment_->control());
  return std::any_of(table.all().begin(), table.all().end(), [&](const LocalAddress& one) {
    return std::equal(std::begin(one.ip), std::end(one.ip), ip.bytes.begin());
  });
}

int Process::take_event_fd() {
  if (!event_fds_.empty()) {
    const int fd = event_fds_.back();
    event_fds_.pop_back();
    return fd;
  }
  return make_out_of_the_way([]() -> long { return sys::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); })
      .release();
}

void Process::give_back_event_fd(int fd) {
  if (fd < 0) return;
  uint64_t count = 0;
  sys::read(fd, &count, sizeof count);  // EAGAIN: nobody wrote
  event_fds_.push_back(fd);
}

void Process::enter_wait() { ++waiting_threads_; }

void Process::leave_wait() {
  --waiting_threads_;
  if (!before_.empty()) forget_those_before();
  promote_sleeper();
  if (waiting_threads_ == 0 && helper_parked_.load(std::memory_order_relaxed) != 0) {
    helper_parked_.store(0, std::memory_order_relaxed);
    sys::futex_wake(&helper_parked_, 1, false);
  }
}

bool Process::sleeps_on_rings(Waiter& waiter) {
  if (ring_sleeper_ == nullptr) ring_sleeper_ = &waiter;
  return ring_sleeper_ == &waiter;
}

void Process::enter_sleep(Waiter& waiter) { sleepers_.push_back(&waiter); }

void Process::leave_sleep(Waiter& waiter) {
  std::erase(sleepers_, &waiter);
  if (ring_sleeper_ != &waiter) return;
  ring_sleeper_ = nullptr;
  ring_sleeper_until_ns_ = 0;
}

uint64_t Process::ring_deadline_ns() {
  ring_sleeper_until_ns_ = stack_->next_deadline_ns();
  watch_deadlines();
  return ring_sleeper_until_ns_;
}

void Process::watch_deadlines() {
  stack_->watch_deadline(*this, std::max(ring_sleeper_until_ns_, helper_until_ns_));
}

void Process::deadline_is_earlier(uint64_t at_ns) {
  if (at_ns < ring_sleeper_until_ns_) {
    ring_sleeper_until_ns_ = 0;
    ring_sleeper_->nudge();
  }
  if (at_ns < helper_until_ns_) {
    helper_until_ns_ = 0;
    const uint64_t one = 1;
    sys::write(helper_event_.get(), &one, sizeof one);
  }
  watch_deadlines();
}

// Whoever leaves a wait has looked after the rings for those asleep: one of them must now.
void Process::promote_sleeper() {
  const bool others_spin = waiting_threads_ > static_cast<int>(sleepers_.size());
  if (ring_sleeper_ == nullptr && !sleepers_.empty() && !others_spin) sleepers_.front()->nudge();
}

// ---- the helper

// Without it timers run only inside socket calls.
void Process::start_helper() { start_service_thread("underpass", helper_main, this); }

void* Process::helper_main(void* self) {
  static_cast<Process*>(self)->help();
  return nullptr;
}

void Process::help() {
  const uint64_t period_ns = uint64_t{options_.helper_period_ms} * kNsPerMs;
  int quiet_periods = 0;
  for (;;) {
    bool park = false;
    {
      StackLock lock;
      quiet_periods = waiting_threads_ > 0 ? quiet_periods + 1 : 0;
      park = quiet_periods > kParkAfterPeriods;
      if (park) helper_parked_.store(1, std::memory_order_relaxed);
    }
    if (park) {
      sys::futex_wait(&helper_parked_, 1, nullptr, false);
      quiet_periods = 0;
      continue;
    }
    const uint64_t sleep_ns = help_once();
    if (sleep_ns == 0) continue;
    timespec rest = to_timespec(sleep_ns > period_ns ? period_ns : sleep_ns);
    sys::call(SYS_nanosleep, sys::arg(&rest), 0);
  }
}

// Returns how long nothing needs to be done; 0 after it has slept on the rings itself.
uint64_t Process::help_once() {
  const uint64_t period_ns = uint64_t{options_.helper_period_ms} * kNsPerMs;
  pollfd fds[kMaxQueues + 2];
  size_t count = 0;
  size_t news = 0;
  uint64_t deadline = UINT64_MAX;
  uint64_t now = monotonic_ns();
  {
    StackLock lock;
    if (waiting_threads_ > 0) return period_ns;
    const uint64_t idle_ns = now - std::min(now, stack_->last_drive_ns());
    if (idle_ns < period_ns) return period_ns - idle_ns;
    stack_->drive(now);
    attachment_->slot().counters.helper_drives.fetch_add(1, std::memory_order_relaxed);
    deadline = stack_->next_deadline_ns();
    if (helper_event_) {
      fds[count++] = {helper_event_.get(), POLLIN, 0};
      helper_until_ns_ = deadline;
      watch_deadlines();
    } else {
      deadline = std::min(deadline, now + period_ns);
    }
    for (int fd : attachment_->port().poll_fds()) fds[count++] = {fd, POLLIN, 0};
    news = count;
    if (attachment_->broker_alive()) fds[count++] = {attachment_->notify_fd(), POLLIN, 0};
  }
  timespec limit{};
  if (deadline != UINT64_MAX) {
    now = monotonic_ns();
    limit = to_timespec(deadline > now ? deadline - now : 0);
  }
  sys::ppoll(fds, count, deadline == UINT64_MAX ? nullptr : &limit, nullptr);
  StackLock lock;
  helper_until_ns_ = 0;
  uint64_t nudges = 0;
  if (helper_event_) sys::read(helper_event_.get(), &nudges, sizeof nudges);
  attachment_->drain_notify();
  // A thread that came in meanwhile has the rings: it would only be disturbed. It does not know
  // what the broker has said.
  const bool told = news < count && fds[news].revents != 0;
  if (waiting_threads_ == 0 || told) stack_->drive(monotonic_ns());
  return 0;
}

// ---- fork

void process_prepare_fork() UP_NO_THREAD_SAFETY {
  stack_mutex.lock();
  Process& process = Process::instance();
  process.family_.before_fork(process.stack_ != nullptr && process.stack_->tcp().size() != 0);
  fd_limit_prepare_fork();
}

void process_after_fork_parent() UP_NO_THREAD_SAFETY {
  fd_limit_after_fork();
  Process& process = Process::instance();
  process.family_.after_fork_in_parent();
  // What waits to be accepted may be the child's.
  if (process.stack_ != nullptr) process.stack_->tend_listeners_at(process.stack_->now_ns());
  stack_mutex.unlock();
}

void process_after_fork_child() UP_NO_THREAD_SAFETY {
  fd_limit_after_fork();
  stack_mutex.reset_after_fork();
  Process& process = Process::instance();
  process.attach_mutex_.reset_after_fork();
  // The connections are the parent's. The objects stay where they are, as memory nobody visits; the
  // descriptors go, or a dead parent's rings would live on in us.
  static_cast<void>(process.stack_.release());
  process.view_.reset();
  process.attachment_.reset();
  process.before_.clear();
  process.try_again_ns_ = 0;
  process.lease_.reset();
  process.event_fds_.clear();
  process.owner_pid_.store(0);
  process.waiting_threads_ = 0;
  process.sleepers_.clear();
  process.ring_sleeper_ = nullptr;
  process.ring_sleeper_until_ns_ = 0;
  process.helper_until_ns_ = 0;
  process.helper_event_.reset();
  process.helper_parked_.store(0);
  process.tried_ = false;
  process.attach_error_ = 0;
  process.family_.after_fork_in_child();
  process.relocation_.forget();
  // What is left: among them the kernel sockets that keep the parent's ports.
  std::vector<int> kept = process.family_.lines();
  kept.push_back(log_descriptor());
  close_private_fds(kept);
}

void process_fork_is_over() { leave_stack(); }

}  // namespace underpass
