// server.cpp - one thread, one poll(2)
#include "xdp/broker/server.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "xdp/broker/refusal.h"
#include "xdp/unix_message.h"

namespace underpass {

namespace {

// Between `underpass run` and the program that it becomes, and from one program to the next.
constexpr uint64_t kGraceMs = 2000;
constexpr uint64_t kTickMs = 1000;
constexpr int kReturningRetryMs = 5;
constexpr int kBacklog = 128;
// Who asks without end must not keep the others waiting.
constexpr int kRequestsATurn = 64;
// Before the broker ends: for a client that does nothing, longer than it is patient itself
// (stack/relocation.cpp), and for all together, however many connections they have.
constexpr uint64_t kSilenceMs = 4000;
constexpr uint64_t kLongestEndMs = 60000;
// Of asm-generic/socket.h since Linux 6.16: 0 refuses descriptors.
constexpr int kSoPassRights = 83;

uint64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

BrokerReply reply_of(ReplyKind kind, int error = 0) {
  BrokerReply reply{};
  reply.kind = kind;
  reply.protocol = kBrokerProtocol;
  reply.error = static_cast<uint32_t>(error);
  return reply;
}

// A client that does not read its answer has only itself to blame; one that has gone is noticed at
// the next look.
void send_reply(const Session& session, const BrokerReply& reply, std::span<const int> fds = {}) {
  const auto sent = send_message(session.socket.get(), &reply, sizeof reply, fds);
  if (!sent && sent.error() != EPIPE && sent.error() != EAGAIN) {
    log_write(LogLevel::warning, "answering pid %d: %s", session.peer.pid, strerror(sent.error()));
  }
}

// Closing what a client sends may block (SO_LINGER, FUSE). Older kernels let everything in.
void accept_descriptors(int socket, bool wanted) {
  const int value = wanted ? 1 : 0;
  static_cast<void>(sys::setsockopt(socket, SOL_SOCKET, kSoPassRights, &value, sizeof value));
}

Fd watch_signals() {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  const int fd = ::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) throw Refusal("watching signals", errno);
  return Fd(fd);
}

}  // namespace

Result<Fd> listen_for_clients(const std::string& ifname) {
  sockaddr_un address;
  const socklen_t length = broker_address(ifname, address);
  if (length == 0) return Error{ENODEV};
  Fd fd(sys::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error{EMFILE};
  int done = sys::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length);
  if (done < 0) return Error{-done};
  // Inherited by what is accepted.
  accept_descriptors(fd.get(), false);
  done = sys::listen(fd.get(), kBacklog);
  if (done < 0) return Error{-done};
  return fd;
}

Server::Server(Service service, Fd listener, ServerOptions options)
    : service_(service),
      listener_(std::move(listener)),
      signals_(watch_signals()),
      options_(std::move(options)),
      last_lease_ms_(monotonic_ms()) {}

void Server::run() {
  while (!is_over(monotonic_ms())) step();
}

bool Server::has_lease() const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [](const Session& one) { return !one.observer; });
}

bool Server::is_over(uint64_t now_ms) {
  if (service_.watch.interface_gone()) {
    log_write(LogLevel::info, "the interface has gone: ending");
    return true;
  }
  if (stopped_) return true;
  if (ending_since_ms_ != 0) return has_ended(now_ms);
  if (options_.stay || has_lease() || now_ms - last_lease_ms_ < kGraceMs) return false;
  // Who has come at the last moment is served.
  accept_all();
  return !has_lease();
}

size_t Server::client_count() const {
  return static_cast<size_t>(
      std::count_if(sessions_.begin(), sessions_.end(),
                    [](const Session& one) { return one.slot.has_value() && !one.ended; }));
}

void Server::signalled() {
  signalfd_siginfo which{};
  sys::read(signals_.get(), &which, sizeof which);
  stopped_ = ending_since_ms_ != 0 || client_count() == 0;
  if (stopped_) return;
  log_write(LogLevel::info, "ending: programs go on over the kernel");
  ending_since_ms_ = last_request_ms_ = monotonic_ms();
  for (const Session& one : sessions_) {
    if (one.slot && !one.ended) send_reply(one, reply_of(ReplyKind::kEnding));
  }
}

