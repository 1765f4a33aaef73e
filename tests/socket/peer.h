// peer.h - the other end: services at fixed ports, over the kernel's sockets or a simulated stack
//
// TCP at kScriptPort: the client's first line is a script, words with blanks between them:
//   send N        N bytes of pattern(), and waits for the client to close
//   finish N      N bytes, and closes
//   parts N M     N bytes, a pause, M bytes, and waits for the client to close
//   echo          sends back what comes until the client's end, and closes
//   sink          reads until the client's end, sends "N HASH" and closes
//   stall         reads nothing until the client closes
//   reset         closes with a reset
//   call PORT N   N connections to the client's PORT, one after the other: each sends "hello I",
//                 reads until the client's end and closes; then sends "called" and closes
//   tell PORT T   one datagram T to the client's PORT, from a port of its own; then sends "told"
//   and closes
// UDP at kEchoPort: sends each datagram back to where it came from.
// Nobody is at kClosedPort.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

namespace underpass::test {

constexpr uint16_t kScriptPort = 7001;
constexpr uint16_t kEchoPort = 7002;
// Both over IPv6, by tests/netns/programs/echo_server.py.
constexpr uint16_t kEcho6Port = 7004;
constexpr uint16_t kClosedPort = 7003;

std::string pattern(size_t bytes);
uint32_t digest(const std::string& data);

class PeerStream {
 public:
  virtual ~PeerStream() = default;  // closes
  // Blocks. 0: the end, or an error.
  virtual size_t receive(char* data, size_t bytes) = 0;
  virtual bool send_all(const std::string& data) = 0;
  virtual void reset() = 0;
  // Who is at the other end, as PeerNet takes it.
  virtual std::string remote() const = 0;
};

class PeerNet {
 public:
  virtual ~PeerNet() = default;
  virtual std::unique_ptr<PeerStream> accept() = 0;  // null: no more
  virtual std::unique_ptr<PeerStream> connect(const std::string& ip, uint16_t port) = 0;
  virtual void send_datagram(const std::string& ip, uint16_t port, const std::string& data) = 0;
  // One datagram back to its sender; false: no more.
  virtual bool echo_datagram() = 0;
};

// Serves in threads of its own until the net has no more; returns at once. The net lives on.
void serve(PeerNet& net);

// Over the kernel's sockets, at that address.
std::unique_ptr<PeerNet> kernel_net(const std::string& address);

}  // namespace underpass::test
