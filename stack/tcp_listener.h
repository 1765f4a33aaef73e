// tcp_listener.h - the stack's half of a listening socket
#pragma once

#include <deque>

#include "base/result.h"
#include "stack/stack.h"
#include "stack/tcp_endpoint.h"

struct tcp_pcb_listen;

namespace underpass {

// Needs the stack mutex throughout.
class TcpListener {
 public:
  // Claims the port. EADDRINUSE: another process's stack has it.
  static Result<TcpListener*> open(Stack& stack, const Binding& local, int backlog,
                                   EndpointOwner& owner, int fd) UP_REQUIRES(stack_mutex);
  // Connections that nobody has accepted are reset, as the kernel does.
  void close() UP_REQUIRES(stack_mutex);
  // Instead, where other processes have the kernel's listener, too: what nobody has accepted goes
  // to them, also what is being opened at this moment. To its owner it is gone.
  void leave_to_others() UP_REQUIRES(stack_mutex);

  // The program accepts here, or waits for it: before that, others who do come first.
  void use() UP_REQUIRES(stack_mutex);
  // A thread waits for a connection, or does no more.
  void waits(bool on) UP_REQUIRES(stack_mutex);
  // Once in a while, as Stack::tend_listeners() is told: what waits too long for this process goes
  // to one that has time. Returns when it must be called again. May delete itself.
  uint64_t tend(uint64_t now_ns) UP_REQUIRES(stack_mutex);
  // A connection that another process has left to us: the kernel's.
  void bring(Fd socket) UP_REQUIRES(stack_mutex);
  // The oldest of those, or none.
  Fd take_brought() UP_REQUIRES(stack_mutex);
  // Whether that one has been in this process's queue all along.
  bool next_is_own() const { return brought_.front().own; }
  // What waits to be accepted goes on in the kernel, and is still to be accepted here.
  void keep_in_kernel() UP_REQUIRES(stack_mutex);
  bool is_leaving() const { return leaving_; }

  const Binding& local() const { return local_; }
  void set_backlog(int backlog) UP_REQUIRES(stack_mutex);
  bool has_own() const { return !ready_.empty(); }
  size_t backlog() const { return backlog_; }
  bool ready() const { return !ready_.empty() || !brought_.empty(); }
  // The oldest established connection of the stack; null when there is none.
  TcpEndpoint* take() UP_REQUIRES(stack_mutex);
  // What accepted connections inherit (man 7 socket, tcp): TCP_NODELAY, SO_KEEPALIVE, SO_LINGER,
  // ...
  void set_options(const TcpOptions& options) { options_ = options; }
  // What a peer may send to a new connection.
  uint32_t window_limit_bytes() const { return underpass::window_limit_bytes(options_); }

 private:
  friend class Stack;
  friend class TcpEndpoint;
  friend struct LwipCallbacks;

  TcpListener(Stack& stack, const Binding& local, EndpointOwner& owner)
      : stack_(stack), local_(local), owner_(&owner) {}
  ~TcpListener() = default;

  // Linux queues one more than the backlog says (sk_acceptq_is_full).
  bool full() const { return ready_.size() > backlog_; }
  bool crowded() const { return embryonic_.size() > backlog_ + ready_.size() + kEmbryonicSlack; }
  void became_ready(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  void lost(TcpEndpoint& endpoint) UP_REQUIRES(stack_mutex);
  // Forgets the oldest that has not completed its handshake, without a word to its peer.
  void drop_oldest() UP_REQUIRES(stack_mutex);
  void publish() UP_REQUIRES(stack_mutex);
  void leave(const SocketAddress& claim) UP_REQUIRES(stack_mutex);
  bool is_shared() const UP_REQUIRES(stack_mutex);
  void rest() UP_REQUIRES(stack_mutex);
  bool hand_over(bool to_others) UP_REQUIRES(stack_mutex);
  void pass_on() UP_REQUIRES(stack_mutex);

  static constexpr size_t kEmbryonicSlack = 128;

  Stack& stack_;
  Binding local_;
  EndpointOwner* owner_;  // null: it is leaving
  tcp_pcb_listen* pcb_ = nullptr;
  size_t backlog_ = 0;
  TcpOptions options_;
  std::deque<TcpEndpoint*> ready_;
  struct Brought {
    Fd socket;
    uint64_t since_ns;
    bool own = false;
  };
  std::deque<Brought> brought_;
  bool used_ = false;
  bool resting_ = false;  // no member of its port
  bool leaving_ = false;
  uint64_t leaving_since_ns_ = 0;
  uint32_t waiting_threads_ = 0;
  std::vector<TcpEndpoint*> embryonic_;
  SocketRecord* record_ = nullptr;
};

}  // namespace underpass
