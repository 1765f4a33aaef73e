// stat.cpp - `underpass stat`: how an interface is served, and every counter
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tools/commands.h"
#include "tools/json.h"
#include "tools/observer.h"
#include "tools/steer_values.h"
#include "tools/xsk_statistics.h"
#include "xdp/control_abi.h"

namespace underpass {

namespace {

// A counter with its name and help, for one client or for all.
struct Value {
  const char* name;
  const char* help;
  uint64_t value;
};

struct ClientReport {
  ObservedClient client;
  std::vector<Value> counters;
  Result<XskStatistics> xsk;
};

struct Report {
  std::string iface;
  const Control& control;
  Result<std::vector<SteerValue>> steer;
  std::vector<ClientReport> clients;
};

std::vector<Value> values_of(const ClientCounters& counters) {
  return {
#define X(name, help) {#name, help, counters.name.load(std::memory_order_relaxed)},
      UP_CLIENT_COUNTERS(X)
#undef X
  };
}

std::vector<Value> values_of(const XskStatistics& statistics) {
  return {
#define X(name, help) {#name, help, statistics.name},
      UP_XSK_STATISTICS(X)
#undef X
  };
}

Report make_report(const std::string& iface, const Control& control) {
  Report report{iface, control, steer_values(iface), {}};
  for (ObservedClient& client : observed_clients(control)) {
    auto counters = values_of(client.slot->counters);
    auto xsk = xsk_statistics(client.pid);
    report.clients.push_back({std::move(client), std::move(counters), std::move(xsk)});
  }
  return report;
}

std::vector<Value> totals_of(const Report& report) {
  std::vector<Value> totals = values_of(ClientCounters{});
  for (const ClientReport& one : report.clients) {
    for (size_t i = 0; i < totals.size(); ++i) totals[i].value += one.counters[i].value;
  }
  return totals;
}

const char* mode_of(const Control& control) { return control.driver_mode ? "driver" : "generic"; }
const char* copy_of(const Control& control) { return control.zero_copy ? "zero-copy" : "copy"; }

void print_values(const std::vector<Value>& values) {
  constexpr const char* kFormat = "  {:<26} {:>16}  {}\n";
  for (const Value& one : values) fmt::print(kFormat, one.name, one.value, one.help);
}

// Of one client among many, what is zero only hides the rest; the totals and --json have it all.
void print_nonzero(std::vector<Value> values) {
  values.erase(
      std::remove_if(values.begin(), values.end(), [](const Value& one) { return one.value == 0; }),
      values.end());
  print_values(values);
}

void print_xsk(const ClientReport& one) {
  if (one.xsk) {
    fmt::print("  AF_XDP sockets: {}\n", one.xsk->sockets);
    print_nonzero(values_of(*one.xsk));
  } else {
    fmt::print("  AF_XDP sockets: not readable ({}); try as root\n",
               std::strerror(one.xsk.error()));
  }
}

void print_text(const Report& report) {
  const Control& control = report.control;
  fmt::print("{}: {} mode, {}, {} queue{}, {}, MTU {}, broker pid {}\n", report.iface,
             mode_of(control), copy_of(control), control.queues, control.queues == 1 ? "" : "s",
             control.dispatcher ? "beside other XDP programs" : "alone on the interface",
             control.mtu_bytes.load(), control.broker_pid.load());
  fmt::print("frames seen by the XDP program\n");
  if (!report.steer) fmt::print("  not readable ({})\n", std::strerror(report.steer.error()));
  for (const SteerValue& one : report.steer ? *report.steer : std::vector<SteerValue>{}) {
    fmt::print("  {:<26} {:>16}  {}\n", one.name, one.value, one.help);
  }
  for (const ClientReport& one : report.clients) {
    fmt::print("client {}: {} (pid {}){}\n", one.client.index, printable(one.client.program),
               one.client.pid, one.client.detached() ? ", detached: the kernel serves it" : "");
    print_nonzero(one.counters);
    print_xsk(one);
  }
  fmt::print("all {} client{}\n", report.clients.size(), report.clients.size() == 1 ? "" : "s");
  print_values(totals_of(report));
}

void write_values(JsonWriter& json, const char* key, const std::vector<Value>& values) {
  json.key(key).begin_object();
  for (const Value& one : values) json.member(one.name, one.value);
  json.end_object();
}

void write_client(JsonWriter& json, const ClientReport& one) {
  json.begin_object().member("slot", one.client.index).member("pid", one.client.pid);
  json.member("program", one.client.program).member("detached", one.client.detached());
  write_values(json, "counters", one.counters);
  if (one.xsk) {
    write_values(json, "xsk", values_of(*one.xsk));
  } else {
    json.key("xsk").null();
  }
  json.end_object();
}

void write_steer(JsonWriter& json, const Report& report) {
  json.key("steer");
  if (!report.steer) {
    json.null();
    return;
  }
  json.begin_object();
  for (const SteerValue& one : *report.steer) json.member(one.name, one.value);
  json.end_object();
}

void print_json(const Report& report) {
  const Control& control = report.control;
  JsonWriter json;
  json.begin_object().member("interface", report.iface);
  json.member("mode", mode_of(control)).member("copy", copy_of(control));
  json.member("queues", control.queues).member("mtu", control.mtu_bytes.load());
  json.member("broker_pid", control.broker_pid.load());
  write_steer(json, report);
  json.key("clients").begin_array();
  for (const ClientReport& one : report.clients) write_client(json, one);
  json.end_array();
  write_values(json, "totals", totals_of(report));
  json.end_object();
  fmt::print("{}\n", json.text());
}

}  // namespace

int stat(const StatRequest& request) {
  const Control* const control = observe_or_say_why("stat", request.iface);
  if (control == nullptr) return kExitNo;
  const Report report = make_report(request.iface, *control);
  if (request.json) {
    print_json(report);
  } else {
    print_text(report);
  }
  return 0;
}

}  // namespace underpass
