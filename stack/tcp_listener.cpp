// tcp_listener.cpp - a listener that several processes have, and what waits in it
//
// On the kernel such processes share one queue. Here each has its own: what waits too long in one
// goes to another, as the kernel's connection (TcpEndpoint::move_out()).
#include "stack/tcp_listener.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/sys.h"

namespace underpass {

namespace {

// A process that is about to accept is not disturbed; one that does something else at length
// keeps nobody waiting.
constexpr uint64_t kPatienceNs = 20 * kNsPerMs;
// Where it could not be handed over.
constexpr uint64_t kRetryNs = kNsPerS;
// Behind a member's leaving, SYNs may still be in its rings.
constexpr uint64_t kGraceNs = 50 * kNsPerMs;
// Whoever is being connected to has answered by then.
constexpr uint64_t kLongestLeaveNs = 3 * kNsPerS;

}  // namespace

bool TcpListener::is_shared() const {
  return leaving_ || stack_.ports().others(IPPROTO_TCP, local_).members != 0 ||
         (owner_ != nullptr && owner_->endpoint_is_shared());
}

// No new connection is ours, but for the moment.
void TcpListener::rest() {
  if (resting_) return;
  resting_ = true;
  stack_.ports().leave(IPPROTO_TCP, local_);
}

void TcpListener::use() {
  used_ = true;
  if (!resting_) return;
  resting_ = false;
  stack_.ports().rejoin(IPPROTO_TCP, local_);
}

void TcpListener::waits(bool on) {
  if (on) use();
  if (on) ++waiting_threads_;
  if (!on && waiting_threads_ != 0) --waiting_threads_;
  stack_.ports().wait(IPPROTO_TCP, local_, waiting_threads_ != 0);
}

void TcpListener::leave_to_others() {
  rest();
  owner_ = nullptr;
  leaving_ = true;
  leaving_since_ns_ = stack_.now_ns();
  stack_.tend_listeners_at(stack_.now_ns());
}

void TcpListener::bring(Fd socket) {
  brought_.push_back({std::move(socket), stack_.now_ns()});
  publish();
  if (owner_ != nullptr) owner_->endpoint_event(kReadable);
  if (is_shared()) stack_.tend_listeners_at(stack_.now_ns());
}

Fd TcpListener::take_brought() {
  Fd first = std::move(brought_.front().socket);
  brought_.pop_front();
  publish();
  return first;
}

void TcpListener::keep_in_kernel() {
  if (leaving_) return;
  while (!ready_.empty() && hand_over(false)) {
  }
}

// The oldest of those that wait; where it is not for others, it waits here as the kernel's. False:
// it is still here.
bool TcpListener::hand_over(bool to_others) {
  const int family = local_.address.ip.is_v4() ? AF_INET : AF_INET6;
  Fd socket(sys::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return false;
  const int reuse = 1;
  sys::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  TcpEndpoint* const endpoint = take();
  const SocketAddress claim = local_.claim_for(endpoint->flow().local.ip);
  const auto moved = endpoint->move_out(socket.get());
  if (!moved && moved.error() != ENOTCONN && moved.error() != ECONNABORTED && !leaving_) {
    endpoint->listener_ = this;
    ready_.push_front(endpoint);
    return false;
  }
  if (!moved) {
    // It is over, or nobody can have it.
    endpoint->abort();
    endpoint->disown(Fd());
    return true;
  }
  if (!to_others) {
    brought_.push_back({std::move(socket), stack_.now_ns(), true});
    publish();
    return true;
  }
  // To its peer it ends here, where that fails.
  static_cast<void>(stack_.host().hand_over(claim, socket.get()).ok());
  return true;
}

void TcpListener::pass_on() {
  const Fd socket = take_brought();
  static_cast<void>(stack_.host().hand_over(local_.address, socket.get()).ok());
}

uint64_t TcpListener::tend(uint64_t now_ns) {
  const PortTable::Others others = stack_.ports().others(IPPROTO_TCP, local_);
  const bool shared = leaving_ || owner_->endpoint_is_shared();
  // A parent that has never accepted leaves it to its children, once they do.
  if (shared && !used_ && others.members != 0) rest();
  const bool all = leaving_ || (resting_ && others.members != 0);
  auto idle = static_cast<uint32_t>(std::popcount(others.waiting));
  uint64_t next = UINT64_MAX;
  // Away, there are no others to hand it to.
  while (shared && ready() && (leaving_ || !stack_.is_away())) {
    const bool own = !ready_.empty() &&
                     (brought_.empty() || ready_.front()->ready_ns_ <= brought_.front().since_ns);
    const uint64_t due_ns =
        kPatienceNs + (own ? ready_.front()->ready_ns_ : brought_.front().since_ns);
    if (!all && (now_ns < due_ns || idle == 0)) {
      next = idle == 0 ? std::max(due_ns, now_ns + kPatienceNs) : due_ns;
      break;
    }
    if (own && !hand_over(true)) {
      next = now_ns + kRetryNs;
      break;
    }
    if (!own) pass_on();
    if (!all) --idle;
  }
  if (!leaving_) return next;
  const uint64_t since_ns = now_ns - leaving_since_ns_;
  if (since_ns < kGraceNs) return std::min(next, leaving_since_ns_ + kGraceNs);
  if (!embryonic_.empty() && since_ns < kLongestLeaveNs) {
    return std::min(next, leaving_since_ns_ + kLongestLeaveNs);
  }
  close();
  return UINT64_MAX;
}

}  // namespace underpass
