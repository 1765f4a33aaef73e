// calls_socket.cpp - sockets, names, options
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/diff/executor/calls.h"

namespace diff {

namespace {

Outcome call_socket(Arguments& arguments) {
  const int domain = static_cast<int>(arguments.number());
  const int type = static_cast<int>(arguments.number());
  const int protocol = static_cast<int>(arguments.number());
  return Outcome(::socket(domain, type, protocol));
}

template <class Function>
Outcome call_with_address(Arguments& arguments, Function function) {
  const int fd = arguments.fd();
  const Bytes address = arguments.bytes();
  return Outcome(function(fd, static_cast<const sockaddr*>(address.data),
                          static_cast<socklen_t>(address.bytes)));
}

Outcome call_bind(Arguments& arguments) { return call_with_address(arguments, ::bind); }

Outcome call_connect(Arguments& arguments) { return call_with_address(arguments, ::connect); }

Outcome call_listen(Arguments& arguments) {
  const int fd = arguments.fd();
  return Outcome(::listen(fd, static_cast<int>(arguments.number())));
}

Outcome call_shutdown(Arguments& arguments) {
  const int fd = arguments.fd();
  return Outcome(::shutdown(fd, static_cast<int>(arguments.number())));
}

template <class Function>
Outcome call_for_address(Arguments& arguments, Function function) {
  const int fd = arguments.fd();
  const AddressRoom room = arguments.address_room();
  Outcome outcome(function(fd, room.address, room.length));
  return outcome.add_address(room);
}

Outcome call_getsockname(Arguments& arguments) {
  return call_for_address(arguments, ::getsockname);
}

Outcome call_getpeername(Arguments& arguments) {
  return call_for_address(arguments, ::getpeername);
}

Outcome call_accept(Arguments& arguments) { return call_for_address(arguments, ::accept); }

Outcome call_accept4(Arguments& arguments) {
  const int fd = arguments.fd();
  const AddressRoom room = arguments.address_room();
  Outcome outcome(::accept4(fd, room.address, room.length, static_cast<int>(arguments.number())));
  return outcome.add_address(room);
}

Outcome call_setsockopt(Arguments& arguments) {
  const int fd = arguments.fd();
  const int level = static_cast<int>(arguments.number());
  const int name = static_cast<int>(arguments.number());
  const Bytes value = arguments.bytes();
  return Outcome(::setsockopt(fd, level, name, value.data, static_cast<socklen_t>(value.bytes)));
}

Outcome call_getsockopt(Arguments& arguments) {
  const int fd = arguments.fd();
  const int level = static_cast<int>(arguments.number());
  const int name = static_cast<int>(arguments.number());
  const Room room = arguments.room();
  socklen_t length = static_cast<socklen_t>(room.bytes);
  Outcome outcome(::getsockopt(fd, level, name, room.data, &length));
  if (!outcome.ok()) return outcome;
  return outcome.add("length", length).add_hex("value", room, length);
}

// The length's pointer alone is wrong.
Outcome call_getsockopt_no_length(Arguments& arguments) {
  const int fd = arguments.fd();
  const int level = static_cast<int>(arguments.number());
  const int name = static_cast<int>(arguments.number());
  int value = 0;
  return Outcome(::getsockopt(fd, level, name, &value, nullptr));
}

Outcome call_ioctl(Arguments& arguments) {
  const int fd = arguments.fd();
  const auto request = static_cast<unsigned long>(arguments.number());
  const std::string said = arguments.word();
  int value = static_cast<int>(std::strtol(said.c_str(), nullptr, 0));
  void* const at = said == "bad" ? reinterpret_cast<void*>(16) : said == "null" ? nullptr : &value;
  Outcome outcome(::ioctl(fd, request, at));
  return outcome.add("value", value);
}

}  // namespace

void add_socket_calls(CallTable& table) {
  table.insert({{"socket", call_socket},
                {"bind", call_bind},
                {"connect", call_connect},
                {"listen", call_listen},
                {"shutdown", call_shutdown},
                {"getsockname", call_getsockname},
                {"getpeername", call_getpeername},
                {"accept", call_accept},
                {"accept4", call_accept4},
                {"setsockopt", call_setsockopt},
                {"getsockopt", call_getsockopt},
                {"getsockopt_no_length", call_getsockopt_no_length},
                {"ioctl", call_ioctl}});
}

}  // namespace diff
