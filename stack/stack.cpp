// stack.cpp - frames in, frames out, timers
#include "stack/stack.h"

#include <arpa/inet.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "stack/clock.h"
#include "stack/lwip_port/lwip_window.h"
#include "stack/segment_out.h"
#include "stack/tcp_endpoint.h"
#include "stack/tcp_listener.h"
#include "stack/udp_endpoint.h"

namespace underpass {

namespace {

constexpr size_t kMaxAggregateBytes = 65535 - 60;
constexpr size_t kMaxAggregateFrames = 48;

constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kPush = 0x08;
constexpr uint8_t kAck = 0x10;
constexpr uint8_t kUrgent = 0x20;

// lwIP knows only the netif: the way back to its stack.
Stack& stack_of(netif* interface) { return *static_cast<Stack*>(interface->state); }

err_t output_v4(netif* interface, pbuf* packet, const ip4_addr_t* to) UP_NO_THREAD_SAFETY {
  const int error = stack_of(interface).output_ip(packet, IpAddress::from_v4(ip4_addr_get_u32(to)));
  return error == 0 ? ERR_OK : ERR_MEM;
}

err_t output_v6(netif* interface, pbuf* packet, const ip6_addr_t* to) UP_NO_THREAD_SAFETY {
  ip_addr_t address{};
  ip_addr_copy_from_ip6(address, *to);
  const int error = stack_of(interface).output_ip(packet, from_lwip(address));
  return error == 0 ? ERR_OK : ERR_MEM;
}

err_t init_netif(netif* interface) {
  interface->name[0] = 'u';
  interface->name[1] = 'p';
  interface->output = output_v4;
  interface->output_ip6 = output_v6;
  return ERR_OK;
}

void init_lwip_once() {
  static const bool done = [] {
    lwip_init();
    return true;
  }();
  static_cast<void>(done);
}

uint32_t sequence_number(const Packet& packet) {
  uint32_t value = 0;
  std::memcpy(&value, packet.transport + 4, sizeof value);
  return ntohl(value);
}

uint32_t acknowledgement(const Packet& packet) {
  uint32_t value = 0;
  std::memcpy(&value, packet.transport + 8, sizeof value);
  return ntohl(value);
}

uint16_t urgent_pointer(const Packet& packet) {
  return static_cast<uint16_t>(packet.transport[18] << 8U | packet.transport[19]);
}

uint8_t tcp_flags(const Packet& packet) { return packet.transport[13]; }
uint32_t tcp_header_bytes(const Packet& packet) { return (packet.transport[12] >> 4U) * 4U; }

FourTuple flow_of(const Packet& packet) {
  return {{packet.destination, packet.destination_port, 0}, {packet.source, packet.source_port, 0}};
}

// What ip4_input() or ip6_input() would have left for tcp_input().
void set_current_packet(netif* interface, const Packet& packet) {
  ip_data.current_netif = interface;
  ip_data.current_input_netif = interface;
  const bool is_v4 = packet.source.is_v4();
  ip_data.current_ip4_header = is_v4 ? reinterpret_cast<const ip_hdr*>(packet.network) : nullptr;
  // tcp_input() takes the family from whether there is one.
  ip_data.current_ip6_header = is_v4 ? nullptr : reinterpret_cast<ip6_hdr*>(packet.network);
  ip_data.current_ip_header_tot_len = static_cast<u16_t>(ip_header_bytes(packet.source));
  ip_data.current_iphdr_src = to_lwip(packet.source);
  ip_data.current_iphdr_dest = to_lwip(packet.destination);
}

}  // namespace

// A pbuf over a frame; reused, never freed.
struct Stack::FramePbuf {
  pbuf_custom custom;
  Stack* stack;
  const FramePort* from;
  uint64_t id;
};

struct FramePbufAccess {
  static void free(pbuf* p) {
    // pbuf_custom is FramePbuf's first member, pbuf is pbuf_custom's.
    auto* frame = reinterpret_cast<Stack::FramePbuf*>(p);
    frame->stack->return_frame(frame->from, frame->id);
    frame->stack->free_pbufs_.push_back(frame);
  }
};

// Consecutive segments of one connection, joined before lwIP sees them: one header, one ACK (what
// the kernel calls GRO). `packet` is the first one's.
struct Stack::Aggregate {
  TcpEndpoint* endpoint = nullptr;
  Packet packet{};
  pbuf* segments[kMaxAggregateFrames] = {};
  size_t count = 0;
  size_t bytes = 0;  // TCP header and payload
  uint32_t next_sequence = 0;
};

Stack::Stack(const Setup& setup)
    : port_(&setup.port),
      host_(&setup.host),
      port_table_(&setup.ports),
      claims_(setup.ports),
      slot_(&setup.slot),
      clock_(setup.clock),
      netif_(std::make_unique<netif>()),
      destinations_(setup.host),
      records_(setup.slot),
      aggregate_(std::make_unique<Aggregate>()) {
  init_lwip_once();
  std::memset(netif_.get(), 0, sizeof(netif));
  const uint32_t mask =
      setup.prefix_bits == 0 ? 0 : htonl(~uint32_t{0} << (32 - setup.prefix_bits));
  ip4_addr_t address{setup.address.is_v4() ? setup.address.v4() : 0};
  ip4_addr_t netmask{mask};
  ip4_addr_t gateway{0};
  netif_add(netif_.get(), &address, &netmask, &gateway, this, init_netif, nullptr);
  netif_->mtu = static_cast<u16_t>(port().capabilities().mtu_bytes);
  netif_set_up(netif_.get());
  netif_set_link_up(netif_.get());
}

// Whatever is still open goes, without a word to the peers.
Stack::~Stack() UP_NO_THREAD_SAFETY {
  enter();
  for (TcpListener* listener : tcp_.all_listeners()) listener->close();
  for (TcpEndpoint* endpoint : tcp_.all()) endpoint->vanish();
  for (UdpEndpoint* endpoint : udp_.all()) endpoint->close();
  for (UdpEndpoint* endpoint : raw_.all()) endpoint->close();
  netif_remove(netif_.get());
  for (FramePbuf* pbuf : free_pbufs_) delete pbuf;
}

void Stack::enter() {
  now_ns_ = std::max(now_ns_, clock_());
  set_lwip_time(now_ns_);
  netif_set_default(netif_.get());
}

void Stack::isolate_connections(const SocketAddress& local) {
  if (!claims_.is_claimed(IPPROTO_TCP, local)) return;
  const bool shared = port_table_->others(IPPROTO_TCP, local).members != 0;
  for (TcpEndpoint* endpoint : tcp_.all()) {
    if (endpoint->held_port_ != local || endpoint->exact_flow_) continue;
    // A new connection of that name is the others'.
    if (shared && endpoint->state() == SocketState::kTimeWait) continue;
    const Flow flow{IPPROTO_TCP, endpoint->flow_.local, endpoint->flow_.remote};
    // A full flow table leaves the port claimed: correct for this program, in the way of the next.
    if (!port_table_->add_flow(flow)) return;
    endpoint->exact_flow_ = true;
  }
  claims_.release(IPPROTO_TCP, local);
}

void Stack::keep_flow(TcpEndpoint& endpoint) {
  if (endpoint.exact_flow_ || !claims_.needs_flows(IPPROTO_TCP, endpoint.held_port_)) return;
  const Flow flow{IPPROTO_TCP, endpoint.flow_.local, endpoint.flow_.remote};
  endpoint.exact_flow_ = port_table_->add_flow(flow).ok();
}

void Stack::close_all() {
  for (TcpEndpoint* endpoint : tcp_.all()) {
    if (!endpoint->disowned_ && endpoint->listener_ == nullptr) endpoint->close(Fd());
  }
}

void Stack::move_all_out() {
  // Those that only wait are many, and nobody's for long.
  constexpr uint64_t kTimeWaitsNs = 100 * kNsPerMs;
  const uint64_t until_ns = monotonic_ns() + kTimeWaitsNs;
  // By name: what comes for the one that moves may end another.
  std::vector<FourTuple> flows;
  std::vector<FourTuple> time_waits;
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    const bool only_waits =
        endpoint->state() == SocketState::kTimeWait && endpoint->owner_ == nullptr;
    (only_waits ? time_waits : flows).push_back(endpoint->flow_);
  }
  for (const FourTuple& flow : flows) {
    if (TcpEndpoint* const endpoint = tcp_.find(flow)) move_out(*endpoint);
  }
  for (const FourTuple& flow : time_waits) {
    TcpEndpoint* const endpoint = monotonic_ns() < until_ns ? tcp_.find(flow) : nullptr;
    if (endpoint != nullptr) move_out(*endpoint);
  }
}

