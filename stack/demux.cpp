// demux.cpp - the tables behind demux.h
#include "stack/demux.h"

#include <algorithm>

#include "base/siphash.h"
#include "stack/tcp_endpoint.h"
#include "stack/tcp_listener.h"
#include "stack/udp_endpoint.h"

namespace underpass {

namespace {

constexpr size_t kFirstBuckets = 256;

template <class T>
void erase_one(std::vector<T*>& list, T* item) {
  list.erase(std::remove(list.begin(), list.end(), item), list.end());
}

}  // namespace

FlowHash::FlowHash() : seed_(random_sip_key().k0 | 1U) {}

uint32_t FlowHash::operator()(const FourTuple& flow) const {
  uint64_t local[2];
  uint64_t remote[2];
  __builtin_memcpy(local, flow.local.ip.bytes.data(), sizeof local);
  __builtin_memcpy(remote, flow.remote.ip.bytes.data(), sizeof remote);
  const uint64_t ports = uint64_t{flow.local.port} << 16U | flow.remote.port;
  // Multiply and fold.
  uint64_t hash = (remote[1] ^ seed_) * 0x9e3779b97f4a7c15U;
  hash = (hash ^ (hash >> 32U) ^ ports ^ remote[0]) * (seed_ | 1U);
  hash = (hash ^ (hash >> 29U) ^ local[1] ^ local[0]) * 0xff51afd7ed558ccdU;
  return static_cast<uint32_t>(hash >> 32U);
}

TcpDemux::TcpDemux() : buckets_(kFirstBuckets) {}

size_t TcpDemux::bucket(const FourTuple& flow) const { return hash_(flow) & (buckets_.size() - 1); }

TcpEndpoint* TcpDemux::find(const FourTuple& flow) const {
  for (TcpEndpoint* at = buckets_[bucket(flow)]; at != nullptr; at = at->demux_next) {
    if (at->flow() == flow) return at;
  }
  return nullptr;
}

void TcpDemux::add(TcpEndpoint& endpoint) {
  if (size_ >= buckets_.size()) grow();
  TcpEndpoint*& head = buckets_[bucket(endpoint.flow())];
  endpoint.demux_next = head;
  head = &endpoint;
  ++size_;
}

void TcpDemux::remove(TcpEndpoint& endpoint) {
  TcpEndpoint** at = &buckets_[bucket(endpoint.flow())];
  while (*at != nullptr && *at != &endpoint) at = &(*at)->demux_next;
  if (*at == nullptr) return;
  *at = endpoint.demux_next;
  endpoint.demux_next = nullptr;
  --size_;
}

void TcpDemux::grow() {
  std::vector<TcpEndpoint*> old(buckets_.size() * 2);
  old.swap(buckets_);
  for (TcpEndpoint* at : old) {
    while (at != nullptr) {
      TcpEndpoint* next = at->demux_next;
      TcpEndpoint*& head = buckets_[bucket(at->flow())];
      at->demux_next = head;
      head = at;
      at = next;
    }
  }
}

std::vector<TcpEndpoint*> TcpDemux::all() const {
  std::vector<TcpEndpoint*> out;
  for (TcpEndpoint* at : buckets_) {
    for (; at != nullptr; at = at->demux_next) out.push_back(at);
  }
  return out;
}

std::vector<TcpListener*> TcpDemux::all_listeners() const {
  std::vector<TcpListener*> out;
  for (const auto& [port, list] : listeners_) out.insert(out.end(), list.begin(), list.end());
  return out;
}

size_t TcpDemux::longest_chain() const {
  size_t longest = 0;
  for (const TcpEndpoint* at : buckets_) {
    size_t length = 0;
    for (; at != nullptr; at = at->demux_next) ++length;
    longest = std::max(longest, length);
  }
  return longest;
}

TcpListener* TcpDemux::find_listener(const FourTuple& flow) const {
  const auto it = listeners_.find(flow.local.port);
  if (it == listeners_.end()) return nullptr;
  const IpAddress both = IpAddress::any(AF_INET6);
  for (const IpAddress& ip : {flow.local.ip, IpAddress::any(flow.local.ip.family()), both}) {
    auto on_ip = [&](const TcpListener* listener) {
      return listener->local().address.ip == ip && listener->local().covers(flow.local.ip);
    };
    const auto count =
        static_cast<uint32_t>(std::count_if(it->second.begin(), it->second.end(), on_ip));
    if (count == 0) continue;
    uint32_t chosen = count == 1 ? 0 : hash_(flow) % count;
    for (TcpListener* listener : it->second) {
      if (on_ip(listener) && chosen-- == 0) return listener;
    }
  }
  return nullptr;
}

TcpListener* TcpDemux::find_listener_of(const SocketAddress& local) const {
  const auto it = listeners_.find(local.port);
  if (it == listeners_.end()) return nullptr;
  const auto found =
      std::find_if(it->second.begin(), it->second.end(), [&](const TcpListener* listener) {
        return listener->local().claims(local) && !listener->is_leaving();
      });
  return found == it->second.end() ? nullptr : *found;
}

void TcpDemux::add(TcpListener& listener) {
  listeners_[listener.local().address.port].push_back(&listener);
}

void TcpDemux::remove(TcpListener& listener) {
  const auto it = listeners_.find(listener.local().address.port);
  if (it == listeners_.end()) return;
  erase_one(it->second, &listener);
  if (it->second.empty()) listeners_.erase(it);
}

UdpEndpoint* UdpDemux::find(const SocketAddress& local, const SocketAddress& remote) const {
  const auto it = ports_.find(local.port);
  if (it == ports_.end()) return nullptr;
  UdpEndpoint* best = nullptr;
  int best_score = 1;
  uint32_t sharing = 0;  // endpoints of that score that share the port
  for (UdpEndpoint* endpoint : it->second) {
    const int score = endpoint->score(local, remote);
    if (score < best_score) continue;
    if (score > best_score) sharing = 0;
    if (endpoint->shares_port()) ++sharing;
    best = endpoint;
    best_score = score;
  }
  if (sharing < 2 || !best->shares_port()) return best;
  uint32_t chosen = hash_({local, remote}) % sharing;
  for (UdpEndpoint* endpoint : it->second) {
    if (!endpoint->shares_port() || endpoint->score(local, remote) != best_score) continue;
    if (chosen-- == 0) return endpoint;
  }
  return best;
}

bool UdpDemux::has_alone(const SocketAddress& local) const {
  const auto it = ports_.find(local.port);
  return it != ports_.end() &&
         std::any_of(it->second.begin(), it->second.end(), [&](const UdpEndpoint* endpoint) {
           return endpoint->has_port_alone() && endpoint->binding().covers(local.ip);
         });
}

std::vector<UdpEndpoint*> UdpDemux::find_all(const SocketAddress& local,
                                             const SocketAddress& remote) const {
  const auto it = ports_.find(local.port);
  if (it == ports_.end()) return {};
  std::vector<UdpEndpoint*> wanting;
  for (UdpEndpoint* endpoint : it->second) {
    if (endpoint->score(local, remote) > 0) wanting.push_back(endpoint);
  }
  return wanting;
}

void UdpDemux::add(UdpEndpoint& endpoint) { ports_[endpoint.local().port].push_back(&endpoint); }

void UdpDemux::remove(UdpEndpoint& endpoint) {
  const auto it = ports_.find(endpoint.local().port);
  if (it == ports_.end()) return;
  erase_one(it->second, &endpoint);
  if (it->second.empty()) ports_.erase(it);
}

std::vector<UdpEndpoint*> UdpDemux::all() const {
  std::vector<UdpEndpoint*> out;
  for (const auto& [port, list] : ports_) out.insert(out.end(), list.begin(), list.end());
  return out;
}

}  // namespace underpass
