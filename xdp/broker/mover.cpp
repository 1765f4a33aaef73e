// mover.cpp - what is checked, and the order in which a connection is restored
#include "xdp/broker/mover.h"

#include <linux/membarrier.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/sys.h"
#include "xdp/broker/live_repair.h"
#include "xdp/broker/peer_segment.h"
#include "xdp/broker/refusal.h"
#include "xdp/broker/repair.h"
#include "xdp/broker_abi.h"

namespace underpass {

namespace {

int option_of(int socket, int level, int name) {
  int value = -1;
  socklen_t bytes = sizeof value;
  sys::getsockopt(socket, level, name, &value, &bytes);
  return value;
}

uint64_t network_of(int socket) {
  uint64_t cookie = 0;
  socklen_t bytes = sizeof cookie;
  sys::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes);
  return cookie;
}

// The first byte of struct tcp_info; -1: no TCP socket.
int state_of(int socket) {
  uint8_t state = 0;
  socklen_t bytes = sizeof state;
  if (sys::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &state, &bytes) < 0) return -1;
  return state;
}

bool is_known(MovedState state) {
  switch (state) {
    case MovedState::kEstablished:
    case MovedState::kFinWait1:
    case MovedState::kFinWait2:
    case MovedState::kTimeWait:
    case MovedState::kCloseWait:
    case MovedState::kLastAck:
    case MovedState::kClosing:
      return true;
  }
  return false;
}

// net.ipv4.ip_unprivileged_port_start of our namespace, which root may change at any time.
uint16_t first_unprivileged_port() {
  constexpr uint16_t kDefault = 1024;
  const Fd file(static_cast<int>(
      sys::call(SYS_openat, AT_FDCWD, sys::arg("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
                O_RDONLY | O_CLOEXEC)));
  char text[16]{};
  if (!file || sys::read(file.get(), text, sizeof text - 1) <= 0) return kDefault;
  return static_cast<uint16_t>(std::strtoul(text, nullptr, 10));
}

bool has_name(int socket, const ConnectionState& connection) {
  sockaddr_storage address;
  socklen_t length = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  if (sys::getsockname(socket, plain, &length) < 0) return false;
  const auto local = SocketAddress::from_sockaddr(plain, length);
  return local && local->ip == connection.local.ip && local->port == connection.local.port;
}

}  // namespace

