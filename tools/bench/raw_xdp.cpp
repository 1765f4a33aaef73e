// raw_xdp.cpp - frames through AF_XDP and nothing above them: what no stack can be faster than
//
//   raw_xdp pong   --iface=IFACE [--bytes=106]                    sends every frame back; to be
//   killed raw_xdp ping   --iface=IFACE [--bytes=106] [--seconds=1] [--warm-up=0.1] raw_xdp sink
//   --iface=IFACE [--seconds=1] [--warm-up=0.2]    counts what comes raw_xdp source --iface=IFACE
//   [--bytes=1514]                   sends for ever; to be killed
//
// Says "ready" on stderr when frames are received. Both ends spin and never sleep. The frames are
// of an ethertype for experiments (IEEE 802), so that the interface's own traffic goes on; 106
// bytes are a UDP datagram of 64. Plain system calls: the XDP program is a few instructions, and it
// goes with the process that loaded it.
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "base/fd.h"
#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "xdp/xsk.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "raw_xdp";
constexpr uint32_t kFrameSize = 2048;
constexpr uint32_t kRingEntries = 2048;
constexpr uint32_t kRxFrames = 2048;
constexpr uint32_t kTxFrames = 2048;
constexpr size_t kUmemBytes = size_t{kRxFrames + kTxFrames} * kFrameSize;
constexpr uint16_t kEthertype = 0x88b5;
constexpr size_t kHeaderBytes = 14;
// As many as the kernel sends in one call in copy mode (net/xdp/xsk.c, TX_BATCH_SIZE).
constexpr uint32_t kTxBatch = 32;
constexpr uint64_t kLostAfterNs = 50'000'000;
constexpr size_t kMaxSamples = 4'000'000;
// The previous owner's socket is released some time after its exit.
constexpr int kBindTries = 200;

int bpf(bpf_cmd command, bpf_attr& attributes, const char* what) {
  const long fd = sys::call(SYS_bpf, command, sys::arg(&attributes), sizeof attributes);
  if (fd < 0) fail(kName, what, static_cast<int>(-fd));
  return static_cast<int>(fd);
}

constexpr bpf_insn instruction(int code, int dst, int src, int off, int imm) {
  bpf_insn made{};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = static_cast<uint8_t>(dst & 0xf);
  made.src_reg = static_cast<uint8_t>(src & 0xf);
  made.off = static_cast<int16_t>(off);
  made.imm = imm;
  return made;
}

