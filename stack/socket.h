// socket.h - BSD sockets as a class: the public interface of libunderpass-socket
//
//   underpass::Interface eth("eth1");           // attaches to the broker of eth1
//   underpass::Socket socket;                   // AF_INET, SOCK_STREAM
//   socket.connect({"192.168.1.10", 5555});     // over AF_XDP, where eth1 leads there
//   socket.sendall("Hello World!");
//
// Installed as <underpass/socket.h>; needs C++17 and nothing else of Underpass.
//
// Which path: with an Interface, TCP and UDP through that interface are bypassed, as the
// table in README.md says; with none, or where it does not lead, a socket is the kernel's. Programs
// see no difference but speed. What is not said here is as Linux's sockets do it (socket(7), ip(7),
// tcp(7), udp(7), raw(7)); constants are the system's own, from <sys/socket.h> and <netinet/in.h>.
//
// Errors: every function that fails throws IOError, whose code() is Linux's errno and whose what()
// names the operation and the value that was wrong. What the program passes is looked at before
// anything is sent: EINVAL. Nothing raises SIGPIPE: a send to a peer that has gone is EPIPE.
//
// Threads: several may use one Socket at a time, and one may close it while others are blocked in
// it, as with a descriptor of the kernel; they go on until their call returns. Moving and
// destroying is for one thread alone.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#define UNDERPASS_PUBLIC __attribute__((visibility("default")))

namespace underpass {

// No time limit; no descriptor.
inline constexpr std::nullopt_t none = std::nullopt;

// An operation that failed: code() holds the errno, what() a sentence.
class UNDERPASS_PUBLIC IOError : public std::system_error {
 public:
  IOError(int error, const std::string& sentence);
  ~IOError() override;
};

// The time limit of settimeout(), SO_RCVTIMEO or SO_SNDTIMEO has passed. code() is ETIMEDOUT.
class UNDERPASS_PUBLIC Timeout : public IOError {
 public:
  explicit Timeout(const std::string& sentence);
  ~Timeout() override;
};

// The four numbers of "192.168.1.10". IOError EINVAL: not four decimal numbers from 0 to 255,
// without leading zeros, joined by dots (inet_pton(3)).
UNDERPASS_PUBLIC std::tuple<int, int, int, int> ip_to_tuple(std::string_view text);

namespace detail {

template <class T>
inline constexpr bool is_text = std::is_convertible_v<const T&, std::string_view>;
template <class T>
inline constexpr bool is_number = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// Of any integer, as one that says out of range where it is.
template <class T>
constexpr std::int64_t number(T value) {
  if constexpr (std::is_unsigned_v<T>) {
    return value > static_cast<T>(INT64_MAX) ? INT64_MAX : static_cast<std::int64_t>(value);
  } else {
    return static_cast<std::int64_t>(value);
  }
}

inline std::string_view text(std::string_view value) { return value; }
inline std::string_view text(const char* value) { return value == nullptr ? "" : value; }

}  // namespace detail

// Where a socket is or sends to. A value, made without a word from
//   "192.168.1.10"   (192, 168, 1, 10)   ("192.168.1.10", 8080)   (192, 168, 1, 10, 8080)
// in braces or as a std::tuple or std::pair; a port that is not given is 0. IPv6 as
// "fe80::1%eth1" and ("fe80::1%eth1", 8080), the scope an interface's name or number (RFC 4007 11).
// For AF_CAN the name of an interface, "can0". Host names are not resolved.
//
// IOError EINVAL: a port outside of 0 to 65535, one of four numbers outside of 0 to 255. What a
// text means depends on the socket's family: it is looked at when the address is used.
class UNDERPASS_PUBLIC Address {
 public:
  // Nobody's: what recvfrom() gives where there is no sender to name. Not to be sent to.
  Address() = default;

