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

bool is_carried(const IpAddress& ip) {
  return !ip.is_any() && !ip.is_multicast() && !ip.is_broadcast();
}

Result<void> check_room(const sockaddr* address, const socklen_t* length) {
  if (!is_user_object(length)) return Error{EFAULT};
  if (static_cast<int>(*length) < 0) return Error{EINVAL};
  if (!is_user_memory(address, *length)) return Error{EFAULT};
  return {};
}

socklen_t show_address(SocketAddress from, int family, sockaddr_storage& out) {
  from.scope_id = from.ip.is_link_local() ? interface_index() : 0;
  return from.to_sockaddr(family, out);
}

Result<void> write_address(const SocketAddress& from, int family, sockaddr* address,
                           socklen_t* length) {
  auto usable = check_room(address, length);
  if (!usable) return usable;
  sockaddr_storage storage;
  const socklen_t real = show_address(from, family, storage);
  const socklen_t fits = std::min(*length, real);
  if (fits != 0) std::memcpy(address, &storage, fits);
  *length = real;
  return {};
}

bool SocketFile::speaks(sa_family_t family) const {
  return family == family_ || (family_ == AF_INET6 && family == AF_INET && type_ == SOCK_DGRAM);
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

Binding SocketFile::kernel_binding() const {
  const SocketAddress local = kernel_name();
  if (local.ip != IpAddress::any(AF_INET6)) return local;
  int v6_only = 0;
  socklen_t bytes = sizeof v6_only;
  sys::getsockopt(fd_, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &bytes);
  return {local, v6_only != 0 ? Families::kOwn : Families::kBoth};
}

bool SocketFile::can_bypass(const SocketAddress& local) const {
  if (options_.kernel_only || Process::instance().relocation().away()) return false;
  if (local.ip.is_link_local() && local.scope_id != interface_index()) return false;
  return local.ip.is_any() || Process::instance().is_interface_address(local.ip);
}

bool SocketFile::reaches(const Binding& local, const SocketAddress& remote) {
  const bool same_family = local.address.ip.is_v4() == remote.ip.is_v4();
  if (!same_family && local.families != Families::kBoth) return false;
  if (!remote.ip.is_link_local()) return true;
  // bind(2) to a link-local address says the scope of what is sent to (inet6_bind()).
  const uint32_t bound = local.address.ip.is_link_local() ? local.address.scope_id : 0;
  const uint32_t scope = remote.scope_id != 0 ? remote.scope_id : bound;
  return scope == interface_index() && (bound == 0 || bound == scope);
}

bool SocketFile::has_port() const {
  return (datagram_ != nullptr && datagram_->is_bound()) || kernel_name().port != 0;
}

// Its kernel socket has no port, and would take one. One that has a port says what is wrong: of the
// address first (__inet_bind()), or that it has one already (__inet6_bind()).
Result<void> SocketFile::bind_accepted(const sockaddr* address, socklen_t length) {
  const Fd other(sys::socket(family_, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const SocketAddress anywhere{IpAddress::any(family_), 0, 0};
  const socklen_t bytes = anywhere.to_sockaddr(family_, storage);
  if (!other || sys::bind(other.get(), reinterpret_cast<sockaddr*>(&storage), bytes) < 0) {
    return Error{ENOBUFS};
  }
  return from_kernel(sys::bind(other.get(), address, length));
}

Result<void> SocketFile::bind(const sockaddr* address, socklen_t length) {
  if (accepted_ && stream_ != nullptr) return bind_accepted(address, length);
  auto bound = from_kernel(sys::bind(fd_, address, length));
  if (!bound) return bound;
  const bool bypassed = can_bypass(kernel_name()) && (is_stream_socket() || open_datagram().ok());
  if (!bypassed) {
    leave_to_kernel();
  } else if (is_raw_socket()) {
    follow_kernel_name();  // it had the protocol before, on all addresses
  }
  return {};
}

Result<void> SocketFile::bind_kernel_to_any_port(SocketAddress local) {
  sockaddr_storage storage;
  local.port = 0;
  const socklen_t length = local.to_sockaddr(family_, storage);
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
  if (placement_ == Placement::kUnplaced && name_without_stream_.port != 0) {
    return write_address(name_without_stream_, family_, address, length);
  }
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
