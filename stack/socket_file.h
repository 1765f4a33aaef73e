// socket_file.h - an open socket of the program: its kernel socket and, once placed, its endpoint
//
// What `struct file` and `struct socket` are to the kernel: dup'ed fds share one SocketFile. The
// shim and the public Socket class call these verbs under the stack lock; each behaves as the
// system call of its name (its man page is the contract) and blocks according to O_NONBLOCK,
// MSG_DONTWAIT, SO_RCVTIMEO and SO_SNDTIMEO. Whoever waits gives the lock away meanwhile.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>

#include "base/ref.h"
#include "base/result.h"
#include "stack/error_queue.h"
#include "stack/groups.h"
#include "stack/host_view.h"
#include "stack/open_file.h"
#include "stack/port_claims.h"
#include "stack/socket_options.h"
#include "stack/stack_mutex.h"
#include "stack/tcp_endpoint.h"
#include "stack/waiter.h"

namespace underpass {

class TcpListener;
class UdpEndpoint;
struct Datagram;

enum class Placement : uint8_t {
  kUnplaced,   // created, perhaps bound; the kernel socket answers for it
  kKernel,     // for good: the caller forgets this object and uses the fd directly
  kStream,     // a TCP connection of the stack (connecting, connected or closed)
  kListener,   // hybrid: listens in the kernel and in the stack
  kDatagram,   // hybrid UDP, or raw
  kParents,    // a connection in the process that has forked us, see come_over()
  kLent,       // a connection that the kernel has, and may give back: see lend()
  kMoving,     // the same, while it is given back: nobody sees it so
  kInherited,  // a hybrid listener of the process that has forked us: the kernel's, see accept()
};

class SocketFile;

struct Accepted {
  int fd = -1;           // a new descriptor, with SOCK_CLOEXEC and SOCK_NONBLOCK as asked
  Ref<SocketFile> file;  // null: the connection is the kernel's
};

class SocketFile : public OpenFile, private EndpointOwner {
 public:
  // Adopts a fresh kernel socket. Null where nothing can ever be bypassed (no attachment possible,
  // family or type not ours): the fd then stays the kernel's.
  static Ref<SocketFile> create(int fd, int family, int type, int protocol)
      UP_EXCLUDES(stack_mutex);
  // The same for SOCK_RAW. Null also for TCP, UDP, ICMP and ICMPv6, whose raw sockets are the
  // kernel's, and for IPPROTO_RAW, which receives nothing.
  static Ref<SocketFile> create_raw(int fd, int type, int protocol) UP_EXCLUDES(stack_mutex);
  // A TCP listener that this process has not made: it had it from the beginning, or was passed it.
  // Null: it is none.
  static Ref<SocketFile> adopt(int fd) UP_EXCLUDES(stack_mutex);
  ~SocketFile() override;

  Placement placement() const UP_REQUIRES(stack_mutex) { return placement_; }
  // Of a connection that was dissolved: the kernel socket does not know of it.
  bool has_pending_error() const UP_REQUIRES(stack_mutex) { return pending_error_ != 0; }
  bool is_stream_socket() const { return type_ == SOCK_STREAM; }
  bool is_raw_socket() const { return type_ == SOCK_RAW; }