  template <class Text, std::enable_if_t<detail::is_text<Text>, int> = 0>
  Address(const Text& host) : Address(Parts{}, detail::text(host), 0) {}
  template <class Text, class Port,
            std::enable_if_t<detail::is_text<Text> && detail::is_number<Port>, int> = 0>
  Address(const Text& host, Port port)
      : Address(Parts{}, detail::text(host), detail::number(port)) {}
  template <class A, class B, class C, class D,
            std::enable_if_t<detail::is_number<A> && detail::is_number<B> && detail::is_number<C> &&
                                 detail::is_number<D>,
                             int> = 0>
  Address(A a, B b, C c, D d) : Address(a, b, c, d, 0) {}
  template <class A, class B, class C, class D, class Port,
            std::enable_if_t<detail::is_number<A> && detail::is_number<B> && detail::is_number<C> &&
                                 detail::is_number<D> && detail::is_number<Port>,
                             int> = 0>
  Address(A a, B b, C c, D d, Port port)
      : Address(Parts{}, detail::number(a), detail::number(b), detail::number(c), detail::number(d),
                detail::number(port)) {}
  template <class... Part,
            std::enable_if_t<
                (sizeof...(Part) > 1) && std::is_constructible_v<Address, const Part&...>, int> = 0>
  Address(const std::tuple<Part...>& parts) : Address(std::make_from_tuple<Address>(parts)) {}
  template <class Text, class Port,
            std::enable_if_t<std::is_constructible_v<Address, const Text&, const Port&>, int> = 0>
  Address(const std::pair<Text, Port>& parts) : Address(parts.first, parts.second) {}

  // As given; of a received address: numbers, with the scope of a link-local one. "": nobody's.
  const std::string& host() const { return host_; }
  // In host byte order.
  std::uint16_t port() const { return port_; }
  // "192.168.1.10:8080", "[fe80::1%eth1]:8080", "can0".
  std::string to_string() const;
  bool operator==(const Address& other) const {
    return host_ == other.host_ && port_ == other.port_;
  }
  bool operator!=(const Address& other) const { return !(*this == other); }

  // For programs that make system calls beside. `family` says what the text means; returns the
  // length. IOError EINVAL: it means nothing there. ENODEV: no such interface.
  socklen_t to_sockaddr(int family, sockaddr_storage& out) const;
  // Nobody's where `length` is 0. IOError EAFNOSUPPORT: neither AF_INET, AF_INET6 nor AF_CAN.
  static Address from_sockaddr(const sockaddr_storage& address, socklen_t length);

 private:
  struct Parts {};
  Address(Parts, std::string_view host, std::int64_t port);
  Address(Parts, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d, std::int64_t port);

  std::string host_;
  std::uint16_t port_ = 0;
};

// Bytes to be sent, of somebody else: a text (a literal without its final zero), a container
// (std::string, std::vector, std::array, ...), an array, or {pointer, bytes}.
class Bytes {
 public:
  Bytes(const void* data, std::size_t bytes) : data_(data), size_(bytes) {}
  template <std::size_t N>
  Bytes(const char (&text)[N]) : data_(text), size_(N != 0 && text[N - 1] == '\0' ? N - 1 : N) {}
  template <std::size_t N>
  Bytes(char (&array)[N]) : data_(array), size_(N) {}
  template <class T, std::size_t N,
            std::enable_if_t<std::is_trivially_copyable_v<T> && !std::is_same_v<T, char>, int> = 0>
  Bytes(const T (&array)[N]) : data_(array), size_(sizeof array) {}
  template <class Pointer,
            std::enable_if_t<std::is_same_v<Pointer, const char*> || std::is_same_v<Pointer, char*>,
                             int> = 0>
  Bytes(const Pointer& text) : Bytes(detail::text(text)) {}
  template <
      class Container,
      class Value = std::remove_pointer_t<decltype(std::declval<const Container&>().data())>,
      std::enable_if_t<std::is_trivially_copyable_v<Value> &&
                           std::is_integral_v<decltype(std::declval<const Container&>().size())>,
                       int> = 0>
  Bytes(const Container& container)
      : data_(container.data()), size_(container.size() * sizeof(Value)) {}

