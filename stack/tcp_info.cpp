// tcp_info.cpp - struct tcp_info, as far as the stack knows
#include <linux/tcp.h>

#include <algorithm>
#include <cstring>

#include "stack/lwip_port/lwip_window.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

void TcpEndpoint::info(void* out, socklen_t* length) const {
  tcp_info info{};
  // In TIME-WAIT the kernel's socket is closed, and another object waits (tcp_time_wait()).
  const SocketState reached = state();
  info.tcpi_state =
      static_cast<uint8_t>(reached == SocketState::kTimeWait ? SocketState::kClose : reached);
  info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = mss();
  info.tcpi_pmtu = stack_.port().capabilities().mtu_bytes;
  info.tcpi_rcv_space = TCP_WND;
  if (pcb_ != nullptr) {
    info.tcpi_retransmits = pcb_->nrtx;
    info.tcpi_rto = static_cast<uint32_t>(rto_ns_ / kNsPerUs);
    info.tcpi_rtt = round_trip_.smoothed_us();
    info.tcpi_rttvar = round_trip_.variation_us();
    info.tcpi_min_rtt = round_trip_.smallest_us();
    info.tcpi_snd_cwnd = std::max<uint32_t>(1, pcb_->cwnd / std::max<u16_t>(pcb_->mss, 1));
    info.tcpi_snd_ssthresh = pcb_->ssthresh / std::max<u16_t>(pcb_->mss, 1);
    info.tcpi_unacked = pcb_->snd_queuelen;
    info.tcpi_notsent_bytes = static_cast<uint32_t>(unsent_bytes());
    if (pcb_->flags & TF_TIMESTAMP) info.tcpi_options |= TCPI_OPT_TIMESTAMPS;
    if (pcb_->flags & TF_SACK) info.tcpi_options |= TCPI_OPT_SACK;
    if (pcb_->flags & TF_WND_SCALE) {
      info.tcpi_options |= TCPI_OPT_WSCALE;
      info.tcpi_snd_wscale = static_cast<uint8_t>(pcb_->snd_scale & 0xfU);
      info.tcpi_rcv_wscale = static_cast<uint8_t>(pcb_->rcv_scale & 0xfU);
    }
  }
  *length = std::min<socklen_t>(*length, sizeof info);
  std::memcpy(out, &info, *length);
}

}  // namespace underpass