void Stack::set_away(bool away) {
  away_ = away;
  claims_.set_away(away);
  constexpr uint64_t kQuietNs = 2 * kNsPerS;
  if (!away) stay_quiet(kQuietNs);
  for (TcpListener* listener : tcp_.all_listeners()) {
    const Binding& local = listener->local();
    if (away) {
      isolate_connections(local.address);
      if (local.families == Families::kBoth) isolate_connections(local.over_v4());
    } else if (!claims_.claim_again(IPPROTO_TCP, local, true)) {
      log_write(LogLevel::info, "port %u stays with the kernel", local.address.port);
    }
  }
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    // After plug_in(): what is being opened goes on.
    const SocketAddress& held = endpoint->held_port_;
    if (away || !endpoint->connecting_ || claims_.is_claimed(IPPROTO_TCP, held)) continue;
    if (!claims_.claim_again(IPPROTO_TCP, held, false)) {
      log_write(LogLevel::info, "port %u stays with the kernel", held.port);
    }
  }
  for (const UdpDemux* demux : {&udp_, &raw_}) {
    for (UdpEndpoint* endpoint : demux->all()) endpoint->set_away(away);
  }
}

void Stack::leave_port_to_others() {
  constexpr uint64_t kInTheRingsNs = 200 * kNsPerMs;
  left_until_ns_ = now_ns_ + kInTheRingsNs;
}