// Redirects frames of our ethertype to the socket of their queue, passes all others.
Fd load_program(int map) {
  constexpr int kPassAt = 13;  // where "return XDP_PASS" begins; offsets count from the next one
  const bpf_insn code[] = {
      instruction(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(xdp_md, data), 0),
      instruction(BPF_LDX | BPF_MEM | BPF_W, 3, 1, offsetof(xdp_md, data_end), 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0),
      instruction(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, kHeaderBytes),
      instruction(BPF_JMP | BPF_JGT | BPF_X, 4, 3, kPassAt - 5, 0),
      instruction(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0),
      instruction(BPF_JMP | BPF_JNE | BPF_K, 5, 0, kPassAt - 7, htons(kEthertype)),
      instruction(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(xdp_md, rx_queue_index), 0),
      instruction(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map),
      instruction(0, 0, 0, 0, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS),
      instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  bpf_attr load{};
  load.prog_type = BPF_PROG_TYPE_XDP;
  load.expected_attach_type = BPF_XDP;
  load.insns = reinterpret_cast<uint64_t>(code);
  load.insn_cnt = sizeof code / sizeof code[0];
  load.license = reinterpret_cast<uint64_t>("GPL");
  return Fd(bpf(BPF_PROG_LOAD, load, "cannot load an XDP program (root?)"));
}

// Not thread-safe. Rings are used as their only user: indices are read from the rings themselves.
class Endpoint {
 public:
  Endpoint(const std::string& iface, size_t frame_bytes);

  // Sends `count` copies of the own frame, or of `data`. False: no room, try again.
  bool send(uint32_t count, const uint8_t* data = nullptr);
  // Hands each received frame to `use`, and gives it back; returns how many.
  template <class Use>
  uint32_t receive(Use use);
  uint8_t* tx_frame(uint32_t index) { return frame(kRxFrames + index % kTxFrames); }

 private:
  uint8_t* frame(uint64_t index) { return static_cast<uint8_t*>(umem_.get()) + index * kFrameSize; }
  void make_umem();
  void bind_to(uint32_t ifindex);
  void attach(uint32_t ifindex);
  void set_ring(int name, uint32_t entries);
  void kick();

  Mapping umem_;
  Fd xsk_, map_, program_, link_;
  XskRings rings_;
  uint32_t frame_bytes_;
};

Endpoint::Endpoint(const std::string& iface, size_t frame_bytes)
    : frame_bytes_(static_cast<uint32_t>(frame_bytes)) {
  const uint32_t ifindex = if_nametoindex(iface.c_str());
  if (ifindex == 0) fail(kName, "no interface " + iface + " in this network namespace");
  make_umem();
  auto rings = XskRings::map(xsk_.get(), {kRingEntries, kRingEntries, kRxFrames, kTxFrames});
  if (!rings) fail(kName, "cannot map the rings", rings.error());
  rings_ = std::move(*rings);
  for (uint32_t i = 0; i < kRxFrames; i++) rings_.fill[i] = uint64_t{i} * kFrameSize;
  rings_.fill.store_producer(kRxFrames);
  for (uint32_t i = 0; i < kTxFrames; i++) {
    uint8_t* const data = tx_frame(i);
    std::memset(data, 0xff, 6);
    data[12] = kEthertype >> 8;
    data[13] = kEthertype & 0xff;
  }
  bind_to(ifindex);
  attach(ifindex);
}

void Endpoint::set_ring(int name, uint32_t entries) {
  const int set = sys::setsockopt(xsk_.get(), SOL_XDP, name, &entries, sizeof entries);
  if (set < 0) fail(kName, "cannot make a ring", -set);
}

void Endpoint::make_umem() {
  auto memory = Mapping::map(-1, kUmemBytes, 0, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
  if (!memory) fail(kName, "cannot map the frames", memory.error());
  umem_ = std::move(*memory);
  const int xsk = sys::socket(AF_XDP, SOCK_RAW, 0);
  if (xsk < 0) fail(kName, "cannot open an AF_XDP socket (root?)", -xsk);
  xsk_ = Fd(xsk);
  xdp_umem_reg area{};
  area.addr = reinterpret_cast<uint64_t>(umem_.get());
  area.len = kUmemBytes;
  area.chunk_size = kFrameSize;
  const int set = sys::setsockopt(xsk, SOL_XDP, XDP_UMEM_REG, &area, sizeof area);
  if (set < 0) fail(kName, "cannot register the frames", -set);
  set_ring(XDP_UMEM_FILL_RING, kRxFrames);
  set_ring(XDP_UMEM_COMPLETION_RING, kTxFrames);
  set_ring(XDP_RX_RING, kRingEntries);
  set_ring(XDP_TX_RING, kRingEntries);
}

// Zero copy where the driver has it, else copy: as the library does.
void Endpoint::bind_to(uint32_t ifindex) {
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_USE_NEED_WAKEUP;
  address.sxdp_ifindex = ifindex;
  int bound = 0;
  for (int i = 0; i < kBindTries; i++) {
    bound = sys::bind(xsk_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    if (bound != -EBUSY) break;
    usleep(5000);
  }
  if (bound < 0) fail(kName, "cannot bind to the interface", -bound);
}

void Endpoint::attach(uint32_t ifindex) {
  bpf_attr map{};
  map.map_type = BPF_MAP_TYPE_XSKMAP;
  map.key_size = map.value_size = sizeof(uint32_t);
  map.max_entries = 1;
  map_ = Fd(bpf(BPF_MAP_CREATE, map, "cannot make an XSKMAP (root?)"));
  program_ = load_program(map_.get());
  const uint32_t key = 0;
  const auto value = static_cast<uint32_t>(xsk_.get());
  bpf_attr entry{};
  entry.map_fd = static_cast<uint32_t>(map_.get());
  entry.key = reinterpret_cast<uint64_t>(&key);
  entry.value = reinterpret_cast<uint64_t>(&value);
  bpf(BPF_MAP_UPDATE_ELEM, entry, "cannot enter the socket into the XSKMAP");
  bpf_attr link{};
  link.link_create.prog_fd = static_cast<uint32_t>(program_.get());
  link.link_create.target_ifindex = ifindex;
  link.link_create.attach_type = BPF_XDP;
  link.link_create.flags = XDP_FLAGS_DRV_MODE;
  link_ = Fd(bpf(BPF_LINK_CREATE, link, "cannot attach to the interface in driver mode"));
}

void Endpoint::kick() {
  const long sent = sys::sendto(xsk_.get(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
  const bool busy = sent == -EAGAIN || sent == -EBUSY || sent == -ENOBUFS;
  if (sent < 0 && !busy) fail(kName, "sendto", static_cast<int>(-sent));
}

bool Endpoint::send(uint32_t count, const uint8_t* data) {
  rings_.completion.store_consumer(rings_.completion.load_producer());
  const uint32_t next = rings_.tx.own_producer();
  // A chunk is free once its frame was completed, and chunks are used in turn.
  if (next + count - rings_.completion.own_consumer() > kTxFrames) {
    kick();
    return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    uint8_t* const to = tx_frame(next + i);
    if (data != nullptr) std::memcpy(to, data, frame_bytes_);
    rings_.tx[next + i] = {static_cast<uint64_t>(to - frame(0)), frame_bytes_, 0};
  }
  rings_.tx.store_producer(next + count);
  if (rings_.tx.needs_wakeup()) kick();
  return true;
}

template <class Use>
uint32_t Endpoint::receive(Use use) {
  const uint32_t first = rings_.rx.own_consumer();
  const uint32_t count = rings_.rx.load_producer() - first;
  const uint32_t fill = rings_.fill.own_producer();
  for (uint32_t i = 0; i < count; i++) {
    const xdp_desc& got = rings_.rx[first + i];
    use(static_cast<uint8_t*>(umem_.get()) + got.addr);
    rings_.fill[fill + i] = got.addr / kFrameSize * kFrameSize;
  }
  rings_.rx.store_consumer(first + count);
  rings_.fill.store_producer(fill + count);
  return count;
}

[[noreturn]] void pong(Endpoint& endpoint) {
  for (;;) {
    endpoint.receive([&](const uint8_t* data) {
      while (!endpoint.send(1, data)) continue;
    });
  }
}

// Whether the answer with that number came before it counts as lost.
bool round_trip(Endpoint& endpoint, std::array<uint8_t, kFrameSize>& data, uint64_t number) {
  std::memcpy(&data[kHeaderBytes], &number, sizeof number);
  while (!endpoint.send(1, data.data())) continue;
  bool came = false;
  const uint64_t give_up = now_ns() + kLostAfterNs;
  // The clock is looked at rarely: it is not free.
  for (uint32_t turn = 1; !came; turn++) {
    endpoint.receive([&](const uint8_t* answer) {
      came = came || std::memcmp(answer + kHeaderBytes, &number, sizeof number) == 0;
    });
    if (turn % 1024 == 0 && now_ns() > give_up) return false;
  }
  return came;
}

void ping(Endpoint& endpoint, double warm_up_s, double seconds) {
  RoundTrips trips(kMaxSamples);
  std::array<uint8_t, kFrameSize> data{};
  std::memcpy(data.data(), endpoint.tx_frame(0), kHeaderBytes);
  const uint64_t first = now_ns() + static_cast<uint64_t>(warm_up_s * 1e9);
  const uint64_t end = first + static_cast<uint64_t>(seconds * 1e9);
  uint64_t lost = 0;
  for (uint64_t number = 1; !trips.full(); number++) {
    const uint64_t before = now_ns();
    if (before >= end) break;
    const bool came = round_trip(endpoint, data, number);
    if (before < first) continue;
    if (came) trips.record(now_ns() - before);
    if (!came) lost++;
  }
  trips.print(lost);
}

void sink(Endpoint& endpoint, double warm_up_s, double seconds) {
  while (endpoint.receive([](const uint8_t*) {}) == 0) continue;
  const uint64_t first = now_ns() + static_cast<uint64_t>(warm_up_s * 1e9);
  const uint64_t end = first + static_cast<uint64_t>(seconds * 1e9);
  uint64_t frames = 0;
  for (uint64_t now = 0; now < end; now = now_ns()) {
    const uint32_t got = endpoint.receive([](const uint8_t*) {});
    if (now >= first) frames += got;
  }
  std::printf("{\"frames\": %llu, \"seconds\": %g}\n", static_cast<unsigned long long>(frames),
              seconds);
}

// Only now does a frame to this end arrive.
void say_ready() { std::fprintf(stderr, "ready\n"); }

int run(const Arguments& arguments) {
  const std::string what = arguments.words.size() == 1 ? arguments.words[0] : "";
  const bool is_bulk = what == "sink" || what == "source";
  Endpoint endpoint(arguments.text("iface"), arguments.count("bytes", is_bulk ? 1514 : 106));
  const double seconds = arguments.number("seconds", 1);
  say_ready();
  const double warm_up_s = arguments.number("warm-up", is_bulk ? 0.2 : 0.1);
  if (what == "pong") pong(endpoint);
  if (what == "ping") {
    ping(endpoint, warm_up_s, seconds);
  } else if (what == "sink") {
    sink(endpoint, warm_up_s, seconds);
  } else if (what == "source") {
    for (;;) endpoint.send(kTxBatch);
  } else {
    fail(kName, "usage: raw_xdp pong|ping|sink|source OPTIONS");
  }
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(Arguments(argc, argv, kName, {"iface", "bytes", "seconds", "warm-up"}));
}