  const void* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const void* data_;
  std::size_t size_;
};

// Room for bytes, of somebody else: a container (its size() is the room), an array, or
// {pointer, bytes}.
class MutableBytes {
 public:
  MutableBytes(void* data, std::size_t bytes) : data_(data), size_(bytes) {}
  template <class T, std::size_t N,
            std::enable_if_t<std::is_trivially_copyable_v<T> && !std::is_const_v<T>, int> = 0>
  MutableBytes(T (&array)[N]) : data_(array), size_(sizeof array) {}
  template <class Container,
            class Value = std::remove_pointer_t<decltype(std::declval<Container&>().data())>,
            std::enable_if_t<std::is_trivially_copyable_v<Value> && !std::is_const_v<Value> &&
                                 std::is_integral_v<decltype(std::declval<Container&>().size())>,
                             int> = 0>
  MutableBytes(Container& container)
      : data_(container.data()), size_(container.size() * sizeof(Value)) {}

  void* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void* data_;
  std::size_t size_;
};

// The network interface that sockets bypass the kernel on, while an object of this class for it
// lives: sockets made before and after are the kernel's. A process has one interface; several
// objects of the same name share it. The attachment itself ends with the process, because
// connections need it.
//
// Options are the variables UNDERPASS_SPIN_US and the like (docs/operating.md), but for
// UNDERPASS_IFACE, which is not read.
class UNDERPASS_PUBLIC Interface {
 public:
  // Attaches to the interface's broker. IOError ENODEV: there is no such interface. ECONNREFUSED:
  // no broker runs for it (underpassd -i NAME). EACCES: the broker does not serve this user.
  // EUSERS: it has no slot free. EBUSY: the process has another interface.
  explicit Interface(const std::string& name);
  ~Interface();
  Interface(Interface&& other) noexcept;
  Interface& operator=(Interface&& other) noexcept;
  Interface(const Interface&) = delete;
  Interface& operator=(const Interface&) = delete;

  const std::string& name() const { return name_; }

 private:
  void leave() noexcept;

  std::string name_;  // "": moved away
};

class SocketHandle;

// An open socket; closes itself.
class UNDERPASS_PUBLIC Socket {
 public:
  // socket(2). `family` is AF_INET, AF_INET6 or AF_CAN; `type` is SOCK_STREAM, SOCK_DGRAM or
  // SOCK_RAW, with SOCK_NONBLOCK and SOCK_CLOEXEC. The default protocol means UDP with SOCK_DGRAM,
  // and CAN_RAW with AF_CAN and SOCK_RAW.
  //
  // With `fileno` it adopts that open descriptor, which is the kernel's and stays so; family, type
  // and protocol are the descriptor's own then, and what is given is not looked at.
  //
  // IOError EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT: the kernel has no such socket. EPERM:
  // SOCK_RAW needs CAP_NET_RAW. EMFILE, ENFILE: too many are open. EBADF, ENOTSOCK: `fileno` is no
  // socket; it stays as it is.
  explicit Socket(int family = AF_INET, int type = SOCK_STREAM, int proto = IPPROTO_TCP,
                  std::optional<int> fileno = none);
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // The descriptor of the kernel socket that is behind every socket; -1: closed. It names the
  // socket in /proc and in calls of the kernel, which do not see what is bypassed: poll(2) does not
  // tell when a bypassed socket is readable.
  int fileno() const;
  // close(2), with SO_LINGER where that is set. A second time does nothing. Every other function
  // throws EBADF afterwards.
  void close();

  // bind(2). A bare port is one of the local address, 0.0.0.0 or ::; port 0 is one that the kernel
  // chooses. EADDRINUSE, EADDRNOTAVAIL, EACCES: as there.
  void bind(const Address& address);
  template <class Port, std::enable_if_t<detail::is_number<Port>, int> = 0>
  void bind(Port port) {
    bind_port(detail::number(port));
  }
  // listen(2): up to `maxlog` connections wait to be accepted.
  void listen(int maxlog = 2);
  // accept(2): waits for a connection; who is at the other end.
  std::pair<Socket, Address> accept();
  // connect(2): waits until the connection stands. A datagram socket that is connected sends there
  // without an address and takes datagrams from nobody else. ECONNREFUSED, ENETUNREACH,
  // EHOSTUNREACH, ETIMEDOUT: as there. EINPROGRESS: of a non-blocking socket.
  void connect(const Address& address);
  // shutdown(2): SHUT_RD, SHUT_WR or SHUT_RDWR.
  void shutdown(int how);
  Address getsockname() const;
  // ENOTCONN: not connected.
  Address getpeername() const;

