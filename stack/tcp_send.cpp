// tcp_send.cpp - what a connection sends: into lwIP's queue, and when the tail of it waits
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "stack/lwip_port/lwip_window.h"
#include "stack/segment_size.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

namespace {

// tcp_write() takes a u16_t; whole segments, so that no short one is made in the middle.
constexpr size_t kWriteChunkBytes = size_t{TCP_MSS} * 44;
// tcp(7), TCP_CORK: what is corked goes out after 200 ms all the same.
constexpr uint64_t kCorkNs = 200 * kNsPerMs;

size_t total_bytes(std::span<const iovec> data) {
  size_t total = 0;
  for (const iovec& piece : data) total += piece.iov_len;
  return total;
}

}  // namespace

size_t TcpEndpoint::write(std::span<const iovec> data, size_t skip_bytes, bool more, bool* full) {
  size_t taken = 0;
  for (const iovec& piece : data) {
    if (skip_bytes >= piece.iov_len) {
      skip_bytes -= piece.iov_len;
      continue;
    }
    const auto* at = static_cast<const uint8_t*>(piece.iov_base) + skip_bytes;
    size_t left = piece.iov_len - skip_bytes;
    skip_bytes = 0;
    const bool last = &piece == &data.back();
    while (left != 0) {
      // tcp_stream_memory_free(): what was taken before must be on its way first.
      if (too_much_not_sent()) tcp_output(pcb_);
      const size_t room = too_much_not_sent() ? 0 : buffer_room();
      const size_t chunk = std::min({left, room, kWriteChunkBytes});
      // The flag also asks for room behind the bytes, which saves a pbuf for each write to come.
      const bool follows = more || !last || chunk < left || pcb_->unsent != nullptr;
      const auto flags =
          static_cast<u8_t>(TCP_WRITE_FLAG_COPY | (follows ? TCP_WRITE_FLAG_MORE : 0));
      if (chunk == 0 || tcp_write(pcb_, at, static_cast<u16_t>(chunk), flags) != ERR_OK) {
        *full = true;
        return taken;
      }
      at += chunk;
      left -= chunk;
      taken += chunk;
    }
  }
  return taken;
}

Result<size_t> TcpEndpoint::send(std::span<const iovec> data, size_t skip_bytes, int flags) {
  if (closed_) return Error{EAGAIN};
  if (error_ != 0) return Error{skip_bytes != 0 ? error_ : take_error()};
  if (shut_write_ || (pcb_ == nullptr && !connecting_)) return Error{EPIPE};
  if (connecting_) return Error{EAGAIN};
  stack_.enter();
  PcbWindow window(pcb_);
  const bool more = (flags & MSG_MORE) != 0 || options_.cork;
  bool full = false;
  quick_acks_ = 0;
  put_back_held();
  const size_t taken = write(data, skip_bytes, more, &full);
  if ((flags & MSG_OOB) != 0 && taken != 0) {
    mark_unsent_urgent(*pcb_);
  } else if (!full && (more || !options_.no_delay)) {
    hold_tail(more);
  }
  tcp_output(pcb_);
  if (full) want_space_ = true;
  stack_.settle(*this);
  if (taken == 0 && total_bytes(data) != 0) return Error{EAGAIN};
  return taken;
}

bool TcpEndpoint::short_segment_unacknowledged() const {
  return short_sent_ && static_cast<int32_t>(pcb_->lastack - short_end_) < 0;
}

void TcpEndpoint::hold_tail(bool corked) {
  // A long queue waits for the peer's window, and its tail with it.
  constexpr int kFarthest = 64;
  tcp_seg** link = &pcb_->unsent;
  if (*link == nullptr) return;
  for (int i = 0; (*link)->next != nullptr; ++i) {
    if (i == kFarthest) return;
    link = &(*link)->next;
  }
  tcp_seg& tail = **link;
  const uint32_t options = (pcb_->flags & TF_TIMESTAMP) != 0 ? LWIP_TCP_OPT_LEN_TS_OUT : 0;
  if (tail.len + options >= pcb_->mss || (TCPH_FLAGS(tail.tcphdr) & TCP_FIN) != 0) return;
  if (!corked && !short_segment_unacknowledged()) {
    short_sent_ = true;
    short_end_ = pcb_->snd_lbb;
    return;
  }
  *link = nullptr;
  held_ = &tail;
  held_oversize_ = std::exchange(pcb_->unsent_oversize, u16_t{0});
  pcb_->snd_queuelen = static_cast<u16_t>(pcb_->snd_queuelen - pbuf_clen(tail.p));
  if (corked && held_until_ns_ == UINT64_MAX) held_until_ns_ = stack_.now_ns() + kCorkNs;
}

