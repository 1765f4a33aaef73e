// socket_names.cpp - where a socket is: bind(2), getsockname(2), getpeername(2)
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/user_pointer.h"
#include "stack/socket_file.h"
#include "stack/socket_parts.h"
#include "stack/udp_endpoint.h"

namespace underpass {

Result<void> check_room(const sockaddr* address, const socklen_t* length) {
  if (!is_user_object(length)) return Error{EFAULT};
  if (static_cast<int>(*length) < 0) return Error{EINVAL};
  if (!is_user_memory(address, *length)) return Error{EFAULT};
  return {};
}

Result<void> write_address(const SocketAddress& from, int family, sockaddr* address,
                           socklen_t* length) {
  auto usable = check_room(address, length);
  if (!usable) return usable;
  sockaddr_storage storage;
  const socklen_t real = from.to_sockaddr(family, storage);
  const socklen_t fits = std::min(*length, real);
  if (fits != 0) std::memcpy(address, &storage, fits);
  *length = real;
  return {};
}

SocketAddress SocketFile::kernel_name() const {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (sys::getsockname(fd_, address, &length) == 0) {
    auto name = SocketAddress::from_sockaddr(address, length);
    if (name && is_raw_socket()) name->port = protocol_;
    if (name) return *name;
  }
  return {IpAddress::any(family_), 0, 0};
}

bool SocketFile::can_bypass(const IpAddress& local) const {
  if (options_.kernel_only) return false;
  return local.is_any() || Process::instance().is_interface_address(local);
}

bool SocketFile::has_port() const {
  return (datagram_ != nullptr && datagram_->is_bound()) || kernel_name().port != 0;
}

Result<void> SocketFile::bind(const sockaddr* address, socklen_t length) {
  auto bound = from_kernel(sys::bind(fd_, address, length));
  if (!bound) return bound;
  const bool bypassed =
      can_bypass(kernel_name().ip) && (is_stream_socket() || open_datagram().ok());
  if (!bypassed) {
    leave_to_kernel();
  } else if (is_raw_socket()) {
    follow_kernel_name();  // it had the protocol before, on all addresses
  }
  return {};
}

Result<void> SocketFile::bind_kernel_to_any_port(const IpAddress& ip) {
  sockaddr_storage storage;
  const socklen_t length = SocketAddress{ip, 0, 0}.to_sockaddr(family_, storage);
  // Such a socket gets its port from the kernel's connect, which it will never see.
  int no_port = 0;
  socklen_t bytes = sizeof no_port;
  constexpr int kOff = 0;
  sys::getsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &no_port, &bytes);
  if (no_port != 0) {
    sys::setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &kOff, sizeof kOff);
  }
  auto bound = from_kernel(sys::bind(fd_, reinterpret_cast<sockaddr*>(&storage), length));
  if (no_port != 0) {
    sys::setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &no_port, sizeof no_port);
  }
  // Another thread has bound it meanwhile: just as good.
  if (!bound && bound.error() != EINVAL) return bound;
  return {};
}

Result<void> SocketFile::getsockname(sockaddr* address, socklen_t* length) {
  if (stream_ == nullptr) return from_kernel(sys::getsockname(fd_, address, length));
  return write_address(stream_->flow().local, family_, address, length);
}

Result<void> SocketFile::getpeername(sockaddr* address, socklen_t* length) {
  if (stream_ == nullptr) return from_kernel(sys::getpeername(fd_, address, length));
  // Once both ends have finished, the kernel's socket is closed and TIME_WAIT is another object.
  if (stream_->connecting() || stream_->gone() || stream_->state() == SocketState::kTimeWait) {
    return Error{ENOTCONN};
  }
  return write_address(stream_->flow().remote, family_, address, length);
}

}  // namespace underpass
