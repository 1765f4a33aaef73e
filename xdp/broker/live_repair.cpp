// live_repair.cpp - what do_tcp_getsockopt() and tcp_recvmsg() of net/ipv4/tcp.c tell in repair
// mode
#include "xdp/broker/live_repair.h"

#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/sys.h"
#include "xdp/broker/set_option.h"

namespace underpass {

namespace {

constexpr size_t kPieceBytes = 256 * 1024;

template <class T>
Result<T> get(int socket, int level, int name) {
  T value{};
  socklen_t bytes = sizeof value;
  const int done = sys::getsockopt(socket, level, name, &value, &bytes);
  if (done < 0) return Error{-done};
  return value;
}

Result<uint32_t> sequence_of(int socket, int queue) {
  if (auto chosen = set_option(socket, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue); !chosen) {
    return Error{chosen.error()};
  }
  return get<uint32_t>(socket, IPPROTO_TCP, TCP_QUEUE_SEQ);
}

Result<uint32_t> count_of(int socket, unsigned long request) {
  int count = 0;
  const int done = sys::ioctl(socket, request, &count);
  if (done < 0) return Error{-done};
  return static_cast<uint32_t>(count);
}

using NameCall = int (*)(int, sockaddr*, socklen_t*);

Result<SocketAddress> name_of(int socket, NameCall call) {
  sockaddr_storage address;
  socklen_t length = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  const int done = call(socket, plain, &length);
  if (done < 0) return Error{-done};
  return SocketAddress::from_sockaddr(plain, length);
}

// Others stay, and are not disturbed.
bool may_move(int socket) {
  const auto state = get<uint8_t>(socket, IPPROTO_TCP, TCP_INFO);
  return state && (*state == static_cast<uint8_t>(MovedState::kEstablished) ||
                   *state == static_cast<uint8_t>(MovedState::kCloseWait));
}

// What urgent data there is would be lost: EINVAL says that there is none.
bool has_urgent(int socket) {
  uint8_t byte = 0;
  const long got = sys::call(SYS_recvfrom, socket, sys::arg(&byte), sizeof byte,
                             MSG_OOB | MSG_PEEK | MSG_DONTWAIT, 0, 0);
  return got != -EINVAL;
}

bool has_error(int socket) {
  pollfd one{socket, 0, 0};
  timespec zero{};
  return sys::ppoll(&one, 1, &zero, nullptr) > 0 && (one.revents & POLLERR) != 0;
}

bool has_filter(int socket) {
  socklen_t blocks = 0;
  return sys::getsockopt(socket, SOL_SOCKET, SO_GET_FILTER, nullptr, &blocks) != 0 || blocks != 0;
}

Result<void> drop_what_comes(int socket) {
  sock_filter nothing{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog program{1, &nothing};
  return set_option(socket, SOL_SOCKET, SO_ATTACH_FILTER, program);
}

// What peeking at a queue in repair mode shows.
Result<void> append_queue(int socket, int queue, uint32_t bytes, int file, size_t offset) {
  if (auto chosen = set_option(socket, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue); !chosen)
    return chosen;
  if (bytes == 0) return {};
  // A peek begins at the beginning each time, so it is one.
  std::vector<uint8_t> all(bytes);
  const long got = sys::call(SYS_recvfrom, socket, sys::arg(all.data()), static_cast<long>(bytes),
                             MSG_PEEK | MSG_DONTWAIT, 0, 0);
  if (got != static_cast<long>(bytes)) return Error{got < 0 ? static_cast<int>(-got) : EBUSY};
  for (size_t written = 0; written < all.size();) {
    const size_t piece = std::min(all.size() - written, kPieceBytes);
    const long done = sys::call(SYS_pwrite64, file, sys::arg(all.data() + written),
                                static_cast<long>(piece), static_cast<long>(offset + written));
    if (done <= 0) return Error{done < 0 ? static_cast<int>(-done) : EIO};
    written += static_cast<size_t>(done);
  }
  return {};
}

}  // namespace

Result<ConnectionState> connection_of(int socket) {
  const auto local = name_of(socket, sys::getsockname);
  const auto remote = name_of(socket, sys::getpeername);
  if (!local || !remote) return Error{ENOTCONN};
  ConnectionState connection{};
  connection.local = *local;
  connection.remote = *remote;
  return connection;
}

Result<LiveRepair> LiveRepair::begin(int socket) {
  LiveRepair repair(socket);
  if (!may_move(socket) || has_error(socket) || has_urgent(socket) || has_filter(socket)) {
    repair.socket_ = -1;
    return Error{EBUSY};
  }
  const auto reuses = get<int>(socket, SOL_SOCKET, SO_REUSEADDR);
  repair.reuses_address_ = reuses ? *reuses : 0;
  auto done = drop_what_comes(socket);
  if (done) done = set_option(socket, IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_ON});
  if (!done) return Error{done.error()};
  repair.in_repair_ = true;
  return repair;
}

LiveRepair::LiveRepair(LiveRepair&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      in_repair_(other.in_repair_),
      reuses_address_(other.reuses_address_) {}

LiveRepair::~LiveRepair() {
  if (socket_ < 0) return;
  const int none = 0;
  static_cast<void>(set_option(socket_, SOL_SOCKET, SO_DETACH_FILTER, none));
  if (!in_repair_) return;
  static_cast<void>(set_option(socket_, IPPROTO_TCP, TCP_REPAIR_QUEUE, int{TCP_NO_QUEUE}));
  // A connection that is still there asks the peer for what was dropped (a window probe).
  static_cast<void>(set_option(socket_, IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_OFF}));
  // Repair mode takes SO_REUSEADDR away.
  static_cast<void>(set_option(socket_, SOL_SOCKET, SO_REUSEADDR, reuses_address_));
}

Result<void> LiveRepair::read(ConnectionState& connection) {
  const auto information = get<tcp_info>(socket_, IPPROTO_TCP, TCP_INFO);
  if (!information) return Error{information.error()};
  const auto state = static_cast<MovedState>(information->tcpi_state);
  if (state != MovedState::kEstablished && state != MovedState::kCloseWait) return Error{EBUSY};
  const auto received = sequence_of(socket_, TCP_RECV_QUEUE);
  const auto written = sequence_of(socket_, TCP_SEND_QUEUE);
  const auto unread = count_of(socket_, SIOCINQ);
  const auto unacknowledged = count_of(socket_, SIOCOUTQ);
  const auto unsent = count_of(socket_, SIOCOUTQNSD);
  const auto window = get<tcp_repair_window>(socket_, IPPROTO_TCP, TCP_REPAIR_WINDOW);
  const auto stamp = get<uint32_t>(socket_, IPPROTO_TCP, TCP_TIMESTAMP);
  const auto mss = get<int>(socket_, IPPROTO_TCP, TCP_MAXSEG);
  if (!received || !written || !unread || !unacknowledged || !unsent || !window || !stamp || !mss ||
      *unsent > *unacknowledged) {
    return Error{EBUSY};
  }
  connection.state = state;
  connection.receive_next = *received - (state == MovedState::kCloseWait ? 1 : 0);
  connection.send_unacked = *written - *unacknowledged;
  connection.unread_bytes = *unread;
  connection.unsent_bytes = *unsent;
  connection.in_flight_bytes = *unacknowledged - *unsent;
  connection.send_window = window->snd_wnd;
  connection.largest_send_window = window->max_window;
  connection.send_window_update = window->snd_wl1;
  // As tcp_receive_window().
  const auto open = static_cast<int32_t>(window->rcv_wup + window->rcv_wnd - *received);
  connection.receive_window = static_cast<uint32_t>(std::max(open, 0));
  connection.mss = static_cast<uint16_t>(std::clamp(*mss, 0, int{UINT16_MAX}));
  connection.send_scale = information->tcpi_snd_wscale;
  connection.receive_scale = information->tcpi_rcv_wscale;
  connection.window_scaling = (information->tcpi_options & TCPI_OPT_WSCALE) != 0 ? 1 : 0;
  connection.selective_acks = (information->tcpi_options & TCPI_OPT_SACK) != 0 ? 1 : 0;
  connection.timestamps = (information->tcpi_options & TCPI_OPT_TIMESTAMPS) != 0 ? 1 : 0;
  connection.timestamp = *stamp;
  connection.round_trip_us = information->tcpi_rtt;
  connection.congestion_window_segments = information->tcpi_snd_cwnd;
  return {};
}

Result<void> LiveRepair::read_queues(const ConnectionState& connection, int file) {
  if (connection.queued_bytes() > kMaxQueuedBytes) return Error{EFBIG};
  auto done = append_queue(socket_, TCP_RECV_QUEUE, connection.unread_bytes, file, 0);
  if (!done) return done;
  return append_queue(socket_, TCP_SEND_QUEUE, connection.in_flight_bytes + connection.unsent_bytes,
                      file, connection.unread_bytes);
}

// tcp_set_state() gives a port back that the program has not named itself. A second socket holds it
// until ours has it again: repair mode lets both.
Result<void> LiveRepair::take(const ConnectionState& connection) {
  const auto family = get<int>(socket_, SOL_SOCKET, SO_DOMAIN);
  if (!family) return Error{family.error()};
  const Fd holder(sys::socket(*family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!holder) return Error{EMFILE};
  sockaddr_storage address;
  const socklen_t length = connection.local.to_sockaddr(*family, address);
  const auto* const plain = reinterpret_cast<const sockaddr*>(&address);
  auto held = set_option(holder.get(), IPPROTO_TCP, TCP_REPAIR, int{TCP_REPAIR_ON});
  if (!held) return held;
  if (const int error = -sys::bind(holder.get(), plain, length); error > 0) return Error{error};
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  const int error = -sys::connect(socket_, &nobody, sizeof nobody);
  if (error > 0) return Error{error};
  // What tcp_disconnect() leaves there (ECONNABORTED).
  static_cast<void>(get<int>(socket_, SOL_SOCKET, SO_ERROR));
  // EINVAL: it had named the port.
  static_cast<void>(sys::bind(socket_, plain, length));
  return {};
}

}  // namespace underpass