Mover::Mover(const Nic& nic, Steering& steering)
    : nic_(nic), steering_(steering), flows_(steering) {
  const Fd probe(sys::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  network_ = network_of(probe.get());
}

// A TCP socket of the namespace, and a connection of the interface to another host.
bool Mover::is_ours(int socket, const ConnectionState& connection) const {
  const int family = option_of(socket, SOL_SOCKET, SO_DOMAIN);
  const bool fits = (family == AF_INET && connection.local.ip.is_v4()) || family == AF_INET6;
  if (!fits || option_of(socket, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP ||
      network_of(socket) != network_) {
    return false;
  }
  const IpAddress& remote = connection.remote.ip;
  return connection.local.port != 0 && connection.remote.port != 0 &&
         remote.is_v4() == connection.local.ip.is_v4() && !remote.is_any() &&
         !remote.is_loopback() && !remote.is_multicast() && !remote.is_broadcast() &&
         !steering_.has_address(remote) && steering_.is_here(connection.local.ip);
}

Result<void> Mover::check(const ConnectionState& connection, int socket, uint32_t slot,
                          uid_t uid) const {
  constexpr int kClose = 7;
  if (!is_ours(socket, connection) || state_of(socket) != kClose || !is_known(connection.state) ||
      connection.queued_bytes() > kMaxQueuedBytes) {
    return Error{EINVAL};
  }
  if (steering_.owner_of(IPPROTO_TCP, connection.local, connection.remote) != slot) {
    return Error{EPERM};
  }
  if (uid != 0 && connection.local.port < first_unprivileged_port()) return Error{EPERM};
  return {};
}

Result<void> Mover::say(const ConnectionState& connection, const PeerSegment& segment) {
  uint8_t frame[kMaxPeerSegmentBytes];
  const size_t bytes = write_peer_segment(connection, segment, nic_.mac, frame);
  return receive_in_kernel(steering_.program_fd(), nic_.index, {frame, bytes});
}

// Until the flow is the kernel's an error leaves everything as it was. The peer's last word comes
// when the socket has all that came before it.
Result<void> Mover::restore(const ConnectionState& connection, int socket, int bytes_fd) {
  auto repair = Repair::begin(socket);
  if (!repair) return Error{repair.error()};
  auto done = repair->connect(connection);
  if (done) done = repair->fill_queues(connection, bytes_fd);
  if (done) done = repair->set_window(connection);
  if (done && !has_name(socket, connection)) done = Error{EADDRNOTAVAIL};
  if (done) done = flows_.give({IPPROTO_TCP, connection.local, connection.remote});
  if (!done) return done;
  const MovedState state = connection.state;
  const bool fin_acknowledged = state == MovedState::kFinWait2 || state == MovedState::kTimeWait;
  if (fin_acknowledged) done = repair->queue_fin();
  const PeerSegment last{connection.receive_next,
                         connection.send_unacked + (fin_acknowledged ? 1U : 0U),
                         state != MovedState::kFinWait2};
  const bool says_now =
      fin_acknowledged || state == MovedState::kCloseWait || state == MovedState::kLastAck;
  if (done && says_now) done = say(connection, last);
  if (auto finished = repair->finish(); done) done = finished;
  if (connection.may_return != 0) limit_buffers(socket, kMaxReturningBytes);
  if (done) {
    done =
        send_from(socket, bytes_fd, uint64_t{connection.unread_bytes} + connection.in_flight_bytes,
                  connection.unsent_bytes);
  }
  const bool fin_unacknowledged = state == MovedState::kFinWait1 || state == MovedState::kLastAck ||
                                  state == MovedState::kClosing;
  if (done && fin_unacknowledged && sys::shutdown(socket, SHUT_WR) < 0) done = Error{EPIPE};
  if (done && state == MovedState::kClosing) done = say(connection, last);
  if (!done) {
    // Too late for going back: to the peer it ends here.
    log_write(LogLevel::warning, "a connection to %s is lost in the move: %s",
              connection.remote.to_string().c_str(), strerror(done.error()));
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    sys::connect(socket, &nobody, sizeof nobody);
  }
  return {};
}

Result<void> Mover::move_out(const ConnectionState& connection, const std::vector<Fd>& fds,
                             uint32_t slot, uid_t uid) {
  if (fds.size() != (connection.queued_bytes() != 0 ? 2 : 1)) return Error{EINVAL};
  const int socket = fds[kMovedSocketFd].get();
  if (auto right = check(connection, socket, slot, uid); !right) return right;
  const int bytes_fd = fds.size() > kMovedBytesFd ? fds[kMovedBytesFd].get() : -1;
  auto done = restore(connection, socket, bytes_fd);
  constexpr int kListen = 10;
  if (state_of(socket) == kListen) sys::shutdown(socket, SHUT_RDWR);
  return done;
}

// First nothing comes for the socket any more, then it is read; when it has lost its connection,
// there is no way back.
Result<ConnectionState> Mover::move_in(const std::vector<Fd>& fds, uint32_t slot) {
  // Writing to a file of another kind could take for ever.
  if (fds.size() != 2 || sys::fcntl(fds[kMovedBytesFd].get(), F_GET_SEALS) < 0) {
    return Error{EINVAL};
  }
  const int socket = fds[kMovedSocketFd].get();
  auto connection = connection_of(socket);
  if (!connection || !is_ours(socket, *connection)) return Error{EINVAL};
  const auto owner = steering_.owner_of(IPPROTO_TCP, connection->local, connection->remote);
  if (owner && *owner != slot) return Error{EPERM};
  auto repair = LiveRepair::begin(socket);
  if (!repair) return Error{repair.error()};
  const Flow flow{IPPROTO_TCP, connection->local, connection->remote};
  if (auto steered = steering_.give_flow_to_slot(flow, slot); !steered) {
    return Error{steered.error()};
  }
  // What the steering program and the filter have passed before is through: a grace period of RCU.
  sys::call(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
  auto done = repair->read(*connection);
  if (done) done = repair->read_queues(*connection, fds[kMovedBytesFd].get());
  if (done) done = repair->take(*connection);
  if (done) return connection;
  if (auto given = flows_.give(flow); !given) {
    log_write(LogLevel::warning, "a flow is lost: %s", strerror(given.error()));
  }
  return Error{done.error()};
}

}  // namespace underpass
