// relocation.cpp - one connection after the other, with the lock free in between
#include "stack/relocation.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "stack/clock.h"
#include "stack/process.h"
#include "stack/service_thread.h"
#include "stack/socket_file.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

namespace {

// A round trip to the broker each; others want the lock, too.
constexpr size_t kPiece = 4;
// Connections that are being opened, or that hold more than fits, are looked at this often.
constexpr uint64_t kLookEveryNs = 50 * kNsPerMs;
// After that the answer says what is left.
constexpr uint64_t kPatienceNs = 5 * kNsPerS;
// What a broker that ends has not moved by then it cannot move; shorter than its own patience.
constexpr uint64_t kStuckNs = 2 * kNsPerS;
// What is being opened gets so much time to be open, and to be moved.
constexpr uint64_t kOpeningNs = 300 * kNsPerMs;
constexpr uint64_t kLookWhileLeavingNs = 2 * kNsPerMs;
// For another broker: it is there soon after the last one, or nobody knows when.
constexpr uint32_t kQuickLooks = 100;
constexpr uint64_t kQuickLookNs = 50 * kNsPerMs;
constexpr uint64_t kSlowLookNs = kNsPerS;

}  // namespace

void Relocation::add(SocketFile& file) { lent_.push_back(&file); }

void Relocation::remove(SocketFile& file) { std::erase(lent_, &file); }

void Relocation::relocation_asked(bool away) {
  asked_ = true;
  wanted_away_ = away;
  start();
}

void Relocation::broker_ends(bool orderly) {
  if (broker_ == Broker::kNone) return;
  broker_ = orderly ? Broker::kEnds : Broker::kHasGone;
  start();
}

void Relocation::start() {
  if (running_) return wake();
  running_ = start_service_thread("underpass-move", run_main, this);
}

void Relocation::wake() {
  wakes_.fetch_add(1, std::memory_order_relaxed);
  sys::futex_wake(&wakes_, 1, false);
}

void Relocation::forget() {
  asked_ = away_ = running_ = answer_due_ = leaving_ = stays_away_ = false;
  broker_ = Broker::kServes;
  lent_.clear();
}

void* Relocation::run_main(void* self) {
  static_cast<Relocation*>(self)->run();
  return nullptr;
}

void Relocation::run() {
  for (;;) {
    uint64_t rest_ns = 0;
    uint32_t wakes = 0;
    bool alone = false;
    {
      StackLock lock;
      wakes = wakes_.load(std::memory_order_relaxed);
      rest_ns = step();
      if (rest_ns == 0) running_ = false;
      alone = broker_ == Broker::kNone;
    }
    if (rest_ns == 0) return;
    if (alone) static_cast<void>(Process::instance().come_back().ok());  // later, else
    const timespec rest = to_timespec(rest_ns);
    sys::futex_wait(&wakes_, wakes, &rest, false);
  }
}

uint64_t Relocation::step() {
  constexpr uint64_t kAtOnce = 1;
  Stack* const stack = Process::instance().stack();
  if (stack == nullptr) return 0;
  if (broker_ != Broker::kServes) return leave_broker(*stack);
  if (asked_) begin(*stack);
  const uint32_t before = count_.moved;
  const uint32_t left = away_ ? push_out(*stack) : pull_in();
  count_.left = left;
  const bool over = left == 0 || monotonic_ns() - began_ns_ >= kPatienceNs;
  answer_if(over);
  if (left == 0 || (!away_ && over)) return 0;
  return count_.moved != before ? kAtOnce : kLookEveryNs;
}

void Relocation::begin(Stack& stack) {
  asked_ = false;
  answer_due_ = true;
  set_away(stack, wanted_away_);
}