std::vector<FourTuple> Stack::movable_flows() const {
  std::vector<FourTuple> flows;
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    if (endpoint->listener_ == nullptr && endpoint->pcb_ != nullptr)
      flows.push_back(endpoint->flow_);
  }
  return flows;
}

void Stack::move_out(TcpEndpoint& endpoint, bool may_return) {
  if (endpoint.owner_ != nullptr) return endpoint.owner_->endpoint_moves_out(may_return);
  if (endpoint.listener_ != nullptr || !endpoint.disowned_) return;
  Fd kernel_socket = std::move(endpoint.kernel_socket_);
  if (kernel_socket) {
    --kept_sockets_;
  } else {
    // An accepted one had no port of its own. The next server may bind it.
    const int fd = sys::socket(endpoint.flow_.local.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int reuse = 1;
    if (fd >= 0) sys::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    kernel_socket.reset(fd);
  }
  // An error leaves it here: close_all() and the broker see to its end.
  if (kernel_socket) static_cast<void>(endpoint.move_out(kernel_socket.get()).ok());
}

void Stack::forget_moved(TcpEndpoint& endpoint) {
  // The entry in the flow map is the kernel's now.
  endpoint.exact_flow_ = false;
  forget_moved(endpoint.flow_);
}

uint64_t Stack::unacknowledged_bytes() const {
  uint64_t bytes = 0;
  for (const TcpEndpoint* endpoint : tcp_.all()) {
    const tcp_pcb* pcb = endpoint->pcb_;
    if (pcb == nullptr || !endpoint->closed_) continue;
    if ((pcb->flags & TF_CLOSEPEND) != 0) ++bytes;
    if (pcb->unsent == nullptr && pcb->unacked == nullptr) continue;
    bytes += pcb->snd_lbb - pcb->lastack;
  }
  return bytes;
}

// ---- frames in

size_t Stack::drive(uint64_t now_ns) {
  now_ns_ = std::max(now_ns, now_ns_);
  last_drive_ns_ = now_ns_;
  size_t total = 0;
  if (port().readable()) {
    enter();
    RxFrame frames[kBatchFrames];
    // Bounded, so that a flood does not keep the caller from its own work.
    constexpr int kMaxBatches = 16;
    for (int batch = 0; batch < kMaxBatches; ++batch) {
      const size_t count = port().receive(frames);
      for (size_t i = 0; i < count; ++i) {
        if (i + 1 < count) __builtin_prefetch(frames[i + 1].data);
        input_frame(frames[i]);
      }
      deliver_aggregate();
      release_returned();
      total += count;
      if (count < kBatchFrames) break;
      port().flush();
    }
  }
  run_timers();
  flush();
  return total;
}

void Stack::flush() {
  unflushed_frames_ = 0;
  port().flush();
  release_returned();
}

void Stack::input_frame(const RxFrame& frame) {
  Packet packet;
  const PacketError error = parse_packet(frame, port().capabilities().rx_partial_checksum, packet);
  if (error != PacketError::kNone) {
    auto& counter =
        error == PacketError::kBadChecksum ? counters().rx_bad_checksum : counters().rx_malformed;
    counter.fetch_add(1, std::memory_order_relaxed);
    returned_.push_back(frame.id);
    return;
  }
  if (packet.protocol == IPPROTO_TCP) {
    input_tcp(frame, packet);
  } else if (packet.protocol == IPPROTO_UDP) {
    input_udp(frame, packet);
  } else {
    input_raw(frame, packet);
  }
}

pbuf* Stack::wrap(const RxFrame& frame, uint8_t* data, uint32_t bytes) {
  if (held_frames_ >= port().capabilities().hold_limit_frames) {
    counters().rx_copied_frames.fetch_add(1, std::memory_order_relaxed);
    pbuf* copy = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(bytes), PBUF_RAM);
    if (copy != nullptr) std::memcpy(copy->payload, data, bytes);
    returned_.push_back(frame.id);
    return copy;
  }
  FramePbuf* held = nullptr;
  if (free_pbufs_.empty()) {
    held = new FramePbuf{};
    held->custom.custom_free_function = FramePbufAccess::free;
    held->stack = this;
  } else {
    held = free_pbufs_.back();
    free_pbufs_.pop_back();
  }
  held->from = &port();
  held->id = frame.id;
  ++held_frames_;
  return pbuf_alloced_custom(PBUF_RAW, static_cast<u16_t>(bytes), PBUF_REF, &held->custom, data,
                             static_cast<u16_t>(bytes));
}

