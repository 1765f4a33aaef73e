// wire_net.cpp - an attachment over the simulated wire, and the peer's verbs on the stack behind it
#include "tests/socket/wire_net.h"

#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "stack/clock.h"
#include "stack/process.h"
#include "tests/support/simulated_host.h"

namespace underpass::test {

namespace {

constexpr const char* kOwnAddress = "127.0.0.1";
constexpr const char* kOwnInterface = "lo";
// Between two looks of the peer at its stack.
constexpr useconds_t kLookEveryUs = 50;

// The program's end of the wire. Its waiters look at readable() without the lock and sleep on
// poll_fds(), which the simulated port cannot serve.
class WakingPort : public FramePort {
 public:
  explicit WakingPort(SimulatedPort& port)
      : port_(port), wakes_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~WakingPort() override { ::close(wakes_); }
  WakingPort(const WakingPort&) = delete;
  WakingPort& operator=(const WakingPort&) = delete;

  const PortCapabilities& capabilities() const override { return port_.capabilities(); }
  size_t receive(std::span<RxFrame> out) override {
    const size_t got = port_.receive(out);
    look();
    return got;
  }
  void release(std::span<const uint64_t> ids) override { port_.release(ids); }
  uint8_t* reserve() override { return port_.reserve(); }
  void submit(uint32_t length_bytes) override { port_.submit(length_bytes); }
  void flush() override { port_.flush(); }
  bool readable() const override { return readable_.load(std::memory_order_acquire); }
  std::span<const int> poll_fds() const override { return {&wakes_, 1}; }

  // Has something come, or has all been taken? With the stack mutex.
  void look() {
    const bool now = port_.readable();
    if (now == readable_.exchange(now, std::memory_order_acq_rel)) return;
    uint64_t count = 1;
    const ssize_t done =
        now ? ::write(wakes_, &count, sizeof count) : ::read(wakes_, &count, sizeof count);
    if (done != sizeof count) std::abort();
  }

 private:
  SimulatedPort& port_;
  const int wakes_;
  std::atomic<bool> readable_{false};
};

// Tens of megabytes, of which little is used.
template <class T>
T* zeroed() {
  void* const at = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) std::abort();
  return static_cast<T*>(at);
}

class SimulatedAttachment : public Attachment {
 public:
  SimulatedAttachment(WakingPort& port, const IpAddress& own)
      : port_(port),
        control_(*zeroed<Control>()),
        entries_(UP_PORT_ENTRIES),
        ports_(entries_.data(), -1, 0) {
    std::strcpy(control_.ifname, kOwnInterface);
    control_.slots = 1;
    control_.address_count = 1;
    std::memcpy(control_.addresses[0].ip, own.bytes.data(), own.bytes.size());
    control_.addresses[0].prefix_bits = 96 + 8;
  }

  FramePort& port() override { return port_; }
  PortTable& ports() override { return ports_; }
  Control& control() override { return control_; }
  ClientSlot& slot() override { return control_.client[0]; }
  uint32_t slot_index() const override { return 0; }
  NeighbourView neighbour(const IpAddress&) override { return {}; }
  void resolve(const IpAddress&) override {}
  int notify_fd() const override { return -1; }
  void drain_notify() override {}
  std::optional<Unreachable> next_unreachable() override { return std::nullopt; }
  bool broker_alive() const override { return false; }
  Result<void> move_out(const ConnectionState&, std::span<const uint8_t>, int) override {
    return Error{ENOTCONN};
  }
  Result<void> hand_over(const SocketAddress&, int) override { return Error{ENOTCONN}; }
  void collect(const SocketAddress&) override {}
  std::optional<HandedOver> next_handed_over() override { return std::nullopt; }
  void listen_to_relocations(RelocationListener&) override {}
  Result<void> keep_kernel_flows() override { return {}; }
  void answer_relocation(const RelocationCount&) override {}
  void let_go() override {}
  Result<ConnectionSnapshot> move_in(int) override { return Error{ENOTCONN}; }

 private:
  WakingPort& port_;
  Control& control_;
  std::vector<up_port_entry> entries_;
  PortTable ports_;
};

// Nobody's: the peer's threads look, again and again.
class Deaf : public EndpointOwner {
 public:
  void endpoint_event(Readiness) override {}
};

}  // namespace

class Wire {
 public:
  explicit Wire(const std::string& peer_address)
      : peer_ip(ip(peer_address.c_str())),
        port(wire.port(0)),
        peer(wire.port(1), peer_address.c_str(), wire.port(0).capabilities().mac) {
    wire.faults.delay_ns = 0;
    listener = peer.listen(kScriptPort);
    datagrams = *UdpEndpoint::open(peer.stack(),
                                   SocketAddress{IpAddress::any(AF_INET), kEchoPort, 0}, owner, 5);
  }

  // Lets the peer's stack handle what has come, and the program see what that has sent.
  void turn() {
    VirtualClock::now_ns = std::max(VirtualClock::now_ns, monotonic_ns());
    peer.stack().drive(VirtualClock::now_ns);
    port.look();
  }

