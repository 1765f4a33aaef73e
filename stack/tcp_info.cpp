// tcp_info.cpp - struct tcp_info, as far as the stack knows
#include <linux/tcp.h>

#include <algorithm>
#include <cstring>

#include "base/sys.h"
#include "stack/clock.h"
#include "stack/lwip_port/lwip_window.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

namespace {

uint32_t ms_since(uint64_t at_ns, uint64_t now_ns) {
  return static_cast<uint32_t>((now_ns - std::min(at_ns, now_ns)) / kNsPerMs);
}

void write_pcb(tcp_info& info, const tcp_pcb& pcb) {
  const u16_t mss = std::max<u16_t>(pcb.mss, 1);
  info.tcpi_retransmits = pcb.nrtx;
  info.tcpi_snd_cwnd = std::max<uint32_t>(1, pcb.cwnd / mss);
  // TCP_INFINITE_SSTHRESH, until something was lost.
  const bool never = pcb.ssthresh >= TCP_SND_BUF;
  info.tcpi_snd_ssthresh = never ? 0x7fffffff : pcb.ssthresh / mss;
  info.tcpi_snd_wnd = pcb.snd_wnd;
  for (const tcp_seg* at = pcb.unacked; at != nullptr; at = at->next) ++info.tcpi_unacked;
  if (pcb.flags & TF_TIMESTAMP) info.tcpi_options |= TCPI_OPT_TIMESTAMPS;
  if (pcb.flags & TF_SACK) info.tcpi_options |= TCPI_OPT_SACK;
  if (pcb.flags & TF_WND_SCALE) {
    info.tcpi_options |= TCPI_OPT_WSCALE;
    info.tcpi_snd_wscale = static_cast<uint8_t>(pcb.snd_scale & 0xfU);
    info.tcpi_rcv_wscale = static_cast<uint8_t>(pcb.rcv_scale & 0xfU);
  }
}

void write_traffic(tcp_info& info, const Traffic& traffic, uint64_t now_ns) {
  info.tcpi_segs_out = traffic.segments_out;
  info.tcpi_segs_in = traffic.segments_in;
  info.tcpi_data_segs_out = traffic.data_segments_out;
  info.tcpi_data_segs_in = traffic.data_segments_in;
  info.tcpi_total_retrans = traffic.resent_segments;
  info.tcpi_bytes_sent = traffic.bytes_sent;
  info.tcpi_bytes_retrans = traffic.bytes_resent;
  info.tcpi_bytes_acked = traffic.bytes_acknowledged;
  info.tcpi_bytes_received = traffic.bytes_received;
  info.tcpi_rcv_ooopack = traffic.out_of_order;
  info.tcpi_delivery_rate = traffic.bytes_a_second;
  info.tcpi_last_data_sent = ms_since(traffic.sent_data_ns, now_ns);
  info.tcpi_last_data_recv = ms_since(traffic.received_data_ns, now_ns);
  info.tcpi_last_ack_recv = ms_since(traffic.received_ns, now_ns);
}

}  // namespace

// SYN and FIN are segments, too.
uint32_t TcpEndpoint::delivered_segments(uint32_t in_flight) const {
  const uint32_t data = traffic_.data_segments_out - traffic_.resent_segments;
  const bool fin_arrived =
      shut_write_ && (pcb_ == nullptr || pcb_->state == FIN_WAIT_2 || pcb_->state == TIME_WAIT);
  return data - std::min(data, in_flight) + (was_connected_ ? 1 : 0) + (fin_arrived ? 1 : 0);
}

void TcpEndpoint::info(int kernel_socket, void* out, socklen_t* length) const {
  constexpr socklen_t kLongest = 1024;
  alignas(tcp_info) char whole[kLongest] = {};
  socklen_t bytes = sizeof whole;
  if (sys::getsockopt(kernel_socket, IPPROTO_TCP, TCP_INFO, whole, &bytes) != 0) {
    bytes = sizeof(tcp_info);
  }
  tcp_info& info = *reinterpret_cast<tcp_info*>(whole);
  // In TIME-WAIT the kernel's socket is closed, and another object waits (tcp_time_wait()).
  const SocketState reached = state();
  info.tcpi_state =
      static_cast<uint8_t>(reached == SocketState::kTimeWait ? SocketState::kClose : reached);
  info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = mss();
  info.tcpi_pmtu = stack_.port().capabilities().mtu_bytes;
  info.tcpi_rcv_space = info.tcpi_rcv_ssthresh = window_limit_bytes();
  info.tcpi_options = 0;
  info.tcpi_reordering = 3;  // net.ipv4.tcp_reordering
  info.tcpi_rto = static_cast<uint32_t>(rto_ns_ / kNsPerUs);
  info.tcpi_rtt = round_trip_.smoothed_us();
  info.tcpi_rttvar = round_trip_.variation_us();
  info.tcpi_min_rtt = round_trip_.smallest_us();
  info.tcpi_notsent_bytes = not_sent_bytes();
  if (pcb_ != nullptr) write_pcb(info, *pcb_);
  write_traffic(info, traffic_, stack_.now_ns());
  info.tcpi_delivered = delivered_segments(info.tcpi_unacked);
  *length = std::min(*length, bytes);
  std::memcpy(out, whole, *length);
}

}  // namespace underpass
