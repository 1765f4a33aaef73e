// observer.cpp - the tools' way to the control memory
#include "tools/observer.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/diagnosis.h"
#include "xdp/broker_client.h"

namespace underpass {

std::string reason_of_silence(const std::string& iface, int error) {
  if (::if_nametoindex(iface.c_str()) == 0) return to_string(no_such_interface(iface));
  if (error == ECONNREFUSED) {
    return fmt::format(
        "no broker runs on {}: no program is bypassed there (`underpass run -i {} "
        "-- PROGRAM` starts one)",
        iface, iface);
  }
  if (error == EPERM) return to_string(held_by_another_user(iface));
  return fmt::format("the broker of {} does not answer ({}): try as root", iface,
                     std::strerror(error));
}

const Control* observe_or_say_why(const char* command, const std::string& iface) {
  const auto control = BrokerClient::observe(iface);
  if (control) return *control;
  fmt::print(stderr, "underpass {}: {}\n", command, reason_of_silence(iface, control.error()));
  return nullptr;
}

std::vector<ObservedClient> observed_clients(const Control& control) {
  std::vector<ObservedClient> clients;
  for (uint32_t i = 0; i < std::min(control.slots, kMaxSlots); ++i) {
    const ClientSlot& slot = control.client[i];
    const uint32_t pid = slot.pid;
    if (pid == 0) continue;
    const size_t length = ::strnlen(slot.program, sizeof slot.program);
    clients.push_back({i, pid, {slot.program, length}, &slot});
  }
  return clients;
}

std::string printable(std::string text) {
  const auto is_plain = [](char c) { return c >= ' ' && c <= '~'; };
  std::replace_if(
      text.begin(), text.end(), [&](char c) { return !is_plain(c); }, '?');
  return text;
}

}  // namespace underpass
