// urgent.cpp - where the urgent byte is
#include "stack/urgent.h"

#include <algorithm>

#include "stack/lwip_port/lwip.h"

namespace underpass {

// tcp_check_urg() in net/ipv4/tcp_input.c.
bool UrgentMark::pointed(int64_t ahead, size_t unread) {
  if (ahead < 0) return false;
  const int64_t at = ahead + static_cast<int64_t>(unread);
  if (!none() && at <= at_) return false;
  at_ = at;
  state_ = State::kAwaited;
  return true;
}

void UrgentMark::byte_came(uint8_t byte) {
  byte_ = byte;
  state_ = State::kHere;
}

void UrgentMark::read(size_t bytes) {
  if (none()) return;
  at_ -= static_cast<int64_t>(bytes);
  if (at_ < 0) state_ = State::kNone;
}

void mark_unsent_urgent(tcp_pcb& pcb) {
  for (tcp_seg* segment = pcb.unsent; segment != nullptr; segment = segment->next) {
    const u32_t distance = pcb.snd_lbb - lwip_ntohl(segment->tcphdr->seqno);
    TCPH_SET_FLAG(segment->tcphdr, TCP_URG);
    segment->tcphdr->urgp = lwip_htons(static_cast<u16_t>(std::min<u32_t>(distance, 0xffff)));
  }
}

}  // namespace underpass
