// records.cpp - claimed last, freed first
#include "stack/records.h"

namespace underpass {

namespace {

void store_ip(std::atomic<uint8_t> (&to)[16], const IpAddress& ip) {
  for (size_t i = 0; i < ip.bytes.size(); ++i) to[i].store(ip.bytes[i], std::memory_order_relaxed);
}

template <class T>
void copy_field(const std::atomic<T>& from, std::atomic<T>& to) {
  to.store(from.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void copy(const SocketRecord& from, SocketRecord& to) {
  copy_field(from.inode_fd, to.inode_fd);
  copy_field(from.protocol, to.protocol);
  copy_field(from.state, to.state);
  copy_field(from.local_port, to.local_port);
  copy_field(from.remote_port, to.remote_port);
  for (size_t i = 0; i < sizeof to.local_ip; ++i) copy_field(from.local_ip[i], to.local_ip[i]);
  for (size_t i = 0; i < sizeof to.remote_ip; ++i) copy_field(from.remote_ip[i], to.remote_ip[i]);
  copy_field(from.rx_queue_bytes, to.rx_queue_bytes);
  copy_field(from.tx_queue_bytes, to.tx_queue_bytes);
  copy_field(from.snd_nxt, to.snd_nxt);
  copy_field(from.rcv_nxt, to.rcv_nxt);
  copy_field(from.rtt_us, to.rtt_us);
  to.in_use.store(1, std::memory_order_release);
}

}  // namespace

void Records::take(SocketRecord*& holder, uint8_t protocol, const SocketAddress& local,
                   const SocketAddress& remote, int fd) {
  holder = nullptr;
  uint32_t index = 0;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (holders_.size() == kMaxRecords) return;
    index = static_cast<uint32_t>(holders_.size());
    holders_.push_back(nullptr);
    slot_->records_used.store(index + 1, std::memory_order_release);
  }
  SocketRecord& record = slot_->records[index];
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
  holders_[index] = &holder;
  holder = &record;
}

void Records::start_over(ClientSlot& slot) {
  for (size_t i = 0; i < holders_.size(); ++i) {
    if (holders_[i] == nullptr) continue;
    copy(slot_->records[i], slot.records[i]);
    *holders_[i] = &slot.records[i];
  }
  slot_ = &slot;
  slot.records_used.store(static_cast<uint32_t>(holders_.size()), std::memory_order_release);
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
  const auto index = static_cast<uint32_t>(record - slot_->records);
  holders_[index] = nullptr;
  free_.push_back(index);
}

}  // namespace underpass