bool Server::has_ended(uint64_t now_ms) const {
  const size_t left = client_count();
  const bool waits =
      now_ms - last_request_ms_ < kSilenceMs && now_ms - ending_since_ms_ < kLongestEndMs;
  if (left != 0 && waits) return false;
  if (left != 0) {
    log_write(LogLevel::warning, "%zu program%s not answered", left, left == 1 ? " has" : "s have");
  }
  return true;
}

int Server::timeout_ms(uint64_t now_ms) const {
  if (service_.clients.has_returning()) return kReturningRetryMs;
  uint64_t until_ms = UINT64_MAX;
  const bool has_work =
      service_.clients.attached_count() > 0 || !service_.mover.idle() || !homeless_.empty();
  if (has_work) until_ms = next_tick_ms_;
  if (!options_.stay && !has_lease()) until_ms = std::min(until_ms, last_lease_ms_ + kGraceMs);
  until_ms = std::min(until_ms, relocations_.until_ms());
  if (ending_since_ms_ != 0) until_ms = std::min(until_ms, last_request_ms_ + kSilenceMs);
  if (until_ms == UINT64_MAX) return -1;
  return until_ms > now_ms ? static_cast<int>(until_ms - now_ms) : 0;
}

void Server::step() {
  std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0},
                             // Who comes now finds the next broker.
                             {ending_since_ms_ != 0 ? -1 : listener_.get(), POLLIN, 0},
                             {service_.watch.fd(), POLLIN, 0},
                             {service_.icmp.fd(), POLLIN, 0},
                             {service_.icmp.fd_v6(), POLLIN, 0}};
  const size_t first_session = fds.size();
  for (const Session& one : sessions_) fds.push_back({one.socket.get(), POLLIN, 0});
  ::poll(fds.data(), fds.size(), timeout_ms(monotonic_ms()));
  if (fds[0].revents != 0) signalled();
  size_t i = first_session;
  for (Session& one : sessions_) {
    if (fds[i++].revents != 0) serve(one);
  }
  sessions_.remove_if([](const Session& one) { return one.ended; });
  if (fds[2].revents != 0 && service_.watch.handle_events()) tell_change();
  if ((fds[3].revents | fds[4].revents) != 0) tell_unreachable();
  if (fds[1].revents != 0) accept_all();
  finish_relocation(monotonic_ms());
  tick(monotonic_ms());
}

void Server::tick(uint64_t now_ms) {
  if (service_.clients.has_returning()) service_.clients.retry_returning();
  if (now_ms < next_tick_ms_) return;
  next_tick_ms_ = now_ms + kTickMs;
  service_.mover.review();
  homeless_.review(now_ms);
  if (service_.clients.attached_count() > 0 && service_.watch.refresh()) tell_change();
}

void Server::accept_all() {
  for (;;) {
    const int fd = sys::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd == -EINTR || fd == -ECONNABORTED) continue;
    if (fd < 0 && fd != -EAGAIN) log_write(LogLevel::warning, "accept: %s", strerror(-fd));
    if (fd < 0) return;
    welcome(Fd(fd));
  }
}

bool Server::may_enter(const ucred& peer) const {
  return peer.uid == 0 || peer.uid == ::geteuid() ||
         std::find(options_.allowed_uids.begin(), options_.allowed_uids.end(), peer.uid) !=
             options_.allowed_uids.end();
}

void Server::welcome(Fd socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  const int got = sys::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length);
  const bool welcome = got >= 0 && may_enter(peer);
  Session session{std::move(socket), peer, false, std::nullopt, next_number_++, false};
  send_reply(session, reply_of(ReplyKind::kHello, welcome ? 0 : EACCES));
  if (welcome) {
    sessions_.push_back(std::move(session));
  } else {
    log_write(LogLevel::info, "uid %u (pid %d) is not let in", peer.uid, peer.pid);
  }
}

void Server::serve(Session& session) {
  for (int turn = 0; turn < kRequestsATurn; ++turn) {
    BrokerRequest request{};
    std::vector<Fd> fds;
    const auto got = receive_message(session.socket.get(), &request, sizeof request, fds);
    if (!got && (got.error() == EAGAIN || got.error() == EINTR)) return;
    if (!got || *got != sizeof request) return end(session);
    if (session.slot) last_request_ms_ = monotonic_ms();
    answer(session, request, fds);
  }
}

