// loss_recovery.h - what lwIP lacks as a sender: selective acknowledgements and a tail loss probe
//
// lwIP sends again one segment for three duplicate acknowledgements, and forgets that it was
// recovering at the first partial one: the second loss of a window waits for the retransmission
// timer, hundreds of round trips on a local network. Here the blocks that the peer says it has
// (RFC 2018) choose what is sent again (RFC 6675), and a probe after a few ticks turns the loss of
// a tail into one of these cases (RFC 8985 7). Used where the peer does SACK, as all do; lwIP's own
// way stays for those that do not.
#pragma once

#include <cstdint>
#include <vector>

#include "stack/tcp_options.h"

struct tcp_pcb;
struct tcp_seg;

namespace underpass {

// Of one connection. Needs the stack mutex; calls stand inside a PcbWindow.
class LossRecovery {
 public:
  // Around tcp_input(). `payload_bytes` are the segment's.
  void before_input(tcp_pcb& pcb);
  // May send. Returns how many segments were sent again.
  uint32_t after_input(tcp_pcb& pcb, const SegmentOptions& options, uint32_t payload_bytes);
  // lwIP's retransmission timer has fired: it goes back to the first unacknowledged byte.
  void timed_out();
  // Sends the last segment again, if that may help. Returns how many were sent.
  uint32_t probe_tail(tcp_pcb& pcb);
  bool may_probe(const tcp_pcb& pcb) const;
  // Puts the first unacknowledged segment back among the unsent. False: there is none, or no
  // window.
  bool probe_head(tcp_pcb& pcb);
  bool recovering() const { return recovering_; }

 private:
  // A segment that was sent again, and what had been sent when it was.
  struct Resent {
    uint32_t sequence;
    uint32_t sent_before;
  };

  void note_sacks(const tcp_pcb& pcb, const SegmentOptions& options);
  void add(uint32_t left, uint32_t right);
  void forget_below(uint32_t sequence);
  bool sacked(const tcp_seg& segment) const;
  // True when enough above it has arrived that it will not come any more.
  bool lost(const tcp_seg& segment) const;
  bool wants_resend(const tcp_pcb& pcb, const tcp_seg& segment);
  Resent* resent(uint32_t sequence);
  void note_resent(uint32_t sequence, uint32_t sent_before);
  void progress(tcp_pcb& pcb, uint32_t acked);
  void enter(tcp_pcb& pcb);
  void leave(tcp_pcb& pcb);
  uint32_t resend_lost(tcp_pcb& pcb);

  std::vector<SackBlock> sacked_;  // in order, apart from one another
  std::vector<Resent> resent_;     // in order
  uint32_t highest_sacked_ = 0;
  uint32_t distance_ = 0;  // so many bytes must have arrived above what is taken for lost
  uint32_t last_ack_ = 0;
  uint32_t cwnd_before_ = 0;
  uint32_t recover_ = 0;  // recovery ends when this is acknowledged
  uint32_t duplicates_ = 0;
  bool recovering_ = false;
  bool probed_ = false;  // since the last progress
};

}  // namespace underpass
