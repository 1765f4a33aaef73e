// udp_endpoint.cpp - a queue of datagrams
#include "stack/udp_endpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "stack/lwip_port/lwip.h"

namespace underpass {

namespace {
// What a queued datagram costs beside its bytes; Linux counts the sk_buff in (skb->truesize).
constexpr size_t kDatagramOverheadBytes = 256;

// A raw protocol is claimed as a whole.
Binding claimed(uint8_t protocol, const Binding& local) {
  if (protocol == IPPROTO_UDP) return local;
  const SocketAddress& address = local.address;
  return SocketAddress{IpAddress::any(address.ip.family()), address.port, 0};
}
}  // namespace

Result<UdpEndpoint*> UdpEndpoint::open(Stack& stack, const Binding& local, EndpointOwner& owner,
                                       int fd, uint8_t protocol) {
  auto held = stack.ports().hold(protocol, claimed(protocol, local));
  if (!held) return Error{held.error()};
  auto* endpoint = new UdpEndpoint(stack, local, owner, protocol);
  endpoint->remote_ = {IpAddress::any(local.address.ip.family()), 0, 0};
  stack.datagrams(protocol).add(*endpoint);
  endpoint->record_ = stack.records().take(protocol, local.address, endpoint->remote_, fd);
  return endpoint;
}

void UdpEndpoint::close() {
  for (const Datagram& datagram : queue_) pbuf_free(datagram.data);
  if (is_bound()) stack_.datagrams(protocol_).remove(*this);
  if (is_bound()) stack_.ports().drop(protocol_, claimed(protocol_, local_));
  stack_.records().give_back(record_);
  Stack& stack = stack_;
  delete this;
  stack.flush();  // the frames of the queue go back to the fill ring
}

void UdpEndpoint::set_remote(const SocketAddress& remote) {
  remote_ = remote;
  if (record_ == nullptr) return;
  Records::set_remote(*record_, remote);
  publish();
}

Result<void> UdpEndpoint::rebind(const Binding& local) {
  if (local == local_) return {};
  PortClaims& ports = stack_.ports();
  const Binding from = claimed(protocol_, local_);
  const Binding to = claimed(protocol_, local);
  if (local.address.port == 0) {
    ports.drop(protocol_, from);
  } else if (!is_bound() || from != to) {
    auto held = is_bound() ? ports.move(protocol_, from, to) : ports.hold(protocol_, to);
    if (!held) return held;
  }
  if (is_bound()) stack_.datagrams(protocol_).remove(*this);
  local_ = local;
  if (is_bound()) stack_.datagrams(protocol_).add(*this);
  if (record_ != nullptr) Records::set_local(*record_, local.address);
  return {};
}

int UdpEndpoint::score(const SocketAddress& local, const SocketAddress& remote) const {
  if (!local_.covers(local.ip)) return 0;
  int score = local_.address.ip.is_v4() == local.ip.is_v4() ? 2 : 1;
  if (!local_.address.ip.is_any()) score += 2;
  if (remote_.port != 0) {
    if (remote_.port != remote.port || remote_.ip != remote.ip) return 0;
    score += 4;
  }
  return score;
}

void UdpEndpoint::deliver(const Datagram& datagram) {
  queue_.push_back(datagram);
  queued_bytes_ += datagram.bytes + kDatagramOverheadBytes;
  publish();
  owner_.endpoint_event(kReadable);
}

Result<Datagram> UdpEndpoint::receive(std::span<const iovec> out, bool peek, size_t* copied) {
  if (queue_.empty()) return Error{EAGAIN};
  const Datagram datagram = queue_.front();
  const auto* from = static_cast<const uint8_t*>(datagram.data->payload);
  size_t left = datagram.bytes;
  for (const iovec& piece : out) {
    const size_t part = std::min(left, piece.iov_len);
    if (part != 0) std::memcpy(piece.iov_base, from, part);
    from += part;
    left -= part;
  }
  *copied = datagram.bytes - left;
  if (!peek) {
    queue_.pop_front();
    queued_bytes_ -= datagram.bytes + kDatagramOverheadBytes;
    pbuf_free(datagram.data);
    publish();
  }
  return datagram;
}

void UdpEndpoint::publish() {
  if (record_ == nullptr) return;
  const SocketState state = remote_.port != 0 ? SocketState::kEstablished : SocketState::kClose;
  record_->state.store(static_cast<uint8_t>(state), std::memory_order_relaxed);
  record_->rx_queue_bytes.store(static_cast<uint32_t>(queued_bytes_), std::memory_order_relaxed);
}

}  // namespace underpass
