// server.h - the broker's loop: who may come in, what each is told, when it ends
#pragma once

#include <sys/socket.h>

#include <list>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "xdp/broker/clients.h"
#include "xdp/broker/homeless.h"
#include "xdp/broker/host_watch.h"
#include "xdp/broker/icmp_watch.h"
#include "xdp/broker/memory.h"
#include "xdp/broker/mover.h"
#include "xdp/broker/relocations.h"
#include "xdp/broker_abi.h"

namespace underpass {

struct ServerOptions {
  bool stay = false;
  // Besides root and the broker's own.
  std::vector<uid_t> allowed_uids;
};

// Holds the interface's name in this network namespace. EADDRINUSE: another broker does.
Result<Fd> listen_for_clients(const std::string& ifname);

// One connection: a lease, which may have a slot, or somebody who only looks.
struct Session {
  Fd socket;
  ucred peer{};
  bool observer = false;
  std::optional<uint32_t> slot;
  uint64_t number = 0;  // never 0, and of no other session before or after
  bool ended = false;
};

// What the loop works on; outlives the server.
struct Service {
  Control& control;
  const SharedMemory& control_memory;
  const SharedMemory& umem;
  Steering& steering;
  Clients& clients;
  HostWatch& watch;
  IcmpWatch& icmp;
  Mover& mover;
};

class Server {
 public:
  Server(Service service, Fd listener, ServerOptions options);
  // Returns when the last client has gone and the period of grace is over, on SIGTERM or SIGINT, or
  // when the interface has gone. Upon a signal clients give their connections to the kernel first:
  // whoever does nothing of it for some seconds, or a second signal, ends the wait.
  void run();

 private:
  void step();
  void accept_all();
  bool may_enter(const ucred& peer) const;
  void welcome(Fd socket);
  void serve(Session& session);
  void answer(Session& session, const BrokerRequest& request, std::vector<Fd>& fds);
  void answer_attach(Session& session);
  void answer_observe(Session& session);
  void answer_counters(Session& session);
  void answer_move(Session& session, const BrokerRequest& request, const std::vector<Fd>& fds);
  void take_over(const Session& from, const SocketAddress& listener, std::vector<Fd>& fds);
  void collect(const Session& session, const SocketAddress& listener);
  bool give_to_member(std::optional<uint32_t> from, const SocketAddress& listener, int socket);
  void answer_move_in(Session& session, const std::vector<Fd>& fds);
  void answer_relocate(Session& session, const RelocationRequest& request);
  void finish_relocation(uint64_t now_ms);
  void end(Session& session);
  void tell_change();
  void tell_unreachable();
  void tick(uint64_t now_ms);
  bool is_over(uint64_t now_ms);
  void signalled();
  bool has_ended(uint64_t now_ms) const;
  size_t client_count() const;
  int timeout_ms(uint64_t now_ms) const;
  bool has_lease() const;

  Service service_;
  Fd listener_;
  Fd signals_;
  ServerOptions options_;
  std::list<Session> sessions_;
  Homeless homeless_;
  uint32_t next_member_ = 0;
  uint64_t last_lease_ms_;
  uint64_t next_tick_ms_ = 0;
  uint64_t next_number_ = 1;
  Relocations relocations_;
  bool stopped_ = false;
  uint64_t ending_since_ms_ = 0;  // 0: it does not
  uint64_t last_request_ms_ = 0;  // of a client
};

}  // namespace underpass