void TcpEndpoint::put_back_held() {
  if (held_ == nullptr) return;
  tcp_seg** link = &pcb_->unsent;
  while (*link != nullptr) link = &(*link)->next;
  *link = std::exchange(held_, nullptr);
  pcb_->unsent_oversize = held_oversize_;
  pcb_->snd_queuelen = static_cast<u16_t>(pcb_->snd_queuelen + pbuf_clen((*link)->p));
}

void TcpEndpoint::send_held() {
  held_until_ns_ = UINT64_MAX;
  if (held_ == nullptr) return;
  TCPH_SET_FLAG(held_->tcphdr, TCP_PSH);
  put_back_held();
  short_sent_ = true;
  short_end_ = pcb_->snd_lbb;
  tcp_output(pcb_);
}

// What is too long for one segment is not short: it waits for no company.
void TcpEndpoint::fit_segments(uint16_t mss) {
  PcbWindow window(pcb_);
  const int options = held_ == nullptr ? 0 : LWIP_TCP_OPT_LENGTH(held_->flags);
  if (held_ != nullptr && held_->len + options > mss) {
    held_until_ns_ = UINT64_MAX;
    put_back_held();
  }
  underpass::fit_segments(*pcb_, mss);
  if (pcb_->state >= ESTABLISHED && pcb_->state != TIME_WAIT) tcp_output(pcb_);
}

void TcpEndpoint::send_held_if_allowed() {
  if (held_ == nullptr || held_until_ns_ != UINT64_MAX || short_segment_unacknowledged()) return;
  send_held();
}

void TcpEndpoint::drop_held() {
  if (held_ != nullptr) tcp_seg_free(std::exchange(held_, nullptr));
}

size_t TcpEndpoint::send_limit() const {
  if (options_.send_buffer_bytes == 0) return TCP_SND_BUF;
  return std::min<size_t>(TCP_SND_BUF, options_.send_buffer_bytes);
}

size_t TcpEndpoint::buffer_room() const {
  const size_t beyond = TCP_SND_BUF - send_limit();
  return pcb_->snd_buf - std::min<size_t>(pcb_->snd_buf, beyond);
}

bool TcpEndpoint::too_much_not_sent() const {
  return options_.not_sent_low_water != UINT32_MAX &&
         not_sent_bytes() >= options_.not_sent_low_water;
}

// Zero until a third is free, so that a writer does not wake for every segment
// (sk_stream_is_writable).
size_t TcpEndpoint::send_space() const {
  if (pcb_ == nullptr) return 0;
  const size_t space = buffer_room();
  const bool queue_room = tcp_sndqueuelen(pcb_) < TCP_SND_QUEUELEN / 3 * 2;
  // Linux wakes at half of the low water mark (sk_stream_write_space()).
  const bool little_not_sent = uint64_t{not_sent_bytes()} * 2 < options_.not_sent_low_water;
  return space >= send_limit() / 3 && queue_room && little_not_sent ? space : 0;
}

size_t TcpEndpoint::room_to_send() const {
  const bool queue_room = pcb_ != nullptr && tcp_sndqueuelen(pcb_) < TCP_SND_QUEUELEN / 2;
  const bool may_send = queue_room && !connecting_ && !too_much_not_sent();
  const size_t room = may_send ? buffer_room() : 0;
  want_space_ = want_space_ || room == 0;
  return room;
}

void TcpEndpoint::set_quick_ack(bool on) {
  constexpr uint8_t kMost = 16;  // TCP_MAX_QUICKACKS
  quick_acks_ = on ? kMost : 0;
  if (!on || pcb_ == nullptr || (pcb_->flags & TF_ACK_DELAY) == 0) return;
  stack_.enter();
  PcbWindow window(pcb_);
  tcp_ack_now(pcb_);
  tcp_output(pcb_);
  stack_.settle(*this);
}

void TcpEndpoint::acknowledged() {
  if (!want_space_ || send_space() == 0) return;
  want_space_ = false;
  event(kWritable);
}

}  // namespace underpass
