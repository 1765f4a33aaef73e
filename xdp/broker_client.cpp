// broker_client.cpp - one Unix socket: first the lease, then requests, then the news
#include "xdp/broker_client.h"

#include <arpa/inet.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "base/sys.h"
#include "xdp/broker_abi.h"
#include "xdp/mapping.h"
#include "xdp/neighbour_table.h"
#include "xdp/umem.h"
#include "xdp/unix_message.h"
#include "xdp/xsk_port.h"

namespace underpass {

namespace {

// Far longer than a round trip, but a program that starts waits for it if the broker is stopped.
constexpr long kHelloLimitS = 3;
// Opening the rings of many queues takes some milliseconds each.
constexpr long kAnswerLimitS = 10;

timespec monotonic() {
  timespec now{};
  sys::call(SYS_clock_gettime, CLOCK_MONOTONIC, sys::arg(&now));
  return now;
}

Result<void> wait_readable(int fd, long limit_s) {
  const long until = monotonic().tv_sec + limit_s;
  for (;;) {
    timespec rest{until - monotonic().tv_sec, 0};
    if (rest.tv_sec < 0) return Error{ETIMEDOUT};
    pollfd one{fd, POLLIN, 0};
    const int ready = sys::ppoll(&one, 1, &rest, nullptr);
    if (ready > 0) return {};
    if (ready == 0) return Error{ETIMEDOUT};
    if (ready != -EINTR) return Error{-ready};
  }
}

// The next reply of `kind`; news in between are of no use yet.
Result<BrokerReply> await(int socket, ReplyKind kind, std::vector<Fd>& fds) {
  for (;;) {
    const long limit_s = kind == ReplyKind::kHello ? kHelloLimitS : kAnswerLimitS;
    if (auto ready = wait_readable(socket, limit_s); !ready) return Error{ready.error()};
    BrokerReply reply{};
    const auto got = receive_message(socket, &reply, sizeof reply, fds);
    if (!got && got.error() == EAGAIN) continue;
    if (!got) return Error{got.error()};
    // It has ended in the meantime: as if there were none.
    if (*got == 0) return Error{ECONNREFUSED};
    if (*got != sizeof reply || reply.protocol != kBrokerProtocol) return Error{EPROTO};
    if (reply.kind != kind) continue;
    if (reply.error != 0) return Error{static_cast<int>(reply.error)};
    return reply;
  }
}

Result<BrokerReply> ask(int socket, RequestKind request_kind, ReplyKind kind,
                        std::vector<Fd>& fds) {
  BrokerRequest request{};
  request.kind = request_kind;
  auto sent = send_message(socket, &request, sizeof request, {});
  if (!sent) return Error{sent.error() == EPIPE ? ECONNREFUSED : sent.error()};
  return await(socket, kind, fds);
}

Result<Fd> connect_to(const std::string& ifname) {
  sockaddr_un address;
  const socklen_t length = broker_address(ifname, address);
  if (length == 0) return Error{ENODEV};
  Fd fd = make_out_of_the_way(
      []() -> long { return sys::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); });
  if (!fd) return Error{EMFILE};
  // connect(2) waits for as long as the broker's backlog is full.
  const timeval limit{kHelloLimitS, 0};
  sys::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int done = -EINTR;
  while (done == -EINTR) {
    done = sys::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length);
  }
  if (done == -EAGAIN) return Error{ETIMEDOUT};
  if (done < 0) return Error{-done};
  // The credentials of listen(2), which nobody can change later.
  ucred holder{};
  socklen_t size = sizeof holder;
  done = sys::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &holder, &size);
  if (done < 0) return Error{-done};
  if (!may_be_broker(holder.uid, static_cast<uid_t>(sys::call(SYS_geteuid)))) return Error{EPERM};
  return fd;
}

// Everything of an attachment but the behaviour; a part that cannot be had is an error.
struct Parts {
  Mapping control;
  Mapping umem;
  Mapping ports;
  Fd flows;
  Fd link;
  std::vector<XskPort::Queue> queues;
};

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

Result<void> map_memory(Parts& parts, const std::vector<Fd>& fds) {
  auto control = Mapping::map(fds[kControlFd].get(), sizeof(Control), 0, kReadWrite, MAP_SHARED);
  if (!control) return Error{control.error()};
  parts.control = std::move(*control);
  const auto& facts = *static_cast<const Control*>(parts.control.get());
  if (facts.magic != kControlMagic || facts.version != kControlVersion) return Error{EPROTO};
  if (facts.queues == 0 || fds.size() != kFirstXskFd + facts.queues) return Error{EPROTO};
  auto umem = Mapping::map(fds[kUmemFd].get(), umem_bytes(facts.queues, facts.slots), 0, kReadWrite,
                           MAP_SHARED | MAP_POPULATE);
  if (!umem) return Error{umem.error()};
  parts.umem = std::move(*umem);
  auto ports = Mapping::map(fds[kPortsFd].get(), UP_PORT_ENTRIES * sizeof(up_port_entry), 0,
                            kReadWrite, MAP_SHARED);
  if (!ports) return Error{ports.error()};
  parts.ports = std::move(*ports);
  return {};
}

