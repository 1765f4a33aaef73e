// wire_net.h - the Socket class over the simulated wire, in real time: the process's own stack at
// one end, a stack driven by the peer at the other
//
// The process believes that the wire is interface "lo" and its address 127.0.0.1: the kernel
// sockets behind the class's can be bound there without rights.
#pragma once

#include <memory>
#include <string>

#include "stack/socket.h"
#include "tests/socket/peer.h"

namespace underpass::test {

class Wire;

// Attaches this process, for good. One for a process.
class WireNet : public PeerNet {
 public:
  explicit WireNet(const std::string& peer_address);
  ~WireNet() override;

  std::unique_ptr<PeerStream> accept() override;
  std::unique_ptr<PeerStream> connect(const std::string& ip, uint16_t port) override;
  void send_datagram(const std::string& ip, uint16_t port, const std::string& data) override;
  bool echo_datagram() override;

  // What has come from the process's stack.
  size_t frames_from_program() const;

 private:
  std::unique_ptr<Wire> wire_;
};

}  // namespace underpass::test
