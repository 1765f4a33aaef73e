// homeless.cpp - a short, bounded queue
#include "xdp/broker/homeless.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

#include "base/sys.h"

namespace underpass {

namespace {

// A child that has just been forked comes within milliseconds; a peer that waits in vain should
// know.
constexpr uint64_t kPatienceMs = 3000;
constexpr size_t kMost = 512;

}  // namespace

bool is_connection_of(const SocketAddress& listener, int socket) {
  int protocol = 0;
  socklen_t bytes = sizeof protocol;
  if (sys::getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &bytes) < 0) return false;
  sockaddr_storage address;
  socklen_t length = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  if (protocol != IPPROTO_TCP || sys::getsockname(socket, plain, &length) < 0) return false;
  const auto local = SocketAddress::from_sockaddr(plain, length);
  return local && local->port == listener.port;
}

void Homeless::add(const SocketAddress& listener, Fd socket, uint64_t now_ms) {
  const linger reset{1, 0};  // as inet_csk_listen_stop() ends what nobody has accepted
  sys::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (waiting_.size() == kMost) waiting_.pop_front();
  waiting_.push_back({listener, std::move(socket), now_ms + kPatienceMs});
}

std::vector<Fd> Homeless::take(const SocketAddress& listener) {
  std::vector<Fd> found;
  std::deque<Waiting> left;
  for (Waiting& one : waiting_) {
    if (one.listener.ip == listener.ip && one.listener.port == listener.port) {
      const linger off{0, 0};
      sys::setsockopt(one.socket.get(), SOL_SOCKET, SO_LINGER, &off, sizeof off);
      found.push_back(std::move(one.socket));
    } else {
      left.push_back(std::move(one));
    }
  }
  waiting_ = std::move(left);
  return found;
}

bool Homeless::review(uint64_t now_ms) {
  while (!waiting_.empty() && waiting_.front().until_ms <= now_ms) waiting_.pop_front();
  return !waiting_.empty();
}

}  // namespace underpass
