// demux.h - who gets a segment or datagram: hash tables, so that the cost is flat
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/address.h"

namespace underpass {

class TcpEndpoint;
class TcpListener;
class UdpEndpoint;

struct FourTuple {
  SocketAddress local;
  SocketAddress remote;
  bool operator==(const FourTuple& other) const {
    return local.port == other.local.port && remote.port == other.remote.port &&
           remote.ip == other.remote.ip && local.ip == other.local.ip;
  }
};

// With a secret: peers choose ports and addresses, so they must not know what falls together.
class FlowHash {
 public:
  FlowHash();
  uint32_t operator()(const FourTuple& flow) const;

 private:
  uint64_t seed_;
};

// Connections by 4-tuple, listeners by port. Guarded by the stack mutex.
class TcpDemux {
 public:
  TcpDemux();
  TcpEndpoint* find(const FourTuple& flow) const;
  // The listener of that port whose address is the flow's, else the one on its family's wildcard,
  // else one on "::" that has both (as compute_score() in net/ipv4/inet_hashtables.c); of several
  // (SO_REUSEPORT) each gets its share, as in reuseport_select_sock().
  TcpListener* find_listener(const FourTuple& flow) const;
  // One with exactly this claim, which stays.
  TcpListener* find_listener_of(const SocketAddress& local) const;
  bool has_listener(const SocketAddress& local) const { return find_listener_of(local) != nullptr; }
  void add(TcpEndpoint& endpoint);
  void remove(TcpEndpoint& endpoint);
  void add(TcpListener& listener);
  void remove(TcpListener& listener);
  size_t size() const { return size_; }
  // A copy, because what is done with them changes the table.
  std::vector<TcpEndpoint*> all() const;
  std::vector<TcpListener*> all_listeners() const;
  // How many connections the worst look-up passes by.
  size_t longest_chain() const;

 private:
  size_t bucket(const FourTuple& flow) const;
  void grow();

  // Chained through TcpEndpoint::demux_next; a power of two.
  std::vector<TcpEndpoint*> buckets_;
  size_t size_ = 0;
  FlowHash hash_;
  std::unordered_map<uint16_t, std::vector<TcpListener*>> listeners_;
};

// Datagram sockets by local port; more than one on a port only with SO_REUSEADDR or different
// addresses. Raw sockets by their protocol, which stands for their port.
class UdpDemux {
 public:
  // The socket connected to `remote`, else one bound to the very address, else one on the wildcard
  // (as compute_score() in net/ipv4/udp.c). Of several the last; where they share the port
  // (SO_REUSEPORT), each gets some of the remotes.
  UdpEndpoint* find(const SocketAddress& local, const SocketAddress& remote) const;
  // Whether one has that port on that address and nobody else can.
  bool has_alone(const SocketAddress& local) const;
  // All that want it, as raw_v4_match() in net/ipv4/raw.c: each has its copy.
  std::vector<UdpEndpoint*> find_all(const SocketAddress& local, const SocketAddress& remote) const;
  void add(UdpEndpoint& endpoint);
  void remove(UdpEndpoint& endpoint);
  std::vector<UdpEndpoint*> all() const;

 private:
  FlowHash hash_;
  std::unordered_map<uint16_t, std::vector<UdpEndpoint*>> ports_;
};

}  // namespace underpass
