// segment_out.cpp - lwIP's hook: the window of a SYN, and what is counted
#include "stack/segment_out.h"

#include <algorithm>
#include <cstring>

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

// lwIP's timestamps are its clock; those of a connection that the kernel has had are later.
void move_stamp(uint8_t* at, const uint8_t* end, uint32_t offset_ms) {
  constexpr uint8_t kEnd = 0;
  constexpr uint8_t kNothing = 1;
  constexpr uint8_t kStamp = 8;
  while (at < end && *at != kEnd) {
    if (*at == kNothing) {
      ++at;
      continue;
    }
    if (*at == kStamp) {
      uint32_t stamp = 0;
      std::memcpy(&stamp, at + 2, sizeof stamp);
      stamp = lwip_htonl(lwip_ntohl(stamp) + offset_ms);
      std::memcpy(at + 2, &stamp, sizeof stamp);
      return;
    }
    at += at[1];
  }
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
    auto* const first = reinterpret_cast<uint8_t*>(header);
    if (endpoint->stamp_offset_ms() != 0) {
      // lwIP has written so many.
      move_stamp(first + TCP_HLEN, reinterpret_cast<uint8_t*>(options),
                 endpoint->stamp_offset_ms());
    }
    endpoint->segment_sent(lwip_ntohl(header->seqno),
                           segment->tot_len - uint32_t{TCPH_HDRLEN_BYTES(header)});
  }
  return options;
}
