// stack_plug.cpp - the interface goes with its broker, and comes back with the next one
#include <cerrno>

#include "base/log.h"
#include "stack/stack.h"
#include "stack/tcp_endpoint.h"
#include "stack/tcp_listener.h"

namespace underpass {

namespace {

// Where no frame comes from, and where none can be sent.
class NoPort : public FramePort {
 public:
  explicit NoPort(const PortCapabilities& last) : capabilities_(last) {}
  const PortCapabilities& capabilities() const override { return capabilities_; }
  size_t receive(std::span<RxFrame>) override { return 0; }
  void release(std::span<const uint64_t>) override {}
  uint8_t* reserve() override { return nullptr; }
  void submit(uint32_t) override {}
  void flush() override {}
  bool readable() const override { return false; }
  std::span<const int> poll_fds() const override { return {}; }

 private:
  const PortCapabilities capabilities_;
};

void copy_counters(const ClientCounters& from, ClientCounters& to) {
#define X(name, help) to.name.store(from.name.load(), std::memory_order_relaxed);
  UP_CLIENT_COUNTERS(X)
#undef X
}

}  // namespace

bool Stack::is_at_stake(const TcpEndpoint& endpoint) {
  if (endpoint.pcb_ == nullptr || endpoint.state() == SocketState::kSynSent) return false;
  return endpoint.state() != SocketState::kTimeWait || endpoint.owner_ != nullptr;
}

std::vector<FourTuple> Stack::flows_at_stake() const {
  std::vector<FourTuple> flows;
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    if (endpoint->listener_ == nullptr && is_at_stake(*endpoint)) flows.push_back(endpoint->flow_);
  }
  return flows;
}

size_t Stack::unaccepted() const {
  size_t count = 0;
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    if (endpoint->listener_ != nullptr && is_at_stake(*endpoint)) ++count;
  }
  return count;
}

bool Stack::has_opening() const {
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    if (endpoint->pcb_ != nullptr && endpoint->state() == SocketState::kSynSent) return true;
  }
  return false;
}

void Stack::move_unaccepted_out() {
  for (TcpListener* listener : tcp_.all_listeners()) listener->keep_in_kernel();
}

void Stack::unplug() {
  size_t lost = 0;
  std::vector<FourTuple> flows;  // by name: the end of one may be that of another
  for (const TcpEndpoint* endpoint : tcp_.all()) flows.push_back(endpoint->flow_);
  for (const FourTuple& flow : flows) {
    TcpEndpoint* const endpoint = tcp_.find(flow);
    if (endpoint == nullptr || endpoint->pcb_ == nullptr ||
        endpoint->state() == SocketState::kSynSent) {
      continue;
    }
    if (is_at_stake(*endpoint)) ++lost;
    endpoint->abort();
    endpoint->fail(ECONNABORTED);
    settle(*endpoint);
  }
  if (lost != 0) log_write(LogLevel::warning, "%zu connections could not be moved: reset", lost);
  flush();
  frames_of_before_ += std::exchange(held_frames_, 0);
  // What the broker clears when we have left.
  use_slot(*(own_slot_ = std::make_unique<ClientSlot>()));
  unplugged_ = std::make_unique<NoPort>(port().capabilities());
  port_.store(unplugged_.get(), std::memory_order_relaxed);
}

void Stack::use_slot(ClientSlot& slot) {
  copy_counters(slot_->counters, slot.counters);
  records_.start_over(slot);
  slot_ = &slot;
}

void Stack::plug_in(const Setup& setup) {
  host_ = &setup.host;
  port_table_ = &setup.ports;
  claims_.start_over(setup.ports);
  destinations_.start_over(setup.host);
  neighbours_seen_ = 0;
  use_slot(setup.slot);
  own_slot_.reset();
  for (TcpEndpoint* endpoint : tcp_.all()) endpoint->exact_flow_ = false;
  port_.store(&setup.port, std::memory_order_relaxed);
}

}  // namespace underpass