Result<void> map_rings(Parts& parts, std::vector<Fd>& fds, uint32_t slot) {
  const auto& control = *static_cast<const Control*>(parts.control.get());
  for (uint32_t queue = 0; queue < control.queues; ++queue) {
    const bool sends = queue == slot % control.tx_queues;
    Fd fd = move_out_of_the_way(std::move(fds[kFirstXskFd + queue]));
    auto rings = XskRings::map(fd.get(), {kRxRingEntries, sends ? kTxRingEntries : 0,
                                          kFillRingEntries, kCompletionRingEntries});
    if (!rings) return Error{rings.error()};
    parts.queues.push_back({std::move(fd), std::move(*rings)});
  }
  return {};
}

// A file in memory with these bytes.
Result<Fd> file_of(std::span<const uint8_t> bytes) {
  Fd fd(static_cast<int>(sys::call(SYS_memfd_create, sys::arg("underpass-move"), MFD_CLOEXEC)));
  if (!fd) return Error{EMFILE};
  for (size_t written = 0; written < bytes.size();) {
    const long done = sys::write(fd.get(), bytes.data() + written, bytes.size() - written);
    if (done <= 0) return Error{done < 0 ? static_cast<int>(-done) : EIO};
    written += static_cast<size_t>(done);
  }
  return fd;
}

Result<void> read_file(int fd, std::span<uint8_t> bytes) {
  for (size_t read = 0; read < bytes.size();) {
    const long got = sys::call(SYS_pread64, fd, sys::arg(bytes.data() + read),
                               static_cast<long>(bytes.size() - read), static_cast<long>(read));
    if (got <= 0) return Error{got < 0 ? static_cast<int>(-got) : EIO};
    read += static_cast<size_t>(got);
  }
  return {};
}

class LiveAttachment : public Attachment {
 public:
  LiveAttachment(Parts parts, Fd lease, uint32_t slot)
      : control_map_(std::move(parts.control)),
        umem_(std::move(parts.umem)),
        ports_map_(std::move(parts.ports)),
        flows_(std::move(parts.flows)),
        link_(std::move(parts.link)),
        lease_(std::move(lease)),
        slot_(slot),
        control_(*static_cast<Control*>(control_map_.get())),
        ports_(static_cast<up_port_entry*>(ports_map_.get()), flows_.get(), slot),
        port_(control_, control_.client[slot], slot, static_cast<uint8_t*>(umem_.get()),
              std::move(parts.queues)) {}

  FramePort& port() override { return port_; }
  PortTable& ports() override { return ports_; }
  Control& control() override { return control_; }
  ClientSlot& slot() override { return control_.client[slot_]; }
  uint32_t slot_index() const override { return slot_; }

  NeighbourView neighbour(const IpAddress& ip) override {
    NeighbourView view;
    Neighbour* const entry = find_neighbour(control_, ip, view);
    if (entry == nullptr) return {};
    entry->used_s.store(static_cast<uint32_t>(monotonic().tv_sec), std::memory_order_relaxed);
    return view;
  }

  void resolve(const IpAddress& ip) override {
    BrokerRequest request{};
    request.kind = RequestKind::kResolve;
    std::copy(ip.bytes.begin(), ip.bytes.end(), request.ip);
    // Lost if the broker is gone or does not read: the caller asks again.
    static_cast<void>(send_message(lease_.get(), &request, sizeof request, {}).ok());
  }

  void let_go() override {
    broker_alive_ = false;
    port_.let_go();
    link_.reset();
    lease_.reset();
  }

  int notify_fd() const override { return lease_.get(); }
  bool broker_alive() const override { return broker_alive_; }

  // Most news are in the control memory; the messages only wake.
  void drain_notify() override {
    while (broker_alive_) {
      BrokerReply news{};
      std::vector<Fd> fds;
      const auto got = receive_message(lease_.get(), &news, sizeof news, fds);
      if (!got && (got.error() == EAGAIN || got.error() == EINTR)) return;
      if (!got || *got == 0) return lose_broker();
      if (*got == sizeof news) note(news, fds);
    }
  }