void Stack::return_frame(const FramePort* from, uint64_t id) {
  if (from != &port()) {
    --frames_of_before_;
    return;
  }
  --held_frames_;
  returned_.push_back(id);
}

void Stack::release_returned() {
  if (returned_.empty()) return;
  port().release(returned_);
  returned_.clear();
}

void Stack::input_tcp(const RxFrame& frame, const Packet& packet) {
  if (append(frame, packet)) return;
  deliver_aggregate();
  pbuf* segment = wrap(frame, packet.transport, packet.transport_bytes);
  if (segment == nullptr) return;
  TcpEndpoint* endpoint = tcp_.find(flow_of(packet));
  const uint32_t payload = packet.transport_bytes - tcp_header_bytes(packet);
  // Only plain data is worth waiting for more of it.
  if (endpoint == nullptr || payload == 0 || (tcp_flags(packet) & ~kPush) != kAck) {
    deliver(endpoint, segment, packet);
    return;
  }
  aggregate_->endpoint = endpoint;
  aggregate_->packet = packet;
  // The header that counts is the pbuf's, which may be a copy.
  aggregate_->packet.transport = static_cast<uint8_t*>(segment->payload);
  aggregate_->segments[0] = segment;
  aggregate_->count = 1;
  aggregate_->bytes = packet.transport_bytes;
  aggregate_->next_sequence = sequence_number(packet) + payload;
}

