// tcp_receive.cpp - what has arrived of a connection, until the program has read it
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "stack/clock.h"
#include "stack/lwip_port/lwip_window.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

namespace {

size_t total_bytes(std::span<const iovec> data) {
  size_t total = 0;
  for (const iovec& piece : data) total += piece.iov_len;
  return total;
}

}  // namespace

void TcpEndpoint::arrived(pbuf* data) {
  const size_t unread_before = rx_bytes_;
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
  traffic_.came_in_order(static_cast<uint32_t>(rx_bytes_ - unread_before));
  if (arrivals_.on()) arrivals_.came(rx_bytes_ - unread_before, realtime_ns());
  if (deferred_until_ns_ != 0) stop_deferring();
  const int64_t awaited = urgent_.awaited_at();
  if (awaited >= 0 && static_cast<size_t>(awaited) < rx_bytes_) {
    urgent_.byte_came(unread_byte(static_cast<size_t>(awaited)));
  }
  if (enough_to_read() || urgent_.has_byte()) {
    event(kReadable | (urgent_.has_byte() ? EPOLLPRI : 0U));
  }
}

// tcp_epollin_ready() in include/net/tcp.h.
bool TcpEndpoint::enough_to_read() const {
  if (rx_bytes_ == 0) return false;
  const size_t wanted = size_t{options_.receive_low_water} + (urgent_hole() ? 1 : 0);
  const bool window_is_closing = pcb_ != nullptr && pcb_->rcv_wnd <= pcb_->mss;
  return rx_bytes_ >= wanted || window_is_closing;
}

// ---- urgent data

bool TcpEndpoint::urgent_hole() const { return urgent_.at_mark() && !options_.urgent_inline; }

uint8_t TcpEndpoint::unread_byte(size_t index) const {
  const pbuf* at = rx_first_;
  for (index += rx_offset_; index >= at->len; at = at->next) index -= at->len;
  return static_cast<const uint8_t*>(at->payload)[index];
}

void TcpEndpoint::urgent_pointed(int64_t ahead) {
  const bool was_at_mark = urgent_hole() && rx_bytes_ != 0;
  if (!urgent_.pointed(ahead, rx_bytes_)) return;
  if (was_at_mark) {
    copy_out({}, {.passed_over = 1, .consume = true});
    arrivals_.read(1);
    urgent_.read(1);
    tell_window(1);
  }
  if (owner_ != nullptr && !closed_) owner_->endpoint_urgent();
}

// tcp_recv_urg() in net/ipv4/tcp.c: it never waits.
Result<size_t> TcpEndpoint::receive_urgent(std::span<const iovec> data, int flags,
                                           int* message_flags) {
  if (closed_) return Error{EAGAIN};
  if (options_.urgent_inline || !(urgent_.has_byte() || urgent_.is_awaited())) {
    return Error{EINVAL};
  }
  const bool gone = pcb_ == nullptr;
  if (gone && !peer_finished_) return Error{ENOTCONN};
  if (urgent_.is_awaited()) {
    if (gone || shut_read_ || peer_finished_) return size_t{0};
    return Error{EAGAIN};
  }
  const uint8_t byte = urgent_.byte();
  if ((flags & MSG_PEEK) == 0) urgent_.take();
  *message_flags |= MSG_OOB;
  for (const iovec& piece : data) {
    if (piece.iov_len == 0) continue;
    if ((flags & MSG_TRUNC) == 0) *static_cast<uint8_t*>(piece.iov_base) = byte;
    return size_t{1};
  }
  *message_flags |= MSG_TRUNC;
  return size_t{0};
}

// As tcp_inq() in include/net/tcp.h: to the mark.
size_t TcpEndpoint::unread_to_mark() const {
  if (options_.urgent_inline || urgent_.none()) return rx_bytes_;
  if (urgent_.at_mark()) return urgent_.is_awaited() ? rx_bytes_ : 0;
  return std::min(rx_bytes_, urgent_.distance());
}

// ---- reading

size_t TcpEndpoint::copy_out(std::span<const iovec> data, const Copying& how) {
  size_t copied = 0;
  pbuf* from = rx_first_;
  uint32_t offset = rx_offset_;
  const auto advance = [&](size_t bytes) {
    offset += static_cast<uint32_t>(bytes);
    if (offset != from->len) return;
    pbuf* next = from->next;
    if (how.consume) {
      from->next = nullptr;
      pbuf_free(from);
    }
    from = next;
    offset = 0;
  };
  for (size_t i = 0; i < how.passed_over; ++i) advance(1);
  size_t skip_bytes = how.skip_room;
  for (const iovec& piece : data) {
    if (skip_bytes >= piece.iov_len) {
      skip_bytes -= piece.iov_len;
      continue;
    }
    // Of the piece. Nothing needs to be there when the bytes are discarded.
    size_t at = skip_bytes;
    size_t left = std::min(piece.iov_len - at, how.limit - copied);
    skip_bytes = 0;
    while (left != 0 && from != nullptr) {
      const size_t part = std::min<size_t>(left, from->len - offset);
      if (!how.discard) {
        std::memcpy(static_cast<uint8_t*>(piece.iov_base) + at,
                    static_cast<uint8_t*>(from->payload) + offset, part);
      }
      at += part;
      left -= part;
      copied += part;
      advance(part);
    }
    if (from == nullptr) break;
  }
  if (how.consume) {
    rx_first_ = from;
    if (from == nullptr) rx_last_ = nullptr;
    rx_offset_ = offset;
    rx_bytes_ -= how.passed_over + copied;
  }
  return copied;
}