  Result<void> move_out(const ConnectionState& connection, std::span<const uint8_t> bytes,
                        int fd) override {
    if (!broker_alive_) return Error{ENOTCONN};
    Fd file;
    int fds[] = {fd, -1};
    if (!bytes.empty()) {
      auto made = file_of(bytes);
      if (!made) return Error{made.error()};
      file = std::move(*made);
      fds[kMovedBytesFd] = file.get();
    }
    BrokerRequest request{};
    request.kind = RequestKind::kMoveOut;
    request.connection = connection;
    const size_t count = bytes.empty() ? 1 : 2;
    auto sent = send_message(lease_.get(), &request, sizeof request, {fds, count});
    if (!sent) return Error{sent.error() == EPIPE ? ENOTCONN : sent.error()};
    auto moved = await_move(ReplyKind::kMoved);
    if (!moved) return Error{moved.error()};
    return {};
  }

  Result<ConnectionSnapshot> move_in(int fd) override {
    if (!broker_alive_) return Error{ENOTCONN};
    auto file = file_of({});
    if (!file) return Error{file.error()};
    const int fds[] = {fd, file->get()};
    BrokerRequest request{};
    request.kind = RequestKind::kMoveIn;
    auto sent = send_message(lease_.get(), &request, sizeof request, fds);
    if (!sent) return Error{sent.error() == EPIPE ? ENOTCONN : sent.error()};
    auto moved = await_move(ReplyKind::kMovedIn);
    if (!moved) return Error{moved.error()};
    ConnectionSnapshot taken{moved->connection, {}};
    if (taken.state.queued_bytes() > kMaxQueuedBytes) return Error{ETIMEDOUT};
    taken.bytes.resize(taken.state.queued_bytes());
    if (!read_file(file->get(), taken.bytes)) return Error{ETIMEDOUT};
    return taken;
  }

  void listen_to_relocations(RelocationListener& listener) override { listener_ = &listener; }

  Result<void> keep_kernel_flows() override {
    if (!broker_alive_) return Error{ENOTCONN};
    BrokerRequest request{};
    request.kind = RequestKind::kKeepFlows;
    auto sent = send_message(lease_.get(), &request, sizeof request, {});
    if (!sent) return sent;
    auto kept = await_move(ReplyKind::kKept);
    if (!kept) return Error{kept.error()};
    return {};
  }

  void answer_relocation(const RelocationCount& count) override {
    BrokerRequest request{};
    request.kind = RequestKind::kRelocated;
    request.relocated = {1, count.moved, count.left};
    // Without it the broker's patience ends.
    static_cast<void>(send_message(lease_.get(), &request, sizeof request, {}).ok());
  }

  Result<void> hand_over(const SocketAddress& listener, int fd) override {
    if (!broker_alive_) return Error{ENOTCONN};
    BrokerRequest request{};
    request.kind = RequestKind::kHandOver;
    request.listener = listener;
    return send_message(lease_.get(), &request, sizeof request, {&fd, 1});
  }

  void collect(const SocketAddress& listener) override {
    BrokerRequest request{};
    request.kind = RequestKind::kCollect;
    request.listener = listener;
    static_cast<void>(send_message(lease_.get(), &request, sizeof request, {}).ok());
  }

  std::optional<HandedOver> next_handed_over() override {
    if (handed_over_.empty()) return std::nullopt;
    std::optional<HandedOver> first = std::move(handed_over_.front());
    handed_over_.pop_front();
    return first;
  }

  std::optional<Unreachable> next_unreachable() override {
    if (unreachable_.empty()) return std::nullopt;
    const Unreachable last = unreachable_.back();
    unreachable_.pop_back();
    return last;
  }

 private:
  Result<BrokerReply> await_move(ReplyKind kind) {
    for (;;) {
      if (auto ready = wait_readable(lease_.get(), kAnswerLimitS); !ready) {
        return Error{ETIMEDOUT};
      }
      BrokerReply reply{};
      std::vector<Fd> fds;
      const auto got = receive_message(lease_.get(), &reply, sizeof reply, fds);
      if (!got && (got.error() == EAGAIN || got.error() == EINTR)) continue;
      // A broker that was killed in the middle has left the socket closed, or it is the kernel's.
      if (!got || *got == 0) {
        lose_broker();
        return Error{ETIMEDOUT};
      }
      if (*got != sizeof reply) continue;
      note(reply, fds);
      if (reply.kind != kind) continue;
      if (reply.error != 0) return Error{static_cast<int>(reply.error)};
      return reply;
    }
  }