void Relocation::set_away(Stack& stack, bool away) {
  away_ = away;
  began_ns_ = monotonic_ns();
  count_ = {};
  next_ = 0;
  stack.set_away(away_);
  Attachment& attachment = *Process::instance().attachment();
  if (!away_) {
    if (auto kept = attachment.keep_kernel_flows(); !kept) {
      log_write(LogLevel::warning, "connections of the kernel may be cut off: %s",
                strerrordesc_np(kept.error()));
    }
  }
  attachment.slot().away.store(away_ ? 1 : 0, std::memory_order_relaxed);
  log_write(LogLevel::info, "%s", away_ ? "leaving bypass" : "coming back to bypass");
}

void Relocation::answer_if(bool done) {
  if (!answer_due_ || !done) return;
  answer_due_ = false;
  Process::instance().attachment()->answer_relocation(count_);
}

// Returns how many connections are still the stack's.
uint32_t Relocation::push_out(Stack& stack) {
  stack.drive(monotonic_ns());
  const bool ends = broker_ == Broker::kEnds;
  const std::vector<FourTuple> all = ends ? stack.flows_at_stake() : stack.movable_flows();
  size_t tried = 0;
  for (size_t i = 0; i < all.size() && tried < kPiece; ++i) {
    const FourTuple& flow = all[(next_ + i) % all.size()];
    TcpEndpoint* const endpoint = stack.tcp().find(flow);
    if (endpoint == nullptr) continue;
    ++tried;
    stack.move_out(*endpoint, true);
    if (stack.tcp().find(flow) == nullptr) ++count_.moved;
  }
  next_ += tried;
  return static_cast<uint32_t>((ends ? stack.flows_at_stake() : stack.movable_flows()).size());
}

// ---- without the broker

uint64_t Relocation::leave_broker(Stack& stack) {
  if (broker_ == Broker::kNone) return looks_++ < kQuickLooks ? kQuickLookNs : kSlowLookNs;
  if (!leaving_) begin_leaving(stack);
  const uint32_t before = count_.moved;
  if (!has_left(stack)) {
    if (broker_ == Broker::kHasGone) return kSlowLookNs;
    return count_.moved != before ? 1 : kLookWhileLeavingNs;
  }
  // Only what waits (TIME_WAIT) is left, and not for long.
  if (broker_ == Broker::kEnds) stack.move_all_out();
  Process::instance().let_go();
  log_write(LogLevel::info, "the broker has ended: %u connections given to the kernel",
            count_.moved);
  broker_ = Broker::kNone;
  looks_ = 0;
  return kQuickLookNs;
}

void Relocation::begin_leaving(Stack& stack) {
  leaving_ = true;
  stays_away_ = asked_ ? wanted_away_ : away_;
  asked_ = answer_due_ = false;
  set_away(stack, true);
  progress_ns_ = began_ns_;
}

bool Relocation::has_left(Stack& stack) {
  const uint32_t before = count_.moved;
  size_t left = 0;
  if (broker_ == Broker::kEnds) {
    left = push_out(stack);
    stack.move_unaccepted_out();
  } else {
    stack.drive(monotonic_ns());
    left = stack.flows_at_stake().size();
  }
  left += stack.unaccepted();
  const uint64_t now = monotonic_ns();
  if (count_.moved != before) progress_ns_ = now;
  if (left == 0) return !stack.has_opening() || now - began_ns_ >= kOpeningNs;
  return broker_ == Broker::kEnds && now - progress_ns_ >= kStuckNs;
}

void Relocation::has_broker(Stack& stack) {
  broker_ = Broker::kServes;
  leaving_ = false;
  set_away(stack, stays_away_);
}

// Returns how many are still lent.
uint32_t Relocation::pull_in() {
  const std::vector<SocketFile*> all = lent_;
  size_t tried = 0;
  for (size_t i = 0; i < all.size() && tried < kPiece; ++i) {
    SocketFile* const file = all[(next_ + i) % all.size()];
    if (std::find(lent_.begin(), lent_.end(), file) == lent_.end()) continue;
    const Ref<SocketFile> alive(file);
    ++tried;
    if (file->move_in()) ++count_.moved;
  }
  next_ += tried;
  return static_cast<uint32_t>(lent_.size());
}

}  // namespace underpass
