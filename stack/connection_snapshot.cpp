// connection_snapshot.cpp - what lwIP and the endpoint know, in the terms of TCP_REPAIR
#include "xdp/connection_state.h"

#include <algorithm>
#include <optional>

#include "stack/lwip_port/lwip_window.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

namespace {

uint32_t start_of(const tcp_seg& segment) { return lwip_ntohl(segment.tcphdr->seqno); }

// Half-closed or not, and by whom. Nothing: it is not established, or over.
std::optional<MovedState> moved_state(const tcp_pcb& pcb) {
  // lwIP had no memory for the FIN, and tries again.
  const bool closing = (pcb.flags & TF_CLOSEPEND) != 0;
  switch (pcb.state) {
    case ESTABLISHED:
      return closing ? MovedState::kFinWait1 : MovedState::kEstablished;
    case CLOSE_WAIT:
      return closing ? MovedState::kLastAck : MovedState::kCloseWait;
    case FIN_WAIT_1:
      return MovedState::kFinWait1;
    case FIN_WAIT_2:
      return MovedState::kFinWait2;
    case CLOSING:
      return MovedState::kClosing;
    case LAST_ACK:
      return MovedState::kLastAck;
    case TIME_WAIT:
      return MovedState::kTimeWait;
    case CLOSED:
    case LISTEN:
    case SYN_SENT:
    case SYN_RCVD:
      break;
  }
  return std::nullopt;
}

bool has_peers_fin(MovedState state) {
  return state == MovedState::kCloseWait || state == MovedState::kLastAck ||
         state == MovedState::kClosing || state == MovedState::kTimeWait;
}

bool own_fin_is_acknowledged(MovedState state) {
  return state == MovedState::kFinWait2 || state == MovedState::kTimeWait;
}

// All that is not acknowledged, by sequence number: loss recovery puts segments back among the
// unsent ones, and the tail may be held.
std::vector<const tcp_seg*> queued_segments(const tcp_pcb& pcb, const tcp_seg* held) {
  std::vector<const tcp_seg*> all;
  for (const tcp_seg* list : {pcb.unacked, pcb.unsent, const_cast<tcp_seg*>(held)}) {
    for (; list != nullptr; list = list->next) all.push_back(list);
  }
  std::sort(all.begin(), all.end(), [&](const tcp_seg* a, const tcp_seg* b) {
    return start_of(*a) - pcb.lastack + UINT32_MAX / 2 <
           start_of(*b) - pcb.lastack + UINT32_MAX / 2;
  });
  return all;
}

// Appends what of the segment is not acknowledged.
void append_payload(const tcp_seg& segment, uint32_t acknowledged, std::vector<uint8_t>& bytes) {
  const auto behind = static_cast<int32_t>(acknowledged - start_of(segment));
  const auto skipped = static_cast<uint32_t>(std::max(behind, 0));
  if (skipped >= segment.len) return;
  const auto* const payload = static_cast<const uint8_t*>(segment.p->payload);
  const auto* const header = reinterpret_cast<const uint8_t*>(segment.tcphdr);
  const auto at = static_cast<uint32_t>(header - payload) + TCPH_HDRLEN_BYTES(segment.tcphdr);
  const auto count = static_cast<u16_t>(segment.len - skipped);
  const size_t before = bytes.size();
  bytes.resize(before + count);
  pbuf_copy_partial(segment.p, bytes.data() + before, count, static_cast<u16_t>(at + skipped));
}

}  // namespace

std::optional<ConnectionSnapshot> TcpEndpoint::snapshot() const {
  if (pcb_ == nullptr || connecting_ || listener_ != nullptr) return std::nullopt;
  const tcp_pcb& pcb = *pcb_;
  const auto state = moved_state(pcb);
  if (!state) return std::nullopt;
  ConnectionSnapshot out{};
  ConnectionState& to = out.state;
  to.local = flow_.local;
  to.remote = flow_.remote;
  to.state = *state;
  to.receive_next = pcb.rcv_nxt - (has_peers_fin(*state) ? 1 : 0);
  to.send_unacked = pcb.lastack - (own_fin_is_acknowledged(*state) ? 1 : 0);
  append_unread(out.bytes);
  to.unread_bytes = static_cast<uint32_t>(out.bytes.size());
  for (const tcp_seg* segment : queued_segments(pcb, held_)) {
    append_payload(*segment, pcb.lastack, out.bytes);
  }
  const auto queued = static_cast<uint32_t>(out.bytes.size()) - to.unread_bytes;
  to.in_flight_bytes = std::min(queued, pcb.snd_nxt - pcb.lastack);
  to.unsent_bytes = queued - to.in_flight_bytes;
  to.send_window = pcb.snd_wnd;
  to.largest_send_window = pcb.snd_wnd_max;
  to.send_window_update = pcb.snd_wl1;
  const auto window = static_cast<int32_t>(pcb.rcv_ann_right_edge - pcb.rcv_nxt);
  to.receive_window = static_cast<uint32_t>(std::max(window, 0));
  to.mss = window_opened_ ? opened_mss_ : pcb.mss;
  to.window_scaling = (pcb.flags & TF_WND_SCALE) != 0 ? 1 : 0;
  to.send_scale = pcb.snd_scale;
  to.receive_scale = pcb.rcv_scale;
  to.selective_acks = (pcb.flags & TF_SACK) != 0 ? 1 : 0;
  to.timestamps = (pcb.flags & TF_TIMESTAMP) != 0 ? 1 : 0;
  to.timestamp = static_cast<uint32_t>(stack_.now_ns() / kNsPerMs) + stamp_offset_ms_;
  to.peer_timestamp = pcb.ts_recent;
  to.round_trip_us = round_trip_.smoothed_us();
  to.congestion_window_segments = pcb.cwnd / std::max<uint32_t>(pcb.mss, 1);
  return out;
}

void TcpEndpoint::append_unread(std::vector<uint8_t>& bytes) const {
  uint32_t offset = rx_offset_;
  for (const pbuf* at = rx_first_; at != nullptr; at = at->next) {
    const auto* const payload = static_cast<const uint8_t*>(at->payload);
    bytes.insert(bytes.end(), payload + offset, payload + at->len);
    offset = 0;
  }
}

}  // namespace underpass