// ---- the window

// Half of the buffer is for the kernel's own overhead (tcp_win_from_space() in include/net/tcp.h).
// lwIP announces no step below two segments, so a smaller window would stay closed.
uint32_t window_limit_bytes(const TcpOptions& options) {
  uint32_t limit = TCP_WND;
  if (options.receive_buffer_bytes != 0) limit = std::min(limit, options.receive_buffer_bytes / 2);
  if (options.window_clamp_bytes != 0) limit = std::min(limit, options.window_clamp_bytes);
  return std::max(limit, uint32_t{4 * TCP_MSS});
}

void TcpEndpoint::open_receive_window() {
  const size_t largest = TCP_WND_MAX(pcb_);
  window_bytes_ = std::min<size_t>(largest, window_limit_bytes());
  if (window_bytes_ == largest) return;
  pcb_->rcv_wnd = pcb_->rcv_ann_wnd = static_cast<tcpwnd_size_t>(window_bytes_);
  pcb_->rcv_ann_right_edge = pcb_->rcv_nxt + pcb_->rcv_ann_wnd;
}

// What has been announced is not taken back: a smaller window comes by reading.
void TcpEndpoint::follow_window_limit() {
  if (window_bytes_ == 0 || pcb_ == nullptr || pcb_->state == TIME_WAIT) return;
  const size_t limit = std::min<size_t>(TCP_WND_MAX(pcb_), window_limit_bytes());
  const size_t before = std::exchange(window_bytes_, limit);
  if (limit <= before) {
    window_debt_bytes_ += before - limit;
    return;
  }
  PcbWindow window(pcb_);
  tell_window(limit - before);
}

// lwIP may announce what was read as window.
void TcpEndpoint::tell_window(size_t bytes) {
  const size_t paid = std::min(bytes, window_debt_bytes_);
  window_debt_bytes_ -= paid;
  constexpr size_t kMaxStep = 0xffff;
  for (size_t left = bytes - paid; left != 0;) {
    const size_t step = std::min(left, kMaxStep);
    tcp_recved(pcb_, static_cast<u16_t>(step));
    left -= step;
  }
}

Result<size_t> TcpEndpoint::receive(std::span<const iovec> data, size_t skip_bytes, int flags) {
  if (closed_) return Error{EAGAIN};
  Copying how{.skip_room = skip_bytes,
              .limit = urgent_.distance(),
              .consume = (flags & MSG_PEEK) == 0,
              .discard = (flags & MSG_TRUNC) != 0};
  if (urgent_hole() && rx_bytes_ != 0 && total_bytes(data) > skip_bytes) how.passed_over = 1;
  const bool empty = rx_bytes_ == how.passed_over;
  const size_t copied = rx_bytes_ == 0 ? 0 : copy_out(data, how);
  const size_t read = how.consume ? how.passed_over + copied : 0;
  if (copied != 0) arrived_ns_ = arrivals_.of(how.passed_over + copied);
  arrivals_.read(read);
  urgent_.read(read);
  if (read != 0) {
    if (pcb_ != nullptr && pcb_->state != TIME_WAIT) {
      stack_.enter();
      PcbWindow window(pcb_);
      tell_window(read);
    }
    stack_.settle(*this);
  }
  if (!empty) return copied;
  // After the peer's FIN there is nothing but the end, also behind a reset (SOCK_DONE).
  if (peer_finished_) return size_t{0};
  if (error_ != 0) return Error{skip_bytes != 0 ? error_ : take_error()};
  if (shut_read_ || (pcb_ == nullptr && !connecting_)) return size_t{0};
  return Error{EAGAIN};
}

void TcpEndpoint::drop_unread() {
  while (rx_first_ != nullptr) {
    pbuf* next = rx_first_->next;
    rx_first_->next = nullptr;
    pbuf_free(rx_first_);
    rx_first_ = next;
  }
  rx_last_ = nullptr;
  arrivals_.read(rx_bytes_);
  rx_bytes_ = 0;
  rx_offset_ = 0;
}

}  // namespace underpass