void Server::answer(Session& session, const BrokerRequest& request, std::vector<Fd>& fds) {
  switch (request.kind) {
    case RequestKind::kAttach:
      return answer_attach(session);
    case RequestKind::kResolve: {
      IpAddress ip;
      std::copy(std::begin(request.ip), std::end(request.ip), ip.bytes.begin());
      return service_.watch.resolve(ip);
    }
    case RequestKind::kObserve:
      return answer_observe(session);
    case RequestKind::kSteerCounters:
      return answer_counters(session);
    case RequestKind::kMoveOut:
      return answer_move(session, request, fds);
    case RequestKind::kHandOver:
      return take_over(session, request.listener, fds);
    case RequestKind::kCollect:
      return collect(session, request.listener);
    case RequestKind::kMoveIn:
      return answer_move_in(session, fds);
    case RequestKind::kRelocate:
      return answer_relocate(session, request.relocation);
    case RequestKind::kRelocated:
      return relocations_.answered(session.number, request.relocated);
    case RequestKind::kKeepFlows:
      if (session.slot) service_.mover.keep_kernel_flows(*session.slot);
      return send_reply(session, reply_of(ReplyKind::kKept, session.slot ? 0 : EPERM));
  }
  log_write(LogLevel::warning, "pid %d asks what is not known", session.peer.pid);
}

void Server::answer_attach(Session& session) {
  if (session.slot) return send_reply(session, reply_of(ReplyKind::kAttached, EALREADY));
  auto given = service_.clients.take_slot(session.peer.pid);
  if (!given) {
    log_write(LogLevel::warning, "no slot for pid %d: %s", session.peer.pid,
              strerror(given.error()));
    return send_reply(session, reply_of(ReplyKind::kAttached, given.error()));
  }
  session.slot = given->slot;
  // Sockets come with kMoveOut.
  accept_descriptors(session.socket.get(), true);
  std::vector<int> fds(kFirstXskFd);
  fds[kControlFd] = service_.control_memory.fd();
  fds[kUmemFd] = service_.umem.fd();
  fds[kPortsFd] = service_.steering.ports_fd();
  fds[kFlowsFd] = service_.steering.flows_fd();
  fds[kLinkFd] = service_.steering.link_fd();
  for (const Fd& xsk : given->xsks) fds.push_back(xsk.get());
  BrokerReply reply = reply_of(ReplyKind::kAttached);
  reply.slot = given->slot;
  send_reply(session, reply, fds);
}

void Server::answer_observe(Session& session) {
  session.observer = true;
  auto memory = service_.control_memory.reopen_read_only();
  if (!memory) return send_reply(session, reply_of(ReplyKind::kObserved, memory.error()));
  const int fd = memory->get();
  send_reply(session, reply_of(ReplyKind::kObserved), {&fd, 1});
}

void Server::answer_counters(Session& session) {
  session.observer = true;
  BrokerReply reply = reply_of(ReplyKind::kCounted);
  const SteerCounters counters = service_.steering.counters();
  std::copy(counters.begin(), counters.end(), reply.counters);
  send_reply(session, reply);
}

void Server::answer_move(Session& session, const BrokerRequest& request,
                         const std::vector<Fd>& fds) {
  const auto moved = session.slot ? service_.mover.move_out(request.connection, fds, *session.slot,
                                                            session.peer.uid)
                                  : Result<void>(Error{EPERM});
  if (!moved) {
    log_write(LogLevel::info, "pid %d: a connection stays with the program: %s", session.peer.pid,
              strerror(moved.error()));
  }
  send_reply(session, reply_of(ReplyKind::kMoved, moved.error()));
}

void Server::take_over(const Session& from, const SocketAddress& listener, std::vector<Fd>& fds) {
  if (!from.slot || fds.size() != 1 || !is_connection_of(listener, fds[0].get())) return;
  if (give_to_member(from.slot, listener, fds[0].get())) return;
  homeless_.add(listener, std::move(fds[0]), monotonic_ms());
}

void Server::collect(const Session& session, const SocketAddress& listener) {
  if (!session.slot) return;
  BrokerReply news = reply_of(ReplyKind::kHandedOver);
  news.listener = listener;
  for (const Fd& socket : homeless_.take(listener)) {
    const int fd = socket.get();
    send_reply(session, news, {&fd, 1});
  }
}

