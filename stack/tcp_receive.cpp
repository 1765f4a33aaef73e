// tcp_receive.cpp - what has arrived of a connection, until the program has read it
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "stack/lwip_port/lwip_window.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

void TcpEndpoint::arrived(pbuf* data) {
  // From here on the chain is a plain list: tot_len means nothing any more.
  while (data != nullptr) {
    pbuf* next = data->next;
    data->next = nullptr;
    if (data->len == 0) {
      pbuf_free(data);
    } else {
      (rx_last_ != nullptr ? rx_last_->next : rx_first_) = data;
      rx_last_ = data;
      rx_bytes_ += data->len;
    }
    data = next;
  }
  event(kReadable);
}

size_t TcpEndpoint::copy_out(std::span<const iovec> data, size_t skip_bytes, bool consume,
                             bool discard) {
  size_t copied = 0;
  pbuf* from = rx_first_;
  uint32_t offset = rx_offset_;
  for (const iovec& piece : data) {
    if (skip_bytes >= piece.iov_len) {
      skip_bytes -= piece.iov_len;
      continue;
    }
    auto* to = static_cast<uint8_t*>(piece.iov_base) + skip_bytes;
    size_t left = piece.iov_len - skip_bytes;
    skip_bytes = 0;
    while (left != 0 && from != nullptr) {
      const size_t part = std::min<size_t>(left, from->len - offset);
      if (!discard) std::memcpy(to, static_cast<uint8_t*>(from->payload) + offset, part);
      to += part;
      left -= part;
      copied += part;
      offset += static_cast<uint32_t>(part);
      if (offset == from->len) {
        pbuf* next = from->next;
        if (consume) {
          from->next = nullptr;
          pbuf_free(from);
        }
        from = next;
        offset = 0;
      }
    }
    if (from == nullptr) break;
  }
  if (consume) {
    rx_first_ = from;
    if (from == nullptr) rx_last_ = nullptr;
    rx_offset_ = offset;
    rx_bytes_ -= copied;
  }
  return copied;
}

Result<size_t> TcpEndpoint::receive(std::span<const iovec> data, size_t skip_bytes, int flags) {
  if (closed_) return Error{EAGAIN};
  if (rx_bytes_ == 0) {
    if (error_ != 0) return Error{take_error()};
    if (peer_finished_ || shut_read_ || (pcb_ == nullptr && !connecting_)) return size_t{0};
    return Error{EAGAIN};
  }
  const bool consume = (flags & MSG_PEEK) == 0;
  const size_t copied = copy_out(data, skip_bytes, consume, (flags & MSG_TRUNC) != 0);
  if (!consume || copied == 0) return copied;
  if (pcb_ != nullptr && pcb_->state != TIME_WAIT) {
    stack_.enter();
    PcbWindow window(pcb_);
    constexpr size_t kMaxStep = 0xffff;
    for (size_t left = copied; left != 0;) {
      const size_t step = std::min(left, kMaxStep);
      tcp_recved(pcb_, static_cast<u16_t>(step));
      left -= step;
    }
  }
  stack_.settle(*this);
  return copied;
}

void TcpEndpoint::drop_unread() {
  while (rx_first_ != nullptr) {
    pbuf* next = rx_first_->next;
    rx_first_->next = nullptr;
    pbuf_free(rx_first_);
    rx_first_ = next;
  }
  rx_last_ = nullptr;
  rx_bytes_ = 0;
  rx_offset_ = 0;
}

}  // namespace underpass