  Result<void> bind(const sockaddr* address, socklen_t length) UP_REQUIRES(stack_mutex);
  // Nothing: the kernel must do it, alone and for good; connect(2) on fd(), without the lock.
  std::optional<Result<void>> connect(const sockaddr* address, socklen_t length)
      UP_REQUIRES(stack_mutex);
  Result<void> listen(int backlog) UP_REQUIRES(stack_mutex);
  Result<Accepted> accept(sockaddr* address, socklen_t* length, int flags) UP_REQUIRES(stack_mutex);
  // No SIGPIPE is raised here: EPIPE is returned, the border raises the signal.
  Result<size_t> sendmsg(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  Result<size_t> recvmsg(msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  // recvmmsg(2): how many of the `count` messages were received. The time is looked at after each
  // (BUGS); MSG_WAITFORONE is among the flags.
  Result<size_t> recvmmsg(mmsghdr* messages, size_t count, int flags, Deadline deadline)
      UP_REQUIRES(stack_mutex);
  // How many bytes a send would take at once: at least one, or the error that it would have.
  Result<size_t> wait_for_room() UP_REQUIRES(stack_mutex);
  Result<void> shutdown(int how) UP_REQUIRES(stack_mutex);
  // A connection of the stack becomes the kernel's, with every number and byte, and this file with
  // it, for good. An error, and it stays as it was: TcpEndpoint::move_out(); EINVAL: it is none.
  Result<void> move_out() UP_REQUIRES(stack_mutex);
  // The same, but calls stay ours, and the connection can come back with move_in(); unless another
  // process may have it: then it is the kernel's for good.
  Result<void> lend() UP_REQUIRES(stack_mutex);
  // A connection that is lent becomes the stack's again. EPERM: it is the kernel's for good now.
  // Other errors, HostView::move_in()'s, leave it lent. EBUSY: too much to be sent.
  Result<void> move_in() UP_REQUIRES(stack_mutex);
  // One that is lent does not come back: others get it, too.
  void stay_in_kernel() UP_REQUIRES(stack_mutex);
  // Another process is about to have it, by SCM_RIGHTS: a connection is the kernel's from now on,
  // and what nobody has accepted of a listener is for both.
  void pass() UP_REQUIRES(stack_mutex);
  // It is about to survive an exec(3). Should that fail, it goes on as one that is inherited.
  void leave_for_exec() UP_REQUIRES(stack_mutex);
  Result<void> getsockname(sockaddr* address, socklen_t* length) UP_REQUIRES(stack_mutex);
  Result<void> getpeername(sockaddr* address, socklen_t* length) UP_REQUIRES(stack_mutex);
  Result<void> getsockopt(int level, int name, void* value, socklen_t* length)
      UP_REQUIRES(stack_mutex);
  Result<void> setsockopt(int level, int name, const void* value, socklen_t length)
      UP_REQUIRES(stack_mutex);
  Result<int> ioctl(unsigned long request, void* argument) UP_REQUIRES(stack_mutex);
  // F_GETFL and F_SETFL only; everything else is for the kernel's fd.
  Result<int> fcntl_flags(int command, int flags) UP_REQUIRES(stack_mutex);

  SocketFile* socket() override { return this; }
  bool is_kernels() const UP_REQUIRES(stack_mutex) override {
    return placement_ == Placement::kKernel;
  }
  bool stays_after_fork() UP_REQUIRES(stack_mutex) override;
  void come_over() UP_REQUIRES(stack_mutex) override;
  bool begins_by_input() const UP_REQUIRES(stack_mutex) override {
    return placement_ == Placement::kInherited || listener_ != nullptr;
  }
  void begin_input() UP_REQUIRES(stack_mutex) override;
  bool is_listener() const UP_REQUIRES(stack_mutex) override { return listener_ != nullptr; }
  void waits(bool on) UP_REQUIRES(stack_mutex) override;
  // The kernel socket is kept under a private number while the connection still has data, a FIN or
  // TIME_WAIT to see through (the port stays ours).
  void last_close(int fd) UP_REQUIRES(stack_mutex) override;
  void call_begins() UP_REQUIRES(stack_mutex) override { ++calls_; }
  void call_ends() UP_REQUIRES(stack_mutex) override {
    if (--calls_ == 0 && closing_) close_now(closing_.get(), false);
  }

  // What poll(2) would report of the bypassed side (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP,
  // EPOLLERR, EPOLLPRI; the same bits as POLL*). For kUnplaced and kKernel always 0: ask the
  // kernel.
  Readiness readiness() const UP_REQUIRES(stack_mutex) override;
  // The events for which the kernel socket must be asked too: everything while unplaced, EPOLLIN
  // for a listener, EPOLLIN|EPOLLERR for UDP, nothing for a stream. Changes are notified as
  // kPlacementChanged.
  Readiness kernel_events() const UP_REQUIRES(stack_mutex) override;
  // A poll of the kernel side has said these events: the next accept or recv looks there first.
  void hint_kernel_ready(Readiness events) UP_REQUIRES(stack_mutex) override;

 private:
  SocketFile(int fd, int family, int type, uint8_t protocol);

  void endpoint_event(Readiness events) UP_REQUIRES(stack_mutex) override;
  void endpoint_moves_out(bool may_return) UP_REQUIRES(stack_mutex) override {
    static_cast<void>((may_return ? lend() : move_out()).ok());  // what cannot be moved stays
  }
  void endpoint_relocated() UP_REQUIRES(stack_mutex) override { follow_groups(); }
  void endpoint_urgent() UP_REQUIRES(stack_mutex) override;
  bool endpoint_is_shared() const UP_REQUIRES(stack_mutex) override;
  void endpoint_leaves() UP_REQUIRES(stack_mutex) override;
  // The kernel's listener is the stack's as well. False: it stays the kernel's alone.
  bool open_listener(size_t backlog) UP_REQUIRES(stack_mutex);
  void place(Placement placement) UP_REQUIRES(stack_mutex);
  // For as long as one of our own verbs runs.
  class Call {
   public:
    explicit Call(SocketFile& file) UP_NO_THREAD_SAFETY : file_(&file) { file_->call_begins(); }
    ~Call() UP_NO_THREAD_SAFETY { file_->call_ends(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Ref<SocketFile> file_;
  };

  // Waits until `events` may have come, in the stack or in the kernel. EAGAIN: not allowed to block
  // or timed out. EINTR: a signal whose handler does not have calls restarted, or any handled
  // signal if the call has `done` something already.
  Result<void> wait_for(Readiness events, bool may_block, Deadline deadline, bool done = false)
      UP_REQUIRES(stack_mutex);
  // The same, where the kernel socket is polled for other events than kernel_events().
  Result<void> wait_beside(Readiness events, short kernel_events, Deadline deadline, bool done)
      UP_REQUIRES(stack_mutex);
  void close_now(int fd, bool may_linger) UP_REQUIRES(stack_mutex);
  Deadline receive_deadline() const;
  Deadline send_deadline() const;

  // Whether an address of this family means something to it: an IPv6 datagram socket takes IPv4's,
  // too (udpv6_sendmsg() and ip6_datagram_connect() in net/ipv6).
  bool speaks(sa_family_t family) const;
  SocketAddress kernel_name() const;
  // The same, and whether that is IPv4's port as well.
  Binding kernel_binding() const;
  bool has_port() const UP_REQUIRES(stack_mutex);
  Result<void> bind_accepted(const sockaddr* address, socklen_t length) UP_REQUIRES(stack_mutex);
  // Of that address, which is bound to already if it is no wildcard.
  Result<void> bind_kernel_to_any_port(SocketAddress local) UP_REQUIRES(stack_mutex);
  bool can_bypass(const SocketAddress& local) const UP_REQUIRES(stack_mutex);
  // Whether a socket that is bound so can send there, over the interface.
  static bool reaches(const Binding& local, const SocketAddress& remote) UP_REQUIRES(stack_mutex);
  // Nothing: it does not lead over the bypassed interface, or from an address that is not its own.
  std::optional<Route> route_through_interface(const SocketAddress& remote) const
      UP_REQUIRES(stack_mutex);
  std::optional<Result<void>> connect_stream(const SocketAddress& remote, const Route& route)
      UP_REQUIRES(stack_mutex);
  Result<void> finish_connect() UP_REQUIRES(stack_mutex);
  Result<void> connect_datagram(const SocketAddress& remote, const sockaddr* address,
                                socklen_t length) UP_REQUIRES(stack_mutex);
  // Gives it a port, if it has none.
  Result<void> open_datagram() UP_REQUIRES(stack_mutex);
  void follow_kernel_name() UP_REQUIRES(stack_mutex);
  // After whatever may change which groups are received directly.
  void follow_groups() UP_REQUIRES(stack_mutex);
  void close_datagram() UP_REQUIRES(stack_mutex);
  void leave_to_kernel() UP_REQUIRES(stack_mutex);
  // The kernel socket is O_NONBLOCK, whatever the program has set.
  bool hides_nonblocking() const UP_REQUIRES(stack_mutex) {
    return placement_ == Placement::kListener || placement_ == Placement::kInherited;
  }
  Result<void> shutdown_datagram(int how) UP_REQUIRES(stack_mutex);
  void stop_listening() UP_REQUIRES(stack_mutex);
  Result<Accepted> take_bypassed(sockaddr* address, socklen_t* length, int flags)
      UP_REQUIRES(stack_mutex);
  Result<Accepted> take_brought(sockaddr* address, socklen_t* length, int flags)
      UP_REQUIRES(stack_mutex);
  Result<Accepted> take_from_kernel(sockaddr* address, socklen_t* length, int flags)
      UP_REQUIRES(stack_mutex);
  Result<size_t> send_connecting(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  Result<size_t> send_stream(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  // `is_next`: of the messages of one recvmmsg(2) it is not the first, so that a signal ends it.
  Result<size_t> receive_message(msghdr& message, int flags, bool is_next) UP_REQUIRES(stack_mutex);
  Result<size_t> receive(msghdr& message, int flags, bool is_next) UP_REQUIRES(stack_mutex);
  Result<size_t> send_stream_bytes(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  Result<size_t> receive_stream(msghdr& message, int flags, bool is_next) UP_REQUIRES(stack_mutex);
  // `arrived_ns`: when the last byte came, as TcpEndpoint::arrived_ns().
  Result<size_t> receive_stream_bytes(msghdr& message, int flags, bool is_next,
                                      uint64_t* arrived_ns) UP_REQUIRES(stack_mutex);
  void write_stream_control(msghdr& message, size_t room_bytes, uint64_t arrived_ns)
      UP_REQUIRES(stack_mutex);
  Result<size_t> send_datagram(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  Result<size_t> send_datagram_by_kernel(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  Result<size_t> receive_datagram(msghdr& message, int flags, bool is_next)
      UP_REQUIRES(stack_mutex);
  Result<size_t> receive_datagram_from_kernel(msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  IpAddress answering(const Datagram& datagram) const UP_REQUIRES(stack_mutex);
  size_t header_bytes(const IpAddress& to) const;
  bool pending_kernel_error() UP_REQUIRES(stack_mutex);
  void apply_options() UP_REQUIRES(stack_mutex);
  void note_options_of_listener() UP_REQUIRES(stack_mutex);
  bool is_closed() const UP_REQUIRES(stack_mutex);
  void discard_stream() UP_REQUIRES(stack_mutex);
  Result<void> disconnect_stream() UP_REQUIRES(stack_mutex);
  int dissolved_error(int otherwise) UP_REQUIRES(stack_mutex);
  Result<void> get_peer_name(void* value, socklen_t length) UP_REQUIRES(stack_mutex);
  Result<void> get_path_mtu(void* value, socklen_t* length) UP_REQUIRES(stack_mutex);
  Result<void> get_stream_option(int level, int name, void* value, socklen_t* length)
      UP_REQUIRES(stack_mutex);
  bool refuses_option(int level, int name, const void* value, socklen_t length) const
      UP_REQUIRES(stack_mutex);
  void linger(uint64_t limit_ns) UP_REQUIRES(stack_mutex);
  // A connection that the kernel has accepted, if it came over the interface: lent from the start.
  Ref<SocketFile> borrow(int fd, int flags) UP_REQUIRES(stack_mutex);
  Result<void> give_to_kernel(bool may_return) UP_REQUIRES(stack_mutex);
  void became_lent(const FourTuple& flow) UP_REQUIRES(stack_mutex);
  // Before the kernel's queue is limited, once it has been set, and for good.
  void keep_buffers_shown();
  void note_buffers_set(int name);
  void restore_buffers();
  bool may_come_back() const UP_REQUIRES(stack_mutex);
  Result<size_t> send_lent(const msghdr& message, int flags) UP_REQUIRES(stack_mutex);
  Result<size_t> receive_lent(msghdr& message, int flags, bool is_next) UP_REQUIRES(stack_mutex);
  Result<size_t> wait_for_lent_room() UP_REQUIRES(stack_mutex);
  // A call that has been waiting goes on there, where the connection has moved meanwhile.
  Result<size_t> go_on(const msghdr& message, int flags, size_t done, bool sends)
      UP_REQUIRES(stack_mutex);
  Result<size_t> go_on_in_kernel(const msghdr& message, int flags, size_t done, bool sends)
      UP_REQUIRES(stack_mutex);

  int family_;  // IPV6_ADDRFORM makes AF_INET of AF_INET6
  const int type_;
  const uint8_t protocol_;
  Placement placement_ = Placement::kUnplaced;
  bool nonblocking_ = false;
  bool async_ = false;            // O_ASYNC
  uint32_t waiting_to_read_ = 0;  // threads: they get no SIGIO for what they wait for
  bool accepted_ = false;
  bool connect_reported_ = false;  // a blocking connect was interrupted or returned EINPROGRESS
  bool connect_succeeded_ = false;
  // It had failed, and was shut before anybody learnt of it: SS_DISCONNECTING.
  bool connect_shut_ = false;
  // What getsockname(2) says once the connection is gone, where the kernel socket has another name.
  SocketAddress name_without_stream_{};
  uint32_t disconnects_ = 0;  // sk_disconnects
  // sk_err of one whose connection was dissolved, or of what ended a recvmmsg(2) that had
  // something.
  int pending_error_ = 0;
  bool shut_read_ = false;  // of a datagram socket, or a connection that is lent
  bool shut_write_ = false;
  Groups groups_;
  bool has_port_alone_ = false;  // the kernel lets nobody else bind the port of a datagram socket
  bool corked_ = false;          // the kernel holds the beginning of a datagram (MSG_MORE)
  uint32_t calls_ = 0;           // in progress
  Fd closing_;                   // closed by the program while there were calls
  bool kernel_ready_ = true;     // nobody has looked yet
  uint64_t kernel_checked_ns_ = 0;
  uint32_t empty_looks_ = 0;  // one after the other
  uint64_t error_checked_ns_ = 0;
  uint32_t error_checks_ = 0;  // since it was connected, or since the last error
  int kernel_error_ = 0;
  uint32_t kernel_turn_ = 0;
  SocketOptions options_;
  // What the program would see, had the kernel's queue not been limited for the way back.
  struct ShownBuffers {
    int send_bytes;  // SO_SNDBUF
    int locks;       // SO_BUF_LOCK
  };
  std::optional<ShownBuffers> shown_buffers_;
  bool shared_ = false;  // a listener that other processes have, too
  bool joined_ = false;  // as one that is inherited: it has been tried to have it in the stack
  size_t inherited_backlog_ = 0;
  // A child of a later fork may have it, too.
  const uint64_t forks_before_;
  uint64_t forks_at_loan_ = 0;  // of one that is lent, as its flow
  FourTuple lent_flow_{};
  int line_to_parent_ = -1;  // of kParents, as its flow
  FourTuple parents_flow_{};
  ErrorQueue errors_;
  TcpEndpoint* stream_ = nullptr;
  TcpListener* listener_ = nullptr;
  UdpEndpoint* datagram_ = nullptr;
};

}  // namespace underpass