// To one of those that wait for a connection, else to any; they take turns. One that does not read
// what it is told gets nothing.
bool Server::give_to_member(std::optional<uint32_t> from, const SocketAddress& listener,
                            int socket) {
  const Steering::Members members = service_.steering.members_of(IPPROTO_TCP, listener);
  BrokerReply news = reply_of(ReplyKind::kHandedOver);
  news.listener = listener;
  for (const uint32_t wanted : {members.waiting, members.all & ~members.waiting}) {
    for (uint32_t i = 0; i < kMaxSlots; ++i) {
      const uint32_t slot = (next_member_ + i) % kMaxSlots;
      if ((wanted >> slot & 1U) == 0 || slot == from) continue;
      for (const Session& one : sessions_) {
        if (one.slot != slot || one.ended) continue;
        if (!send_message(one.socket.get(), &news, sizeof news, {&socket, 1})) continue;
        next_member_ = slot + 1;
        return true;
      }
    }
  }
  return false;
}

void Server::answer_move_in(Session& session, const std::vector<Fd>& fds) {
  BrokerReply reply = reply_of(ReplyKind::kMovedIn);
  const auto taken = session.slot ? service_.mover.move_in(fds, *session.slot)
                                  : Result<ConnectionState>(Error{EPERM});
  if (taken) {
    reply.connection = *taken;
  } else {
    log_write(LogLevel::info, "pid %d: a connection stays with the kernel: %s", session.peer.pid,
              strerror(taken.error()));
    reply.error = static_cast<uint32_t>(taken.error());
  }
  send_reply(session, reply);
}

// Who may ask: root, and a program's own user.
void Server::answer_relocate(Session& session, const RelocationRequest& request) {
  session.observer = true;
  BrokerReply reply = reply_of(ReplyKind::kRelocated, EBUSY);
  if (relocations_.busy()) return send_reply(session, reply);
  BrokerReply news = reply_of(ReplyKind::kRelocate);
  news.relocation = request;
  std::vector<uint64_t> asked;
  bool found = false;
  for (const Session& one : sessions_) {
    if (!one.slot || one.ended || (request.pid != 0 && one.peer.pid != request.pid)) continue;
    found = true;
    if (session.peer.uid != 0 && session.peer.uid != one.peer.uid) continue;
    send_reply(one, news);
    asked.push_back(one.number);
  }
  if (asked.empty() && (found || request.pid != 0)) {
    reply.error = found ? EPERM : ESRCH;
    return send_reply(session, reply);
  }
  relocations_.begin(session.number, std::move(asked), monotonic_ms());
}

void Server::finish_relocation(uint64_t now_ms) {
  const auto answer = relocations_.take_answer(now_ms);
  if (!answer) return;
  BrokerReply reply = reply_of(ReplyKind::kRelocated, answer->error);
  reply.relocated = answer->result;
  for (const Session& one : sessions_) {
    if (one.number == answer->asker) send_reply(one, reply);
  }
}

void Server::end(Session& session) {
  session.ended = true;
  relocations_.gone(session.number);
  if (session.slot) service_.clients.retire(*session.slot);
  if (!session.observer) last_lease_ms_ = monotonic_ms();
}

// To whoever has the port now. Anybody on the network can send such messages: some at a time.
void Server::tell_unreachable() {
  std::optional<Unreachable> said;
  for (int turn = 0; turn < kRequestsATurn && service_.icmp.next(said); ++turn) {
    if (!said) continue;
    const auto slot = service_.steering.owner_of(IPPROTO_TCP, said->local, said->remote);
    if (!slot) continue;
    BrokerReply news = reply_of(ReplyKind::kUnreachable, said->error);
    news.unreachable = {flow_key_of({IPPROTO_TCP, said->local, said->remote}), said->sequence,
                        said->mtu_bytes};
    for (const Session& one : sessions_) {
      if (one.slot == *slot && !one.ended) send_reply(one, news);
    }
  }
}

// EAGAIN: news that the client has not read yet wait there already.
void Server::tell_change() {
  for (const Session& one : sessions_) {
    if (one.slot && !one.ended) send_reply(one, reply_of(ReplyKind::kChanged));
  }
}

}  // namespace underpass
