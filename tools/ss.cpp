// ss.cpp - `underpass ss`: the bypassed sockets of all processes, as ss(8) shows the kernel's
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/observer.h"
#include "xdp/control_abi.h"

namespace underpass {

namespace {

// A copy of a record and of its owner.
struct SocketRow {
  uint32_t pid;
  std::string program;
  uint32_t fd;
  uint8_t protocol;
  uint8_t state;
  SocketAddress local;
  SocketAddress remote;
  uint32_t rx_queue_bytes;
  uint32_t tx_queue_bytes;
  uint32_t rtt_us;
};

// include/net/tcp_states.h
constexpr uint8_t kTcpListen = 10;
constexpr uint8_t kClose = 7;

const char* state_name(const SocketRow& row) {
  constexpr std::array<const char*, 13> kNames = {
      "UNKNOWN", "ESTAB",      "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2",  "TIME-WAIT",
      "UNCONN",  "CLOSE-WAIT", "LAST-ACK", "LISTEN",   "CLOSING",    "NEW-SYN-RECV"};
  return row.state < kNames.size() ? kNames[row.state] : kNames[0];
}

const char* netid(const SocketRow& row) {
  if (row.protocol == IPPROTO_TCP) return "tcp";
  return row.protocol == IPPROTO_UDP ? "udp" : "raw";
}

IpAddress address_of(const std::atomic<uint8_t> (&bytes)[16]) {
  IpAddress ip;
  std::copy(std::begin(bytes), std::end(bytes), ip.bytes.begin());
  return ip;
}

// The owner changes fields while we read; a row is a picture, not a transaction. A record that was
// freed meanwhile is left out.
std::optional<SocketRow> read_record(const SocketRecord& record, const ObservedClient& client) {
  if (record.in_use == 0) return std::nullopt;
  SocketRow row{client.pid,
                client.program,
                record.inode_fd,
                record.protocol,
                record.state,
                {address_of(record.local_ip), record.local_port},
                {address_of(record.remote_ip), record.remote_port},
                record.rx_queue_bytes,
                record.tx_queue_bytes,
                record.rtt_us};
  if (record.in_use == 0 || client.slot->pid != client.pid) return std::nullopt;
  return row;
}

bool is_connection(const SocketRow& row) {
  return row.protocol == IPPROTO_TCP && row.state != kTcpListen;
}

bool wanted(const SocketRow& row, const SsRequest& filter) {
  const bool any = !filter.tcp && !filter.udp;
  const bool is_tcp = row.protocol == IPPROTO_TCP;
  const bool is_udp = row.protocol == IPPROTO_UDP;
  if (!any && !(is_tcp && filter.tcp) && !(is_udp && filter.udp)) return false;
  return !filter.listening || row.state == kTcpListen || (!is_tcp && row.state == kClose);
}

std::vector<SocketRow> read_rows(const Control& control, const SsRequest& filter) {
  std::vector<SocketRow> rows;
  for (const ObservedClient& client : observed_clients(control)) {
    const uint32_t used = std::min<uint32_t>(client.slot->records_used, kMaxRecords);
    for (uint32_t i = 0; i < used; ++i) {
      auto row = read_record(client.slot->records[i], client);
      // Detached, it has connections at most: those that could not be moved yet.
      const bool is_kernels = client.detached() && row && !is_connection(*row);
      if (row && wanted(*row, filter) && !is_kernels) rows.push_back(std::move(*row));
    }
  }
  return rows;
}

std::string show(const SocketAddress& address) {
  if (address.port == 0) return (address.ip.is_v4() ? "0.0.0.0" : "[::]") + std::string(":*");
  return address.to_string();
}

void print_table(const std::vector<SocketRow>& rows) {
  constexpr const char* kFormat = "{:<5} {:<12} {:>8} {:>8} {:>24} {:>24}  {}\n";
  fmt::print(kFormat, "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port",
             "Peer Address:Port", "Process");
  for (const SocketRow& row : rows) {
    fmt::print(
        kFormat, netid(row), state_name(row), row.rx_queue_bytes, row.tx_queue_bytes,
        show(row.local), show(row.remote),
        fmt::format("users:((\"{}\",pid={},fd={}))", printable(row.program), row.pid, row.fd));
  }
}

void write_row(JsonWriter& json, const SocketRow& row) {
  json.begin_object().member("netid", netid(row)).member("state", state_name(row));
  json.member("recv_q", row.rx_queue_bytes).member("send_q", row.tx_queue_bytes);
  json.member("local_address", row.local.ip.to_string()).member("local_port", row.local.port);
  json.member("peer_address", row.remote.ip.to_string()).member("peer_port", row.remote.port);
  json.member("pid", row.pid).member("program", row.program).member("fd", row.fd);
  json.member("rtt_us", row.rtt_us).end_object();
}

void print_json(const std::vector<SocketRow>& rows, const std::string& iface) {
  JsonWriter json;
  json.begin_object().member("interface", iface).key("sockets").begin_array();
  for (const SocketRow& row : rows) write_row(json, row);
  json.end_array().end_object();
  fmt::print("{}\n", json.text());
}

}  // namespace

int ss(const SsRequest& filter) {
  const Control* const control = observe_or_say_why("ss", filter.iface);
  if (control == nullptr) return kExitNo;
  const auto rows = read_rows(*control, filter);
  if (filter.json) {
    print_json(rows, filter.iface);
  } else {
    print_table(rows);
  }
  return 0;
}

}  // namespace underpass