bool Stack::append(const RxFrame& frame, const Packet& packet) {
  Aggregate& joined = *aggregate_;
  if (joined.count == 0 || joined.count == kMaxAggregateFrames) return false;
  const uint32_t header = tcp_header_bytes(packet);
  const uint32_t payload = packet.transport_bytes - header;
  const Packet& first = joined.packet;
  if (payload == 0 || (tcp_flags(packet) & ~kPush) != kAck ||
      packet.source_port != first.source_port ||
      packet.destination_port != first.destination_port || packet.source != first.source ||
      packet.destination != first.destination || sequence_number(packet) != joined.next_sequence ||
      header != tcp_header_bytes(first) || joined.bytes + payload > kMaxAggregateBytes) {
    return false;
  }
  pbuf* segment = wrap(frame, packet.transport + header, payload);
  if (segment == nullptr) return true;
  // The joined segment says what the last one said: ACK number, flags, window, options.
  std::memcpy(first.transport + 8, packet.transport + 8, 8);
  std::memcpy(first.transport + kTcpHeaderBytes, packet.transport + kTcpHeaderBytes,
              header - kTcpHeaderBytes);
  joined.segments[joined.count++] = segment;
  joined.bytes += payload;
  joined.next_sequence += payload;
  return true;
}

void Stack::deliver_aggregate() {
  Aggregate& joined = *aggregate_;
  if (joined.count == 0) return;
  // From the last to the first: each pbuf's tot_len counts what follows it.
  for (size_t i = joined.count - 1; i > 0; --i) {
    joined.segments[i - 1]->next = joined.segments[i];
    joined.segments[i - 1]->tot_len =
        static_cast<u16_t>(joined.segments[i - 1]->len + joined.segments[i]->tot_len);
  }
  joined.count = 0;
  deliver(joined.endpoint, joined.segments[0], joined.packet);
}

// An old duplicate from before the sequence numbers wrapped (PAWS, RFC 7323 5.3).
bool Stack::is_outdated(const tcp_pcb& pcb, const Packet& packet, const SegmentOptions& options) {
  constexpr uint32_t kPawsIdleTicks = 24U * 86400U * (1000U / TCP_SLOW_INTERVAL);
  if ((pcb.flags & TF_TIMESTAMP) == 0 || pcb.state < ESTABLISHED || !options.has_timestamp ||
      (tcp_flags(packet) & (kSyn | kRst)) != 0) {
    return false;
  }
  // None is known yet (tcp_paws_check() in include/net/tcp.h).
  if (pcb.ts_recent == 0) return false;
  // After so long the peer's clock itself may have wrapped.
  if (tcp_ticks - pcb.tmr > kPawsIdleTicks) return false;
  return static_cast<int32_t>(options.timestamp - pcb.ts_recent) < 0;
}

// lwIP's comparisons hold only for numbers less than half the circle apart, and it asserts where
// they do not. Nothing real is further away than a window (at most 2^30, RFC 7323 2.3).
// Nor does it cut what came out of order at the window's right edge.
bool Stack::is_absurd(const tcp_pcb& pcb, const Packet& packet, uint32_t payload) {
  constexpr uint32_t kFarthest = 1U << 30U;
  if (pcb.state == SYN_SENT) return false;
  const uint32_t offset = sequence_number(packet) - pcb.rcv_nxt;
  if (offset + kFarthest > 2 * kFarthest) return true;
  const uint32_t length = payload + ((tcp_flags(packet) & kFin) != 0 ? 1 : 0);
  if (static_cast<int32_t>(offset) > 0 && length != 0 && offset + length > pcb.rcv_wnd) return true;
  return (tcp_flags(packet) & kAck) != 0 &&
         acknowledgement(packet) - pcb.snd_nxt + kFarthest > 2 * kFarthest;
}

