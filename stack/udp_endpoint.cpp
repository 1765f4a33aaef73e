// udp_endpoint.cpp - a queue of datagrams
#include "stack/udp_endpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
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
                                       int fd, uint8_t protocol, bool shares_port) {
  auto* endpoint = new UdpEndpoint(stack, local, owner, protocol, shares_port);
  auto held = endpoint->hold(claimed(protocol, local));
  if (!held) {
    delete endpoint;
    return Error{held.error()};
  }
  endpoint->remote_ = {IpAddress::any(local.address.ip.family()), 0, 0};
  stack.datagrams(protocol).add(*endpoint);
  stack.records().take(endpoint->record_, protocol, local.address, endpoint->remote_, fd);
  return endpoint;
}

Result<void> UdpEndpoint::hold(const Binding& claim) {
  PortClaims& ports = stack_.ports();
  auto held = shares_port() ? ports.join(protocol_, claim) : ports.hold(protocol_, claim);
  if (!held) return held;
  claim_ = claim;
  joined_ = shares_port();
  return {};
}

void UdpEndpoint::drop() {
  if (flow_) stack_.ports().drop_flow(*flow_);
  flow_.reset();
  if (joined_) stack_.ports().leave(protocol_, claim_);
  joined_ = false;
  stack_.ports().drop(protocol_, claim_);
}

void UdpEndpoint::close() {
  for (const Datagram& datagram : queue_) pbuf_free(datagram.data);
  if (is_bound()) stack_.datagrams(protocol_).remove(*this);
  if (is_bound()) drop();
  stack_.records().give_back(record_);
  Stack& stack = stack_;
  delete this;
  stack.flush();  // the frames of the queue go back to the fill ring
}

void UdpEndpoint::set_away(bool away) {
  if (!is_bound()) return;
  if (away) {
    if (flow_) stack_.ports().drop_flow(*flow_);
    flow_.reset();
    stack_.ports().release(protocol_, claim_);
    return owner_.endpoint_relocated();
  }
  joined_ = shares_port();
  if (!stack_.ports().claim_again(protocol_, claim_, joined_)) {
    log_write(LogLevel::info, "port %u stays with the kernel", local_.address.port);
    return;
  }
  follow_remote();
  owner_.endpoint_relocated();
}

void UdpEndpoint::set_remote(const SocketAddress& remote) {
  remote_ = remote;
  follow_remote();
  if (record_ == nullptr) return;
  Records::set_remote(*record_, remote);
  publish();
}

// One that is connected has what comes from there, and no share of the rest; also where others have
// the port.
void UdpEndpoint::follow_remote() {
  if (!shares_port_ || !is_bound()) return;
  PortClaims& ports = stack_.ports();
  if (joined_ && !shares_port()) {
    ports.leave(protocol_, claim_);
    joined_ = false;
  } else if (!joined_ && shares_port() && ports.rejoin(protocol_, claim_)) {
    joined_ = true;
  }
  if (flow_) ports.drop_flow(*flow_);
  flow_.reset();
  if (remote_.port == 0 || local_.address.ip.is_any()) return;
  const Flow flow{protocol_, local_.address, remote_};
  if (ports.add_flow(flow)) flow_ = flow;
}

Result<void> UdpEndpoint::rebind(const Binding& local) {
  if (local == local_) return {};
  PortClaims& ports = stack_.ports();
  const Binding to = claimed(protocol_, local);
  // A group's claim is not moved by one of its members.
  const bool stays = shares_port_ && is_bound() && local.address.port == local_.address.port;
  if (local.address.port == 0) {
    drop();
  } else if (!is_bound()) {
    if (auto held = hold(to); !held) return held;
  } else if (!stays && claim_ != to) {
    if (auto held = ports.move(protocol_, claim_, to); !held) return held;
    claim_ = to;
  }
  if (is_bound()) stack_.datagrams(protocol_).remove(*this);
  local_ = local;
  if (is_bound()) stack_.datagrams(protocol_).add(*this);
  follow_remote();
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