  Mapping control_map_;
  Mapping umem_;
  Mapping ports_map_;
  Fd flows_;
  Fd link_;
  Fd lease_;
  const uint32_t slot_;
  Control& control_;
  PortTable ports_;
  XskPort port_;
  void lose_broker() {
    if (!std::exchange(broker_alive_, false)) return;
    if (listener_ != nullptr) listener_->broker_ends(false);
  }
  void note(const BrokerReply& news, std::vector<Fd>& fds) {
    if (news.kind == ReplyKind::kEnding && listener_ != nullptr) listener_->broker_ends(true);
    if (news.kind == ReplyKind::kUnreachable) note_unreachable(news);
    if (news.kind == ReplyKind::kRelocate && listener_ != nullptr) {
      listener_->relocation_asked(news.relocation.away != 0);
    }
    if (news.kind == ReplyKind::kHandedOver && fds.size() == 1) {
      handed_over_.push_back({news.listener, move_out_of_the_way(std::move(fds[0]))});
    }
  }
  void note_unreachable(const BrokerReply& news) {
    // Whoever floods us with them does not fill our memory.
    constexpr size_t kMost = 1024;
    if (unreachable_.size() >= kMost) return;
    const up_flow_key& flow = news.unreachable.flow;
    Unreachable note;
    std::copy(std::begin(flow.local_ip), std::end(flow.local_ip), note.local.ip.bytes.begin());
    std::copy(std::begin(flow.remote_ip), std::end(flow.remote_ip), note.remote.ip.bytes.begin());
    note.local.port = ntohs(flow.local_port);
    note.remote.port = ntohs(flow.remote_port);
    note.sequence = news.unreachable.sequence;
    note.error = static_cast<int>(news.error);
    note.mtu_bytes = news.unreachable.mtu_bytes;
    unreachable_.push_back(note);
  }

  bool broker_alive_ = true;
  RelocationListener* listener_ = nullptr;
  std::vector<Unreachable> unreachable_;
  std::deque<HandedOver> handed_over_;
};

}  // namespace

Result<Fd> BrokerClient::lease(const std::string& ifname) {
  auto fd = connect_to(ifname);
  if (!fd) return fd;
  std::vector<Fd> none;
  const auto hello = await(fd->get(), ReplyKind::kHello, none);
  // A broker that ends does not take what still waits in its backlog.
  if (!hello) return Error{hello.error() == ECONNRESET ? ECONNREFUSED : hello.error()};
  return fd;
}

Result<std::unique_ptr<Attachment>> BrokerClient::attach(Fd lease) {
  std::vector<Fd> fds;
  const auto reply = ask(lease.get(), RequestKind::kAttach, ReplyKind::kAttached, fds);
  if (!reply) return Error{reply.error()};
  if (fds.size() <= kFirstXskFd || reply->slot >= kMaxSlots) return Error{EPROTO};
  Parts parts;
  if (auto done = map_memory(parts, fds); !done) return Error{done.error()};
  if (auto done = map_rings(parts, fds, reply->slot); !done) return Error{done.error()};
  parts.flows = move_out_of_the_way(std::move(fds[kFlowsFd]));
  parts.link = move_out_of_the_way(std::move(fds[kLinkFd]));
  return std::unique_ptr<Attachment>(
      std::make_unique<LiveAttachment>(std::move(parts), std::move(lease), reply->slot));
}

Result<const Control*> BrokerClient::observe(const std::string& ifname) {
  const auto socket = lease(ifname);
  if (!socket) return Error{socket.error()};
  std::vector<Fd> fds;
  const auto reply = ask(socket->get(), RequestKind::kObserve, ReplyKind::kObserved, fds);
  if (!reply) return Error{reply.error()};
  if (fds.size() != 1) return Error{EPROTO};
  auto map = Mapping::map(fds[0].get(), sizeof(Control), 0, PROT_READ, MAP_SHARED);
  if (!map) return Error{map.error()};
  const auto* const kept = new Mapping(std::move(*map));  // for as long as the tool runs
  const auto* const control = static_cast<const Control*>(kept->get());
  if (control->magic != kControlMagic || control->version != kControlVersion) return Error{EPROTO};
  return control;
}

Result<SteerCounters> BrokerClient::steer_counters(const std::string& ifname) {
  const auto socket = lease(ifname);
  if (!socket) return Error{socket.error()};
  std::vector<Fd> fds;
  const auto reply = ask(socket->get(), RequestKind::kSteerCounters, ReplyKind::kCounted, fds);
  if (!reply) return Error{reply.error()};
  SteerCounters counters;
  std::copy(std::begin(reply->counters), std::end(reply->counters), counters.begin());
  return counters;
}

Result<BrokerClient::Relocated> BrokerClient::relocate(const std::string& ifname, bool away,
                                                       pid_t pid) {
  const auto socket = lease(ifname);
  if (!socket) return Error{socket.error()};
  BrokerRequest request{};
  request.kind = RequestKind::kRelocate;
  request.relocation = {pid, away ? 1U : 0U};
  auto sent = send_message(socket->get(), &request, sizeof request, {});
  if (!sent) return Error{sent.error() == EPIPE ? ECONNREFUSED : sent.error()};
  std::vector<Fd> none;
  const auto reply = await(socket->get(), ReplyKind::kRelocated, none);
  if (!reply) return Error{reply.error()};
  const RelocationResult& result = reply->relocated;
  return Relocated{result.programs, {result.moved, result.left}};
}

}  // namespace underpass