  // Repeats `attempt`, under the lock, until it returns true.
  template <class Attempt>
  void until(Attempt attempt) {
    for (;;) {
      {
        StackLock lock;
        turn();
        const bool done = attempt();
        turn();
        if (done) return;
      }
      ::usleep(kLookEveryUs);
    }
  }

  SimulatedWire wire;
  const IpAddress peer_ip;
  WakingPort port;
  SimulatedHost peer;
  Deaf owner;
  TcpListener* listener = nullptr;
  UdpEndpoint* datagrams = nullptr;
  uint16_t next_port = 50000;
};

namespace {

class WireStream : public PeerStream {
 public:
  WireStream(Wire& wire, TcpEndpoint& endpoint) : wire_(wire), endpoint_(endpoint) {}
  ~WireStream() override {
    wire_.until([&] {
      endpoint_.disown(Fd());
      return true;
    });
  }
  WireStream(const WireStream&) = delete;
  WireStream& operator=(const WireStream&) = delete;

  size_t receive(char* data, size_t bytes) override {
    ssize_t got = 0;
    wire_.until([&] { return (got = receive_bytes(endpoint_, data, bytes)) != -EAGAIN; });
    return got > 0 ? static_cast<size_t>(got) : 0;
  }
  bool send_all(const std::string& data) override {
    size_t done = 0;
    ssize_t sent = 0;
    wire_.until([&] {
      if (done == data.size()) return true;
      sent = send_bytes(endpoint_, data.data() + done, data.size() - done);
      if (sent > 0) done += static_cast<size_t>(sent);
      return (sent < 0 && sent != -EAGAIN) || done == data.size();
    });
    return done == data.size();
  }
  void reset() override {
    wire_.until([&] {
      TcpOptions abrupt;
      abrupt.linger_s = 0;
      endpoint_.set_options(abrupt);
      return true;
    });
  }
  std::string remote() const override { return endpoint_.flow().remote.ip.to_string(); }

 private:
  Wire& wire_;
  TcpEndpoint& endpoint_;
};

}  // namespace

WireNet::WireNet(const std::string& peer_address) {
  VirtualClock::now_ns = monotonic_ns();
  wire_ = std::make_unique<Wire>(peer_address);
  const IpAddress own = ip(kOwnAddress);
  auto view = std::make_unique<SimulatedView>(own);
  view->set_peer_mac(wire_->wire.port(1).capabilities().mac);
  Options options;
  std::strcpy(options.iface, kOwnInterface);
  // Nobody answers; what counts is that the process has its options.
  if (process_start(options)) std::abort();
  Process::instance().attach_to(std::make_unique<SimulatedAttachment>(wire_->port, own),
                                std::move(view));
}

WireNet::~WireNet() = default;

std::unique_ptr<PeerStream> WireNet::accept() {
  TcpEndpoint* taken = nullptr;
  wire_->until([&] {
    if (!wire_->listener->ready()) return false;
    taken = wire_->listener->take();
    taken->set_owner(&wire_->owner, 4);
    return true;
  });
  return std::make_unique<WireStream>(*wire_, *taken);
}

std::unique_ptr<PeerStream> WireNet::connect(const std::string& to, uint16_t port) {
  TcpEndpoint* made = nullptr;
  wire_->until([&] {
    auto connecting =
        TcpEndpoint::connect(wire_->peer.stack(), {wire_->peer_ip, ++wire_->next_port, 0},
                             {ip(to.c_str()), port, 0}, {}, 4);
    if (connecting) made = *connecting;
    if (made != nullptr) made->set_owner(&wire_->owner, 4);
    return true;
  });
  if (made == nullptr) return nullptr;
  auto stream = std::make_unique<WireStream>(*wire_, *made);
  int error = 0;
  wire_->until([&] {
    error = made->take_error();
    return error != 0 || !made->connecting();
  });
  if (error != 0) return nullptr;
  return stream;
}

void WireNet::send_datagram(const std::string& to, uint16_t port, const std::string& data) {
  const iovec piece{const_cast<char*>(data.data()), data.size()};
  wire_->until([&] {
    const SocketAddress from{wire_->peer_ip, ++wire_->next_port, 0};
    return wire_->peer.stack()
        .send_udp(from, {ip(to.c_str()), port, 0}, 64, 0, {&piece, 1}, data.size())
        .ok();
  });
}

bool WireNet::echo_datagram() {
  char data[65536];
  wire_->until([&] {
    const iovec room{data, sizeof data};
    size_t bytes = 0;
    const auto got = wire_->datagrams->receive({&room, 1}, false, &bytes);
    if (!got) return false;
    const iovec piece{data, bytes};
    const SocketAddress from{wire_->peer_ip, kEchoPort, 0};
    return wire_->peer.stack().send_udp(from, got->from, 64, 0, {&piece, 1}, bytes).ok();
  });
  return true;
}

size_t WireNet::frames_from_program() const { return wire_->wire.port(0).sent_frames(); }

}  // namespace underpass::test
