// repair.cpp - options and queues of a socket in repair mode
#include "xdp/broker/repair.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/sys.h"
#include "xdp/broker/set_option.h"

namespace underpass {

namespace {

// include/net/tcp.h: the kinds of TCP_REPAIR_OPTIONS.
constexpr uint32_t kOptionMss = 2;
constexpr uint32_t kOptionWindow = 3;
constexpr uint32_t kOptionSackPermitted = 4;
constexpr uint32_t kOptionTimestamp = 8;
// Beside what is queued: skbs are larger than what they hold, and more is to come.
constexpr int kSpareBufferBytes = 256 * 1024;
constexpr int kMaxBufferBytes = 16 * 1024 * 1024;
constexpr size_t kPieceBytes = 256 * 1024;

int get(int socket, int level, int name) {
  int value = 0;
  socklen_t bytes = sizeof value;
  sys::getsockopt(socket, level, name, &value, &bytes);
  return value;
}

// The kernel doubles it.
void enlarge(int socket, int name, int force, uint64_t wanted) {
  const auto bytes = static_cast<int>(std::min<uint64_t>(wanted, kMaxBufferBytes));
  if (get(socket, SOL_SOCKET, name) / 2 >= bytes) return;
  static_cast<void>(set_option(socket, SOL_SOCKET, force, bytes));
}

Result<void> set_sequence(int socket, int queue, uint32_t sequence) {
  auto done = set_option(socket, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);
  if (done) done = set_option(socket, IPPROTO_TCP, TCP_QUEUE_SEQ, sequence);
  return done;
}

std::vector<tcp_repair_opt> options_of(const ConnectionState& connection) {
  std::vector<tcp_repair_opt> options{{kOptionMss, connection.mss}};
  if (connection.window_scaling != 0) {
    const uint32_t scales = connection.send_scale | uint32_t{connection.receive_scale} << 16U;
    options.push_back({kOptionWindow, scales});
  }
  if (connection.selective_acks != 0) options.push_back({kOptionSackPermitted, 0});
  if (connection.timestamps != 0) options.push_back({kOptionTimestamp, 0});
  return options;
}

}  // namespace

Result<void> send_from(int socket, int bytes_fd, uint64_t offset, uint64_t bytes) {
  std::vector<uint8_t> piece(std::min<uint64_t>(bytes, kPieceBytes));
  while (bytes != 0) {
    const long got = sys::call(SYS_pread64, bytes_fd, sys::arg(piece.data()),
                               static_cast<long>(std::min<uint64_t>(bytes, piece.size())),
                               static_cast<long>(offset));
    if (got <= 0) return Error{got < 0 ? static_cast<int>(-got) : EINVAL};
    const long sent = sys::sendto(socket, piece.data(), static_cast<size_t>(got),
                                  MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
    if (sent == -EAGAIN) return Error{ENOBUFS};
    if (sent < 0) return Error{static_cast<int>(-sent)};
    offset += static_cast<uint64_t>(sent);
    bytes -= static_cast<uint64_t>(sent);
  }
  return {};
}

void limit_buffers(int socket, uint32_t bytes) {
  const int limit = std::min(get(socket, SOL_SOCKET, SO_SNDBUF), static_cast<int>(bytes));
  // The kernel doubles it.
  static_cast<void>(set_option(socket, SOL_SOCKET, SO_SNDBUFFORCE, limit / 2));
  constexpr int kReceiveLock = 2;  // SOCK_RCVBUF_LOCK
  const int locks = get(socket, SOL_SOCKET, SO_BUF_LOCK) | kReceiveLock;
  static_cast<void>(set_option(socket, SOL_SOCKET, SO_BUF_LOCK, locks));
}

Result<Repair> Repair::begin(int socket) {
  Repair repair(socket, get(socket, SOL_SOCKET, SO_DOMAIN));
  repair.reuses_address_ = get(socket, SOL_SOCKET, SO_REUSEADDR);
  repair.buffer_locks_ = get(socket, SOL_SOCKET, SO_BUF_LOCK);
  auto on = set_option(socket, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
  if (on) return repair;
  repair.socket_ = -1;
  return Error{on.error()};
}

Repair::Repair(Repair&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      family_(other.family_),
      reuses_address_(other.reuses_address_),
      buffer_locks_(other.buffer_locks_) {}

Repair::~Repair() {
  if (socket_ < 0) return;
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  sys::connect(socket_, &nobody, sizeof nobody);
  static_cast<void>(finish().ok());
}

Result<void> Repair::connect(const ConnectionState& connection) {
  const uint64_t outgoing = uint64_t{connection.in_flight_bytes} + connection.unsent_bytes;
  enlarge(socket_, SO_SNDBUF, SO_SNDBUFFORCE, outgoing + kSpareBufferBytes);
  enlarge(socket_, SO_RCVBUF, SO_RCVBUFFORCE,
          uint64_t{connection.unread_bytes} + connection.receive_window);
  auto done =
      set_sequence(socket_, TCP_RECV_QUEUE, connection.receive_next - connection.unread_bytes);
  if (done) done = set_sequence(socket_, TCP_SEND_QUEUE, connection.send_unacked);
  if (!done) return done;
  sockaddr_storage address;
  socklen_t length = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  sys::getsockname(socket_, plain, &length);
  const auto bound = SocketAddress::from_sockaddr(plain, length);
  if (!bound || bound->port == 0) {
    length = connection.local.to_sockaddr(family_, address);
    const int error = -sys::bind(socket_, plain, length);
    if (error > 0) return Error{error};
  }
  length = connection.remote.to_sockaddr(family_, address);
  const int error = -sys::connect(socket_, plain, length);
  if (error > 0) return Error{error};
  const std::vector<tcp_repair_opt> options = options_of(connection);
  const int refused = -sys::setsockopt(socket_, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options.data(),
                                       static_cast<socklen_t>(options.size() * sizeof options[0]));
  if (refused > 0) return Error{refused};
  if (connection.timestamps == 0) return {};
  // The lowest bit would make its clock one of microseconds; one millisecond on harms nobody.
  const uint32_t even = connection.timestamp + (connection.timestamp & 1U);
  return set_option(socket_, IPPROTO_TCP, TCP_TIMESTAMP, even);
}

Result<void> Repair::fill_queues(const ConnectionState& connection, int bytes_fd) {
  auto done = set_option(socket_, IPPROTO_TCP, TCP_REPAIR_QUEUE, int{TCP_RECV_QUEUE});
  if (done) done = send_from(socket_, bytes_fd, 0, connection.unread_bytes);
  if (done) done = set_option(socket_, IPPROTO_TCP, TCP_REPAIR_QUEUE, int{TCP_SEND_QUEUE});
  if (done) {
    done = send_from(socket_, bytes_fd, connection.unread_bytes, connection.in_flight_bytes);
  }
  return done;
}

Result<void> Repair::set_window(const ConnectionState& connection) {
  tcp_repair_window window{};
  window.snd_wl1 = connection.send_window_update;
  window.snd_wnd = connection.send_window;
  window.max_window = std::max(connection.largest_send_window, connection.send_window);
  window.rcv_wnd = connection.receive_window;
  window.rcv_wup = connection.receive_next;
  return set_option(socket_, IPPROTO_TCP, TCP_REPAIR_WINDOW, window);
}

Result<void> Repair::queue_fin() {
  auto done = set_option(socket_, IPPROTO_TCP, TCP_REPAIR_QUEUE, int{TCP_SEND_QUEUE});
  if (!done) return done;
  const int error = -sys::shutdown(socket_, SHUT_WR);
  if (error > 0) return Error{error};
  return {};
}

Result<void> Repair::finish() {
  const int socket = std::exchange(socket_, -1);
  static_cast<void>(set_option(socket, IPPROTO_TCP, TCP_REPAIR_QUEUE, int{TCP_NO_QUEUE}));
  auto done = set_option(socket, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF);
  // Repair mode takes SO_REUSEADDR away; forced sizes count as set by the program.
  static_cast<void>(set_option(socket, SOL_SOCKET, SO_REUSEADDR, reuses_address_));
  static_cast<void>(set_option(socket, SOL_SOCKET, SO_BUF_LOCK, buffer_locks_));
  return done;
}

}  // namespace underpass