  // At most `bufsize` bytes. On a stream it waits until there are `bufsize` of them, the peer has
  // closed, an error has occurred or the time limit has passed, and returns what there is; "" is
  // the end of the stream. Of any other socket it returns one datagram, cut to `bufsize`. With
  // MSG_DONTWAIT, or non-blocking, it takes what is there.
  //
  // `bufsize` is 1 to 2147483647. `flags`: MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_TRUNC, MSG_OOB,
  // MSG_ERRQUEUE (recv(2)). Timeout: nothing has come in time. EAGAIN: nothing is there, and it may
  // not wait. ECONNRESET, ETIMEDOUT, EINTR: as in recv(2).
  std::string recv(std::int64_t bufsize, int flags = 0);
  // The same into `buffer`; returns how many bytes came (with MSG_TRUNC, how long the datagram is).
  // Without `bufsize`, or with one below 0, up to the buffer's size; more than that is EINVAL.
  std::size_t recv_into(MutableBytes buffer, std::int64_t bufsize = -1, int flags = 0);
  // Waits for one datagram, and says from where it came. On a stream: for any bytes, from nobody.
  std::pair<std::string, Address> recvfrom(std::int64_t bufsize, int flags = 0);
  std::pair<std::size_t, Address> recvfrom_into(MutableBytes buffer, std::int64_t bufsize = -1,
                                                int flags = 0);

  // How many bytes went, possibly fewer than there are. `flags`: MSG_DONTWAIT, MSG_MORE, MSG_OOB,
  // MSG_DONTROUTE, MSG_CONFIRM, MSG_EOR, MSG_NOSIGNAL (send(2)). Timeout, EAGAIN: no room in time,
  // none now. EPIPE, ECONNRESET: the peer has gone. EMSGSIZE: too long for one datagram.
  std::size_t send(Bytes buffer, int flags = 0);
  // All bytes. After an error it is not known how many have gone.
  void sendall(Bytes buffer, int flags = 0);
  std::size_t sendto(Bytes buffer, const Address& address, int flags = 0);

  // The time limit, in milliseconds, of each operation that waits: past it, Timeout is thrown. 0:
  // the socket is non-blocking, and what would wait is EAGAIN. none: it waits for ever, as at
  // first. It is SO_RCVTIMEO and SO_SNDTIMEO, which accepted sockets inherit. EINVAL: below 0.
  void settimeout(std::optional<std::int64_t> limit_ms);

  // setsockopt(2) and getsockopt(2), of an int (SO_REUSEADDR) or of what the option needs (a
  // timeval for SO_RCVTIMEO). ENOPROTOOPT: no such option. EINVAL: the value's size is wrong.
  template <class Value, std::enable_if_t<std::is_trivially_copyable_v<Value>, int> = 0>
  void setsockopt(int level, int name, const Value& value) {
    set_option(level, name, {&value, sizeof value});
  }
  template <class Value = int, std::enable_if_t<std::is_trivially_copyable_v<Value>, int> = 0>
  Value getsockopt(int level, int name) const {
    Value value{};
    get_option(level, name, {&value, sizeof value});
    return value;
  }

 private:
  explicit Socket(std::unique_ptr<SocketHandle> handle);
  void bind_port(std::int64_t port);
  void set_option(int level, int name, Bytes value);
  void get_option(int level, int name, MutableBytes value) const;
  SocketHandle& handle(const char* operation) const;

  std::unique_ptr<SocketHandle> handle_;  // null: moved away
};

}  // namespace underpass