// Both ends may believe that the other's acknowledgement is wrong, and would tell one another for
// ever. As tcp_oow_rate_limited(): what carries no data is answered once in a while.
bool Stack::is_echo(TcpEndpoint& endpoint, const Packet& packet, uint32_t payload) {
  constexpr uint64_t kAnswerEveryNs = 500 * kNsPerMs;  // net.ipv4.tcp_invalid_ratelimit
  const tcp_pcb& pcb = *endpoint.pcb_;
  if (payload != 0 || pcb.state < ESTABLISHED || (tcp_flags(packet) & kRst) != 0) return false;
  const uint32_t offset = sequence_number(packet) - pcb.rcv_nxt;
  const bool acceptable = offset <= pcb.rcv_wnd && (tcp_flags(packet) & kSyn) == 0 &&
                          static_cast<int32_t>(acknowledgement(packet) - pcb.snd_nxt) <= 0;
  if (acceptable) return false;
  if (now_ns_ - endpoint.answered_ns_ < kAnswerEveryNs) return true;
  endpoint.answered_ns_ = now_ns_;
  return false;
}

void Stack::deliver(TcpEndpoint* endpoint, pbuf* segment, const Packet& packet) {
  if (endpoint == nullptr || endpoint->pcb_ == nullptr) {
    deliver_to_listener(segment, packet);
    return;
  }
  switch (new_life_of(*endpoint, packet)) {
    case NewLife::kNone:
      break;
    case NewLife::kHere:
      begin_new_life(*endpoint, segment, packet);
      return;
    case NewLife::kElsewhere:
      // It comes again, and then to whom it is for.
      endpoint->abort();
      settle(*endpoint);
      pbuf_free(segment);
      return;
  }
  const uint32_t header = tcp_header_bytes(packet);
  SegmentOptions options;
  if (header > kTcpHeaderBytes) options = parse_tcp_options(packet);
  const uint32_t payload = segment->tot_len - header;
  const bool joined = segment->next != nullptr;
  tcp_pcb* pcb = endpoint->pcb_;
  set_current_packet(netif_.get(), packet);
  PcbWindow window(pcb);
  if (is_outdated(*pcb, packet, options)) {
    pbuf_free(segment);
    // A pure acknowledgement that was overtaken is no reason to answer.
    if (payload != 0) tcp_send_empty_ack(pcb);
    settle(*endpoint);
    return;
  }
  if (is_absurd(*pcb, packet, payload) || is_echo(*endpoint, packet, payload)) {
    pbuf_free(segment);
    return;
  }
  const bool is_new = static_cast<int32_t>(sequence_number(packet) + payload - pcb->rcv_nxt) > 0;
  if (payload != 0 && is_new && endpoint->takes_no_more()) {
    pbuf_free(segment);
    endpoint->refuse_data();
    return;
  }
  // To lwIP nothing is inside a closed window, so it would answer every acknowledgement.
  const bool closed_window = payload == 0 && pcb->rcv_wnd == 0 && (tcp_flags(packet) & kFin) == 0;
  if (closed_window) pcb->rcv_wnd = 1;
  const uint16_t mss = pcb->mss;
  const uint8_t retransmits = pcb->nrtx;
  const bool is_syn = (tcp_flags(packet) & kSyn) != 0;
  if ((tcp_flags(packet) & kUrgent) != 0) note_urgent(*endpoint, packet, payload);
  endpoint->traffic_.received(joined ? pbuf_clen(segment) : 1, payload, now_ns_);
  endpoint->recovery_.before_input(*pcb);
  tcp_input(segment, netif_.get());
  tcp_pcb* left = PcbWindow::survivor();
  // lwIP takes an MSS option from any segment, and then asserts that what is queued fits it.
  if (left == pcb && !is_syn) pcb->mss = mss;
  if (closed_window && left == pcb) pcb->rcv_wnd -= 1;
  if (left == pcb && pcb->state == SYN_RCVD && pcb->nrtx != retransmits) {
    // The SYN came again and was answered: as tcp_check_req(), the wait begins anew.
    endpoint->syn_was_resent_ = true;
    endpoint->rto_started_ns_ = now_ns_;
  }
  if (left != nullptr) {
    after_input(*endpoint, options, payload, joined);
  } else if (endpoint->pcb_ != nullptr) {
    // LAST_ACK was acknowledged, or data came for a closed socket: lwIP tells nobody who has
    // closed.
    endpoint->pcb_ = nullptr;
    endpoint->fail(0);
  }
  settle(*endpoint);
}

