// observer.h - reading the control memory of a running broker
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "xdp/control_abi.h"

namespace underpass {

// A slot that is in use. `slot` stays mapped; its pid changes when the client leaves.
struct ObservedClient {
  uint32_t index;
  uint32_t pid;
  std::string program;
  const ClientSlot* slot;
  // By `underpass detach`.
  bool detached() const { return slot->away.load(std::memory_order_relaxed) != 0; }
};

// The control memory of the broker of `iface`, or nullptr after a line on stderr that says why not
// and what to do; `command` is the subcommand's name. Stays mapped until the process ends.
const Control* observe_or_say_why(const char* command, const std::string& iface);

// Why a broker of `iface` does not answer, and what to do.
std::string reason_of_silence(const std::string& iface, int error);

std::vector<ObservedClient> observed_clients(const Control& control);

// For a terminal: a process may call itself anything, escape sequences too.
std::string printable(std::string text);

}  // namespace underpass
