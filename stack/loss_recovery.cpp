// loss_recovery.cpp - the scoreboard, and what is sent again
#include "stack/loss_recovery.h"

#include <algorithm>

#include "stack/lwip_port/lwip.h"

namespace underpass {

namespace {

constexpr uint32_t kDuplicateThreshold = 3;
// A hostile or broken peer could name ever more blocks.
constexpr size_t kMaxBlocks = 128;

bool before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
uint32_t start_of(const tcp_seg& segment) { return lwip_ntohl(segment.tcphdr->seqno); }
uint32_t end_of(const tcp_seg& segment) { return start_of(segment) + TCP_TCPLEN(&segment); }

// From lwIP's list of what is in flight to that of what is to be sent, as tcp_rexmit() does with
// the first.
void move_to_unsent(tcp_pcb& pcb, tcp_seg** link) {
  tcp_seg* segment = *link;
  *link = segment->next;
  tcp_seg** at = &pcb.unsent;
  while (*at != nullptr && before(start_of(**at), start_of(*segment))) at = &(*at)->next;
  segment->next = *at;
  *at = segment;
  if (segment->next == nullptr) pcb.unsent_oversize = 0;
  pcb.rttest = 0;  // Karn: no round trip is timed on what is sent twice
}

}  // namespace

void LossRecovery::before_input(tcp_pcb& pcb) {
  last_ack_ = pcb.lastack;
  if ((pcb.flags & TF_SACK) == 0) return;
  // Its own fast retransmission never starts.
  pcb.dupacks = 0;
  if (!recovering_) return;
  // tcp_input() ends with tcp_output(): until the flight is known, nothing new.
  cwnd_before_ = pcb.cwnd;
  pcb.cwnd = pcb.mss;
}

void LossRecovery::timed_out() {
  sacked_.clear();
  resent_.clear();
  recovering_ = false;
  duplicates_ = 0;
  probed_ = true;
}

void LossRecovery::add(uint32_t left, uint32_t right) {
  auto at = sacked_.begin();
  while (at != sacked_.end() && before(at->right, left)) ++at;
  auto last = at;
  while (last != sacked_.end() && !before(right, last->left)) {
    if (before(last->left, left)) left = last->left;
    if (before(right, last->right)) right = last->right;
    ++last;
  }
  if (at == last) {
    if (sacked_.size() < kMaxBlocks) sacked_.insert(at, {left, right});
    return;
  }
  *at = {left, right};
  sacked_.erase(at + 1, last);
}

void LossRecovery::forget_below(uint32_t sequence) {
  auto at = sacked_.begin();
  while (at != sacked_.end() && !before(sequence, at->right)) ++at;
  sacked_.erase(sacked_.begin(), at);
  auto old = resent_.begin();
  while (old != resent_.end() && before(old->sequence, sequence)) ++old;
  resent_.erase(resent_.begin(), old);
}

void LossRecovery::note_sacks(const tcp_pcb& pcb, const SegmentOptions& options) {
  for (size_t i = 0; i < options.sack_count; ++i) {
    const SackBlock& block = options.sacks[i];
    // Duplicates (RFC 2883) lie below the acknowledgement; nobody can have what was not sent.
    if (!before(block.left, block.right) || !before(pcb.lastack, block.left) ||
        before(pcb.snd_nxt, block.right)) {
      continue;
    }
    add(block.left, block.right);
  }
  if (!sacked_.empty()) highest_sacked_ = sacked_.back().right;
}

bool LossRecovery::sacked(const tcp_seg& segment) const {
  const uint32_t left = start_of(segment);
  const uint32_t right = end_of(segment);
  for (const SackBlock& block : sacked_) {
    if (before(right, block.right) || right == block.right) return !before(left, block.left);
  }
  return false;
}

LossRecovery::Resent* LossRecovery::resent(uint32_t sequence) {
  const auto at = std::lower_bound(
      resent_.begin(), resent_.end(), sequence,
      [](const Resent& entry, uint32_t wanted) { return before(entry.sequence, wanted); });
  return at != resent_.end() && at->sequence == sequence ? &*at : nullptr;
}

bool LossRecovery::lost(const tcp_seg& segment) const {
  const uint32_t end = end_of(segment);
  return !sacked_.empty() && before(end, highest_sacked_) && highest_sacked_ - end > distance_;
}

// Lost, and not sent again; or sent again, and something that was sent later has arrived.
bool LossRecovery::wants_resend(const tcp_pcb& pcb, const tcp_seg& segment) {
  if (!lost(segment) || sacked(segment)) return false;
  const Resent* copy = resent(start_of(segment));
  if (copy == nullptr) return true;
  return before(copy->sent_before, highest_sacked_) &&
         highest_sacked_ - copy->sent_before > (kDuplicateThreshold - 1) * pcb.mss;
}

void LossRecovery::note_resent(uint32_t sequence, uint32_t sent_before) {
  Resent* copy = resent(sequence);
  if (copy != nullptr) {
    copy->sent_before = sent_before;
    return;
  }
  const auto after = std::find_if(resent_.begin(), resent_.end(), [&](const Resent& entry) {
    return before(sequence, entry.sequence);
  });
  resent_.insert(after, {sequence, sent_before});
}

void LossRecovery::enter(tcp_pcb& pcb) {
  recovering_ = true;
  recover_ = pcb.snd_nxt;
  // CUBIC's factor (RFC 9438 4.6), which is what peers on Linux use.
  const uint32_t flight = std::min<uint32_t>(pcb.snd_nxt - pcb.lastack, pcb.cwnd);
  pcb.ssthresh = std::max<uint32_t>(flight / 10 * 7, 2U * pcb.mss);
  pcb.bytes_acked = 0;
}

void LossRecovery::leave(tcp_pcb& pcb) {
  recovering_ = false;
  resent_.clear();
  pcb.cwnd = pcb.ssthresh;
}

// The window that lwIP counts from the last acknowledgement is made as large as what has arrived
// above it and what is lost: then what is in flight never exceeds ssthresh (RFC 6675's pipe).
uint32_t LossRecovery::resend_lost(tcp_pcb& pcb) {
  uint32_t sent_again = 0;
  uint32_t not_in_flight = 0;
  const uint32_t flight = pcb.snd_nxt - pcb.lastack;
  for (const SackBlock& block : sacked_) not_in_flight += block.right - block.left;
  for (tcp_seg* at = pcb.unacked; at != nullptr && lost(*at); at = at->next) {
    if (wants_resend(pcb, *at)) not_in_flight += at->len;
  }
  tcp_seg** link = &pcb.unacked;
  while (*link != nullptr && lost(**link)) {
    tcp_seg& segment = **link;
    // The first goes at once: it is what the acknowledgements wait for.
    const bool first = link == &pcb.unacked;
    const bool fits = first || flight - std::min(flight, not_in_flight) < pcb.ssthresh;
    if (!fits || !wants_resend(pcb, segment)) {
      link = &segment.next;
      continue;
    }
    if (first) pcb.rtime = 0;
    note_resent(start_of(segment), pcb.snd_nxt);
    not_in_flight -= std::min<uint32_t>(not_in_flight, segment.len);
    move_to_unsent(pcb, link);
    ++sent_again;
  }
  pcb.cwnd = pcb.ssthresh + not_in_flight;
  tcp_output(&pcb);
  return sent_again;
}

uint32_t LossRecovery::after_input(tcp_pcb& pcb, const SegmentOptions& options,
                                   uint32_t payload_bytes) {
  if ((pcb.flags & TF_SACK) == 0 || pcb.state < ESTABLISHED) return 0;
  const uint32_t acked = pcb.lastack - last_ack_;
  if (acked != 0) {
    progress(pcb, acked);
  } else if (payload_bytes == 0 && options.sack_count != 0) {
    ++duplicates_;
  }
  if (options.sack_count != 0) note_sacks(pcb, options);
  if (recovering_) {
    pcb.cwnd = cwnd_before_;
    if (pcb.unacked == nullptr || !before(pcb.lastack, recover_)) {
      leave(pcb);
      tcp_output(&pcb);
    }
  }
  if ((pcb.flags & TF_RTO) != 0 || pcb.unacked == nullptr || sacked_.empty()) return 0;
  // With nothing more to send there will be no third sign, so the first must do (RFC 5827).
  const bool last_chance = pcb.unsent == nullptr &&
                           (probed_ || pcb.snd_nxt - pcb.lastack <= kDuplicateThreshold * pcb.mss);
  distance_ = last_chance ? 0 : (kDuplicateThreshold - 1) * pcb.mss;
  if (!recovering_) {
    if (duplicates_ < kDuplicateThreshold && !lost(*pcb.unacked)) return 0;
    enter(pcb);
    // Three signs are enough for the first, however small the segments above it are.
    if (!lost(*pcb.unacked)) distance_ = 0;
  }
  return resend_lost(pcb);
}

void LossRecovery::progress(tcp_pcb& pcb, uint32_t acked) {
  forget_below(pcb.lastack);
  duplicates_ = 0;
  probed_ = false;
  // Linux counts every segment that a stretched acknowledgement stands for; lwIP counts two.
  if (!recovering_ && pcb.cwnd < pcb.ssthresh && acked > 2U * pcb.mss && !(pcb.flags & TF_RTO)) {
    pcb.cwnd = std::min(pcb.ssthresh, pcb.cwnd + acked - 2U * pcb.mss);
    tcp_output(&pcb);
  }
}

bool LossRecovery::may_probe(const tcp_pcb& pcb) const {
  return !probed_ && !recovering_ && (pcb.flags & (TF_SACK | TF_RTO)) == TF_SACK &&
         pcb.unacked != nullptr && pcb.nrtx == 0 && pcb.state >= ESTABLISHED;
}

uint32_t LossRecovery::probe_tail(tcp_pcb& pcb) {
  probed_ = true;
  tcp_seg** link = &pcb.unacked;
  while ((*link)->next != nullptr) link = &(*link)->next;
  move_to_unsent(pcb, link);
  tcp_output(&pcb);
  return 1;
}

bool LossRecovery::probe_head(tcp_pcb& pcb) {
  if (pcb.unacked == nullptr || pcb.snd_wnd < pcb.unacked->len) return false;
  move_to_unsent(pcb, &pcb.unacked);
  return true;
}

}  // namespace underpass