// The byte meant is the one before the pointer (tcp_check_urg() in net/ipv4/tcp_input.c).
void Stack::note_urgent(TcpEndpoint& endpoint, const Packet& packet, uint32_t payload) {
  const tcp_pcb& pcb = *endpoint.pcb_;
  if (pcb.state < SYN_RCVD) return;
  const auto offset = static_cast<int32_t>(sequence_number(packet) - pcb.rcv_nxt);
  const bool in_window =
      offset <= static_cast<int64_t>(pcb.rcv_wnd) && offset + static_cast<int64_t>(payload) >= 0;
  const uint16_t pointer = urgent_pointer(packet);
  if (in_window) endpoint.urgent_pointed(int64_t{offset} + pointer - (pointer != 0 ? 1 : 0));
}

void Stack::after_input(TcpEndpoint& endpoint, const SegmentOptions& options, uint32_t payload,
                        bool joined) {
  tcp_pcb& pcb = *endpoint.pcb_;
  const uint32_t sent_again = endpoint.recovery_.after_input(pcb, options, payload);
  if (sent_again != 0) {
    counters().tcp_retransmits.fetch_add(sent_again, std::memory_order_relaxed);
    endpoint.round_trip_.sent_again();
  }
  if (options.has_timestamp) {
    const uint32_t echo_ms = options.echo - endpoint.stamp_offset_ms_;
    endpoint.round_trip_.heard(pcb, echo_ms, now_ns_);
  }
  endpoint.send_held_if_allowed();
  endpoint.acknowledged();  // what waited for the window may have been sent
  if (payload == 0) return;
  if ((pcb.flags & TF_ACK_DELAY) != 0 && (joined || endpoint.quick_acks_ != 0)) {
    // Two segments or more stand in it: RFC 9293 3.8.6.3 wants an ACK. Or the connection is young,
    // and the peer may be in slow start (tcp_enter_quickack_mode()).
    if (endpoint.quick_acks_ != 0) --endpoint.quick_acks_;
    tcp_ack_now(&pcb);
    tcp_output(&pcb);
  }
  limit_out_of_order(endpoint);
}

// lwIP walks what has come out of order from its beginning for every segment. Without a limit, a
// peer that sends single bytes could have us walk a million.
void Stack::limit_out_of_order(TcpEndpoint& endpoint) {
  constexpr uint32_t kMaxSegments = 2048;
  if (endpoint.pcb_->ooseq == nullptr) {
    endpoint.out_of_order_ = 0;
    return;
  }
  endpoint.traffic_.came_early();
  if (++endpoint.out_of_order_ <= kMaxSegments) return;
  uint32_t count = 0;
  for (const tcp_seg* at = endpoint.pcb_->ooseq; at != nullptr; at = at->next) ++count;
  endpoint.out_of_order_ = count;
  if (count > kMaxSegments / 2) tcp_free_ooseq(endpoint.pcb_);
}

// A SYN above the old connection's sequence numbers starts a new one, if somebody listens
// (RFC 6191; tcp_timewait_state_process()).
Stack::NewLife Stack::new_life_of(const TcpEndpoint& endpoint, const Packet& packet) const {
  if (endpoint.pcb_->state != TIME_WAIT || (tcp_flags(packet) & (kSyn | kAck | kRst)) != kSyn ||
      static_cast<int32_t>(sequence_number(packet) - endpoint.pcb_->rcv_nxt) <= 0) {
    return NewLife::kNone;
  }
  if (tcp_.find_listener(flow_of(packet)) != nullptr) return NewLife::kHere;
  // The listener has gone: whoever has the port now may be another process, or the kernel.
  const bool is_ours = claims_.is_claimed(IPPROTO_TCP, endpoint.held_port_) &&
                       port_table_->others(IPPROTO_TCP, endpoint.flow_.local).members == 0;
  return is_ours ? NewLife::kNone : NewLife::kElsewhere;
}

