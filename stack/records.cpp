// records.cpp - claimed last, freed first
#include "stack/records.h"

namespace underpass {

namespace {

void store_ip(std::atomic<uint8_t> (&to)[16], const IpAddress& ip) {
  for (size_t i = 0; i < ip.bytes.size(); ++i) to[i].store(ip.bytes[i], std::memory_order_relaxed);
}

}  // namespace

SocketRecord* Records::take(uint8_t protocol, const SocketAddress& local,
                            const SocketAddress& remote, int fd) {
  uint32_t index = 0;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (used_ == kMaxRecords) return nullptr;
    index = used_++;
    slot_.records_used.store(used_, std::memory_order_release);
  }
  SocketRecord& record = slot_.records[index];
  record.protocol.store(protocol, std::memory_order_relaxed);
  record.inode_fd.store(static_cast<uint32_t>(fd), std::memory_order_relaxed);
  set_local(record, local);
  set_remote(record, remote);
  record.rx_queue_bytes.store(0, std::memory_order_relaxed);
  record.tx_queue_bytes.store(0, std::memory_order_relaxed);
  record.snd_nxt.store(0, std::memory_order_relaxed);
  record.rcv_nxt.store(0, std::memory_order_relaxed);
  record.rtt_us.store(0, std::memory_order_relaxed);
  record.state.store(static_cast<uint8_t>(SocketState::kClose), std::memory_order_relaxed);
  record.in_use.store(1, std::memory_order_release);
  return &record;
}

void Records::set_local(SocketRecord& record, const SocketAddress& local) {
  record.local_port.store(local.port, std::memory_order_relaxed);
  store_ip(record.local_ip, local.ip);
}

void Records::set_remote(SocketRecord& record, const SocketAddress& remote) {
  record.remote_port.store(remote.port, std::memory_order_relaxed);
  store_ip(record.remote_ip, remote.ip);
}

void Records::give_back(SocketRecord* record) {
  if (record == nullptr) return;
  record->in_use.store(0, std::memory_order_release);
  free_.push_back(static_cast<uint32_t>(record - slot_.records));
}

}  // namespace underpass
