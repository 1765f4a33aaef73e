// peer.cpp - the services, and the net of the kernel's sockets
#include "tests/socket/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

namespace underpass::test {

namespace {

// Between the parts of "parts": longer than a client needs to take the first.
constexpr std::chrono::milliseconds kPause{50};

std::string read_line(PeerStream& stream) {
  std::string line;
  char one = 0;
  while (stream.receive(&one, 1) == 1 && one != '\n') line += one;
  return line;
}

std::string read_to_end(PeerStream& stream) {
  std::string all;
  char piece[16384];
  for (;;) {
    const size_t got = stream.receive(piece, sizeof piece);
    if (got == 0) return all;
    all.append(piece, got);
  }
}

void echo(PeerStream& stream) {
  char piece[16384];
  for (;;) {
    const size_t got = stream.receive(piece, sizeof piece);
    if (got == 0 || !stream.send_all({piece, got})) return;
  }
}

void call(PeerNet& net, PeerStream& stream, uint16_t port, int count) {
  for (int i = 0; i < count; ++i) {
    const auto made = net.connect(stream.remote(), port);
    if (made == nullptr || !made->send_all("hello " + std::to_string(i))) return;
    read_to_end(*made);
  }
  stream.send_all("called");
}

void play(PeerNet& net, PeerStream& stream) {
  std::istringstream script(read_line(stream));
  std::string verb;
  size_t first = 0;
  script >> verb;
  if (verb == "echo") return echo(stream);
  if (verb == "reset") return stream.reset();
  if (verb == "sink") {
    const std::string all = read_to_end(stream);
    stream.send_all(std::to_string(all.size()) + " " + std::to_string(digest(all)));
    return;
  }
  if (verb == "stall") {
    // Closed while it has unread data: a reset ends the wait, at the latest.
    std::this_thread::sleep_for(std::chrono::seconds(2));
    return;
  }
  script >> first;
  if (verb == "tell") {
    std::string text;
    script >> text;
    net.send_datagram(stream.remote(), static_cast<uint16_t>(first), text);
    stream.send_all("told");
  } else if (verb == "call") {
    int count = 0;
    script >> count;
    call(net, stream, static_cast<uint16_t>(first), count);
  } else {
    stream.send_all(pattern(first));
    size_t second = 0;
    if (verb == "parts" && script >> second) {
      std::this_thread::sleep_for(kPause);
      stream.send_all(pattern(second));
    }
  }
  if (verb == "send" || verb == "parts") read_to_end(stream);
}

// ---- the kernel's sockets

void check(long result, const char* what) {
  if (result >= 0) return;
  perror(what);
  std::abort();
}

sockaddr_in at(const std::string& ip, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
  return address;
}

int bound(int type, const std::string& ip, uint16_t port) {
  const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
  check(fd, "socket");
  const int on = 1;
  check(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
  const sockaddr_in address = at(ip, port);
  check(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  return fd;
}

class KernelStream : public PeerStream {
 public:
  KernelStream(int fd, std::string remote) : fd_(fd), remote_(std::move(remote)) {}
  ~KernelStream() override { ::close(fd_); }
  KernelStream(const KernelStream&) = delete;
  KernelStream& operator=(const KernelStream&) = delete;

  size_t receive(char* data, size_t bytes) override {
    const ssize_t got = ::recv(fd_, data, bytes, 0);
    return got > 0 ? static_cast<size_t>(got) : 0;
  }
  bool send_all(const std::string& data) override {
    for (size_t done = 0; done < data.size();) {
      const ssize_t sent = ::send(fd_, data.data() + done, data.size() - done, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      done += static_cast<size_t>(sent);
    }
    return true;
  }
  void reset() override {
    const linger abrupt{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
  }
  std::string remote() const override { return remote_; }

 private:
  const int fd_;
  const std::string remote_;
};

class KernelNet : public PeerNet {
 public:
  explicit KernelNet(const std::string& address)
      : address_(address),
        listener_(bound(SOCK_STREAM, address, kScriptPort)),
        datagrams_(bound(SOCK_DGRAM, address, kEchoPort)) {
    check(::listen(listener_, 64), "listen");
  }

  std::unique_ptr<PeerStream> accept() override {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const int fd = ::accept4(listener_, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC);
    if (fd < 0) return nullptr;
    return std::make_unique<KernelStream>(fd, inet_ntoa(from.sin_addr));
  }
  std::unique_ptr<PeerStream> connect(const std::string& ip, uint16_t port) override {
    const int fd = bound(SOCK_STREAM, address_, 0);
    auto stream = std::make_unique<KernelStream>(fd, ip);
    const sockaddr_in to = at(ip, port);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return nullptr;
    return stream;
  }
  void send_datagram(const std::string& ip, uint16_t port, const std::string& data) override {
    const int fd = bound(SOCK_DGRAM, address_, 0);
    const sockaddr_in to = at(ip, port);
    check(::sendto(fd, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                   sizeof to),
          "sendto");
    ::close(fd);
  }
  bool echo_datagram() override {
    char data[65536];
    sockaddr_in from{};
    socklen_t length = sizeof from;
    auto* at = reinterpret_cast<sockaddr*>(&from);
    const ssize_t got = ::recvfrom(datagrams_, data, sizeof data, 0, at, &length);
    if (got < 0) return false;
    ::sendto(datagrams_, data, static_cast<size_t>(got), 0, at, length);
    return true;
  }

 private:
  const std::string address_;
  const int listener_;
  const int datagrams_;
};

}  // namespace

std::string pattern(size_t bytes) {
  std::string data(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>('a' + (i * 7 + i / 257) % 26);
  return data;
}

uint32_t digest(const std::string& data) {
  uint32_t hash = 2166136261U;
  for (const char byte : data) hash = (hash ^ static_cast<uint8_t>(byte)) * 16777619U;
  return hash;
}

void serve(PeerNet& net) {
  std::thread([&net] {
    while (auto stream = net.accept()) {
      std::thread([&net, taken = std::move(stream)] { play(net, *taken); }).detach();
    }
  }).detach();
  std::thread([&net] {
    while (net.echo_datagram()) {
    }
  }).detach();
}

std::unique_ptr<PeerNet> kernel_net(const std::string& address) {
  return std::make_unique<KernelNet>(address);
}

}  // namespace underpass::test