// The flow map has sent its SYN here, so no choice is known for what follows: the entry stays.
void Stack::begin_new_life(TcpEndpoint& endpoint, pbuf* segment, const Packet& packet) {
  const bool has_entry = std::exchange(endpoint.exact_flow_, false);
  endpoint.abort();
  settle(endpoint);
  deliver_to_listener(segment, packet);
  if (!has_entry) return;
  TcpEndpoint* const next = tcp_.find(flow_of(packet));
  if (next != nullptr) {
    next->exact_flow_ = true;
  } else {
    const FourTuple flow = flow_of(packet);
    port_table_->remove_flow({IPPROTO_TCP, flow.local, flow.remote});
  }
}

void Stack::deliver_to_listener(pbuf* segment, const Packet& packet) {
  if ((tcp_flags(packet) & (kSyn | kAck)) != kSyn &&
      (now_ns_ < quiet_until_ns_ || moved_flows_.has(flow_of(packet), now_ns_))) {
    pbuf_free(segment);
    return;
  }
  const SocketAddress local{packet.destination, packet.destination_port, 0};
  TcpListener* listener = tcp_.find_listener(flow_of(packet));
  const bool is_syn = (tcp_flags(packet) & kSyn) != 0;
  if (away_ && is_syn) {
    pbuf_free(segment);  // it was in the rings; it comes again, to the kernel
    return;
  }
  if (listener != nullptr && is_syn && listener->full()) {
    counters().listen_drops.fetch_add(1, std::memory_order_relaxed);
    pbuf_free(segment);
    return;
  }
  if (listener == nullptr) counters().rx_no_socket.fetch_add(1, std::memory_order_relaxed);
  const bool is_others =
      listener == nullptr &&
      (claims_.only_elsewhere(IPPROTO_TCP, local) ||
       (is_syn && (port_table_->others(IPPROTO_TCP, local).members != 0 || has_just_left(local))));
  if (is_others) {
    // It was on its way when the claim changed. What its peer sends again goes to its owner.
    pbuf_free(segment);
    return;
  }
  set_current_packet(netif_.get(), packet);
  tcp_pcb* made = nullptr;
  {
    PcbWindow window(nullptr, listener == nullptr ? nullptr : listener->pcb_);
    const AnswerWindow answer(listener == nullptr ? UINT32_MAX : listener->window_limit_bytes());
    tcp_input(segment, netif_.get());
    made = PcbWindow::survivor();
  }
  if (made == nullptr) return;
  if (listener->crowded()) {
    // A flood of SYNs: the oldest goes, so that one that is meant still has its chance.
    counters().listen_drops.fetch_add(1, std::memory_order_relaxed);
    listener->drop_oldest();
  }
  TcpEndpoint* endpoint = TcpEndpoint::passive(*this, made, *listener);
  endpoint->syn_hops_ = packet.ttl;
  listener->embryonic_.push_back(endpoint);
  settle(*endpoint);
}

void Stack::input_udp(const RxFrame& frame, const Packet& packet) {
  const SocketAddress to{packet.destination, packet.destination_port, 0};
  const SocketAddress from{packet.source, packet.source_port, 0};
  UdpEndpoint* endpoint = udp_.find(to, from);
  if (endpoint == nullptr || !endpoint->has_room()) {
    auto& counter = endpoint == nullptr ? counters().rx_no_socket : counters().udp_drops;
    counter.fetch_add(1, std::memory_order_relaxed);
    // One of ours has the port, alone, and is connected to somebody else.
    if (endpoint == nullptr && !away_ && udp_.has_alone(to)) send_port_unreachable(packet);
    returned_.push_back(frame.id);
    return;
  }
  const uint32_t bytes = packet.transport_bytes - kUdpHeaderBytes;
  pbuf* data = wrap(frame, packet.transport + kUdpHeaderBytes, bytes);
  if (data == nullptr) return;
  deliver_datagram(*endpoint, data, bytes, from, packet);
}

void Stack::deliver_datagram(UdpEndpoint& endpoint, pbuf* data, uint32_t bytes,
                             const SocketAddress& from, const Packet& packet) {
  const uint64_t arrived_ns = endpoint.wants_timestamps() ? realtime_ns() : 0;
  endpoint.deliver({data, from, packet.destination, bytes, packet.ttl, packet.tos, arrived_ns});
}

}  // namespace underpass
