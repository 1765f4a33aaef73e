// segment_out.cpp - lwIP's hook: the window of a SYN, and what is counted
#include "stack/segment_out.h"

#include <algorithm>

#include "stack/lwip_port/lwip.h"
#include "stack/tcp_endpoint.h"

namespace underpass {

namespace {

uint32_t answer_window_bytes = UINT32_MAX;

// A SYN's window is not scaled, and lwIP knows one size only.
void limit_window(tcp_hdr& header, uint32_t limit_bytes) {
  const uint32_t window = lwip_ntohs(header.wnd);
  if (limit_bytes < window) header.wnd = lwip_htons(static_cast<u16_t>(limit_bytes));
}

}  // namespace

AnswerWindow::AnswerWindow(uint32_t limit_bytes) { answer_window_bytes = limit_bytes; }
AnswerWindow::~AnswerWindow() { answer_window_bytes = UINT32_MAX; }

}  // namespace underpass

using namespace underpass;

extern "C" u32_t* underpass_segment_out(pbuf* segment, tcp_hdr* header, const tcp_pcb* pcb,
                                        u32_t* options) UP_NO_THREAD_SAFETY {
  auto* const endpoint = pcb == nullptr ? nullptr : static_cast<TcpEndpoint*>(pcb->callback_arg);
  if ((TCPH_FLAGS(header) & TCP_SYN) != 0) {
    limit_window(*header,
                 endpoint == nullptr ? answer_window_bytes : endpoint->window_limit_bytes());
  }
  if (endpoint != nullptr) {
    endpoint->segment_sent(lwip_ntohl(header->seqno),
                           segment->tot_len - uint32_t{TCPH_HDRLEN_BYTES(header)});
  }
  return options;
}
