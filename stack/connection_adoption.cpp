// connection_adoption.cpp - a connection of the kernel becomes one of lwIP, in the middle of it
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "stack/lwip_port/lwip_window.h"
#include "stack/packet.h"
#include "stack/tcp_endpoint.h"
#include "xdp/connection_state.h"

namespace underpass {

namespace {

constexpr size_t kPieceBytes = size_t{TCP_MSS} * 22;
constexpr uint64_t kLeastMss = 48;  // net.ipv4.tcp_min_snd_mss
// The kernel tells its clock to the even number below (TCP_TIMESTAMP in net/ipv4/tcp.c).
constexpr uint32_t kStampStepMs = 2;

void set_numbers(tcp_pcb& pcb, const ConnectionState& from) {
  const bool has_peers_fin = from.state == MovedState::kCloseWait;
  pcb.state = has_peers_fin ? CLOSE_WAIT : ESTABLISHED;
  pcb.rcv_nxt = from.receive_next + (has_peers_fin ? 1 : 0);
  pcb.rcv_wnd = pcb.rcv_ann_wnd = from.receive_window;
  pcb.rcv_ann_right_edge = pcb.rcv_nxt + from.receive_window;
  pcb.lastack = pcb.snd_nxt = pcb.snd_lbb = pcb.snd_wl2 = from.send_unacked;
  pcb.snd_wl1 = from.send_window_update;
  pcb.snd_wnd = from.send_window;
  pcb.snd_wnd_max = std::max(from.largest_send_window, from.send_window);
  if (from.window_scaling != 0) {
    tcp_set_flags(&pcb, TF_WND_SCALE);
    pcb.snd_scale = from.send_scale;
    pcb.rcv_scale = from.receive_scale;
  }
  if (from.selective_acks != 0) tcp_set_flags(&pcb, TF_SACK);
  if (from.timestamps != 0) {
    tcp_set_flags(&pcb, TF_TIMESTAMP);
    pcb.ts_lastacksent = pcb.rcv_nxt;
    pcb.ts_recent = from.peer_timestamp;
  }
}

}  // namespace

bool TcpEndpoint::can_adopt(const ConnectionState& state) {
  const uint64_t outgoing = uint64_t{state.in_flight_bytes} + state.unsent_bytes;
  return outgoing <= TCP_SND_BUF &&
         (state.state == MovedState::kEstablished || state.state == MovedState::kCloseWait);
}

bool TcpEndpoint::has_room_for(int outgoing_bytes) { return outgoing_bytes <= TCP_SND_BUF; }

Result<TcpEndpoint*> TcpEndpoint::adopt(Stack& stack, const ConnectionSnapshot& from,
                                        const TcpOptions& options, int fd) {
  const ConnectionState& state = from.state;
  const FourTuple flow{state.local, state.remote};
  if (!can_adopt(state) || from.bytes.size() != state.queued_bytes()) return Error{EINVAL};
  if (stack.tcp().find(flow) != nullptr) return Error{EADDRINUSE};
  stack.enter();
  PcbWindow window(nullptr);
  tcp_pcb* const pcb = tcp_new();
  if (pcb == nullptr) return Error{ENOBUFS};
  auto* const endpoint = new TcpEndpoint(stack, flow);
  endpoint->pcb_ = pcb;
  endpoint->options_ = options;
  pcb->local_ip = to_lwip(flow.local.ip);
  pcb->local_port = flow.local.port;
  pcb->remote_ip = to_lwip(flow.remote.ip);
  pcb->remote_port = flow.remote.port;
  pcb->netif_idx = netif_get_index(stack.lwip_netif());
  const bool whole = endpoint->take_over(from);
  if (!whole) {
    endpoint->vanish();
    return Error{ENOBUFS};
  }
  stack.tcp().add(*endpoint);
  endpoint->in_demux_ = true;
  endpoint->exact_flow_ = true;  // the broker has put it into the flow map
  stack.records().take(endpoint->record_, IPPROTO_TCP, flow.local, flow.remote, fd);
  stack.not_moved_any_more(flow);
  stack.counters().tcp_moved_in.fetch_add(1, std::memory_order_relaxed);
  endpoint->follow_window_limit();
  {
    PcbWindow shown(pcb);
    endpoint->ask_after_move();
    tcp_output(pcb);
  }
  stack.settle(*endpoint);
  return endpoint;
}

// Everything but what makes it known to others. False: no memory.
bool TcpEndpoint::take_over(const ConnectionSnapshot& from) {
  const ConnectionState& state = from.state;
  install_callbacks();
  set_numbers(*pcb_, state);
  const uint64_t mtu = stack_.port().capabilities().mtu_bytes;
  const uint64_t fits = mtu - ip_header_bytes(flow_.remote.ip) - TCP_HLEN;
  pcb_->mss = static_cast<u16_t>(std::clamp<uint64_t>(state.mss, kLeastMss, fits));
  pcb_->cwnd = static_cast<tcpwnd_size_t>(
      std::clamp<uint64_t>(uint64_t{state.congestion_window_segments} * pcb_->mss,
                           uint64_t{10} * pcb_->mss, TCP_SND_BUF));
  const auto now_ms = static_cast<uint32_t>(stack_.now_ns() / kNsPerMs);
  stamp_offset_ms_ = state.timestamps != 0 ? state.timestamp + kStampStepMs - now_ms : 0;
  apply_options();
  opened_ns_ = stack_.now_ns();
  was_connected_ = window_opened_ = true;
  opened_mss_ = pcb_->mss;
  peer_finished_ = state.state == MovedState::kCloseWait;
  if (state.round_trip_us != 0) {
    round_trip_.sample(uint64_t{state.round_trip_us} * 1000, stack_.now_ns());
  }
  const uint8_t* const bytes = from.bytes.data();
  if (!put_unread(bytes, state.unread_bytes)) return false;
  if (options_.note_arrivals) arrivals_.start(rx_bytes_);
  window_bytes_ = size_t{state.receive_window} + state.unread_bytes;
  if (!put_outgoing(bytes + state.unread_bytes, state.in_flight_bytes)) return false;
  // Sent, as far as lwIP knows: it waits for the acknowledgement.
  pcb_->unacked = std::exchange(pcb_->unsent, nullptr);
  pcb_->unsent_oversize = 0;
  pcb_->snd_nxt = pcb_->snd_lbb;
  if (pcb_->unacked != nullptr) pcb_->rtime = 0;
  return put_outgoing(bytes + state.unread_bytes + state.in_flight_bytes, state.unsent_bytes);
}

// The wait before data is sent again begins anew with each move: who moves more often would wait
// for ever. So the first of what is in flight goes once more, and the answer says what has arrived.
void TcpEndpoint::ask_after_move() {
  if (!recovery_.probe_head(*pcb_)) return;
  stack_.counters().tcp_retransmits.fetch_add(1, std::memory_order_relaxed);
  round_trip_.sent_again();
}

bool TcpEndpoint::put_unread(const uint8_t* bytes, size_t count) {
  while (count != 0) {
    const size_t piece = std::min(count, kPieceBytes);
    pbuf* const data = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(piece), PBUF_RAM);
    if (data == nullptr) return false;
    std::memcpy(data->payload, bytes, piece);
    (rx_last_ != nullptr ? rx_last_->next : rx_first_) = data;
    rx_last_ = data;
    rx_bytes_ += piece;
    bytes += piece;
    count -= piece;
  }
  return true;
}

bool TcpEndpoint::put_outgoing(const uint8_t* bytes, size_t count) {
  PcbWindow window(pcb_);
  while (count != 0) {
    const size_t piece = std::min(count, kPieceBytes);
    constexpr u8_t kFlags = TCP_WRITE_FLAG_COPY | TCP_WRITE_FLAG_MORE;
    if (tcp_write(pcb_, bytes, static_cast<u16_t>(piece), kFlags) != ERR_OK) return false;
    bytes += piece;
    count -= piece;
  }
  return true;
}

}  // namespace underpass
