// lwip_window.h - shows lwIP one connection at a time
//
// lwIP walks its global lists of pcbs in every call. Outside of calls they are empty here; a
// PcbWindow puts one pcb (and perhaps a listener) on them and takes it off again. So the cost of a
// call does not grow with the number of connections, and two stacks can live in one process
// (tests).
#pragma once

#include "stack/lwip_port/lwip.h"

namespace underpass {

class PcbWindow {
 public:
  explicit PcbWindow(tcp_pcb* pcb, tcp_pcb_listen* listener = nullptr) {
    tcp_active_pcbs = nullptr;
    tcp_tw_pcbs = nullptr;
    tcp_listen_pcbs.listen_pcbs = listener;
    if (listener != nullptr) listener->next = nullptr;
    if (pcb == nullptr) return;
    pcb->next = nullptr;
    if (pcb->state == TIME_WAIT) {
      tcp_tw_pcbs = pcb;
    } else if (pcb->state != CLOSED) {
      tcp_active_pcbs = pcb;
    }
  }
  ~PcbWindow() {
    tcp_active_pcbs = nullptr;
    tcp_tw_pcbs = nullptr;
    tcp_listen_pcbs.listen_pcbs = nullptr;
  }
  PcbWindow(const PcbWindow&) = delete;
  PcbWindow& operator=(const PcbWindow&) = delete;

  // The pcb that is on a list now: the one shown, one that lwIP has made from a SYN, or none.
  static tcp_pcb* survivor() { return tcp_active_pcbs != nullptr ? tcp_active_pcbs : tcp_tw_pcbs; }
};

}  // namespace underpass
