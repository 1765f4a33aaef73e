// calls_data.cpp - every way to send and to receive
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/diff/executor/calls.h"

namespace diff {

namespace {

Outcome with_data(long result, const std::vector<Room>& rooms) {
  Outcome outcome(result);
  return outcome.add_data(rooms, result > 0 ? static_cast<size_t>(result) : 0);
}

Outcome call_send(Arguments& arguments) {
  const int fd = arguments.fd();
  const Bytes data = arguments.bytes();
  return Outcome(::send(fd, data.data, data.bytes, static_cast<int>(arguments.number())));
}

Outcome call_sendto(Arguments& arguments) {
  const int fd = arguments.fd();
  const Bytes data = arguments.bytes();
  const int flags = static_cast<int>(arguments.number());
  const Bytes to = arguments.bytes();
  return Outcome(::sendto(fd, data.data, data.bytes, flags, static_cast<const sockaddr*>(to.data),
                          static_cast<socklen_t>(to.bytes)));
}

Outcome call_write(Arguments& arguments) {
  const int fd = arguments.fd();
  const Bytes data = arguments.bytes();
  return Outcome(::write(fd, data.data, data.bytes));
}

Outcome call_recv(Arguments& arguments) {
  const int fd = arguments.fd();
  const Room room = arguments.room();
  const int flags = static_cast<int>(arguments.number());
  return with_data(::recv(fd, room.data, room.bytes, flags), {room});
}

Outcome call_recvfrom(Arguments& arguments) {
  const int fd = arguments.fd();
  const Room room = arguments.room();
  const int flags = static_cast<int>(arguments.number());
  const AddressRoom from = arguments.address_room();
  auto outcome =
      with_data(::recvfrom(fd, room.data, room.bytes, flags, from.address, from.length), {room});
  return outcome.add_address(from);
}

Outcome call_read(Arguments& arguments) {
  const int fd = arguments.fd();
  const Room room = arguments.room();
  return with_data(::read(fd, room.data, room.bytes), {room});
}

msghdr message_of(const Pieces& pieces) {
  msghdr message{};
  message.msg_iov = pieces.array;
  message.msg_iovlen = static_cast<size_t>(pieces.count);
  return message;
}

// Pieces, flags, a name, and bytes of control data.
Outcome call_sendmsg(Arguments& arguments) {
  const int fd = arguments.fd();
  msghdr message = message_of(arguments.pieces());
  const int flags = static_cast<int>(arguments.number());
  const Bytes to = arguments.bytes();
  message.msg_name = to.data;
  message.msg_namelen = static_cast<socklen_t>(to.bytes);
  const Bytes control = arguments.bytes();
  message.msg_control = control.data;
  message.msg_controllen = control.bytes;
  return Outcome(::sendmsg(fd, &message, flags));
}

Outcome call_sendmsg_null(Arguments& arguments) {
  const int fd = arguments.fd();
  return Outcome(::sendmsg(fd, nullptr, static_cast<int>(arguments.number())));
}

// The kinds of control data; their contents hold times and interface numbers.
std::string kinds_of(msghdr& message) {
  std::string kinds;
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    kinds += std::to_string(one->cmsg_level) + "/" + std::to_string(one->cmsg_type) + "/" +
             std::to_string(one->cmsg_len) + ",";
  }
  return kinds;
}

Outcome call_recvmsg(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  msghdr message = message_of(pieces);
  const int flags = static_cast<int>(arguments.number());
  const AddressRoom from = arguments.address_room();
  message.msg_name = from.address;
  message.msg_namelen = from.length == nullptr ? 0 : *from.length;
  const Room control = arguments.room();
  message.msg_control = control.data;
  message.msg_controllen = control.bytes;
  message.msg_flags = 0x55;
  const auto got = ::recvmsg(fd, &message, flags);
  auto outcome = with_data(got, pieces.rooms);
  if (!outcome.ok()) {
    return outcome.add("flags", message.msg_flags)
        .add("namelen", message.msg_namelen)
        .add("controllen", static_cast<long>(message.msg_controllen));
  }
  if (from.length != nullptr) *from.length = message.msg_namelen;
  outcome.add("flags", message.msg_flags).add_address(from);
  if (control.memory != nullptr) outcome.add("control", kinds_of(message));
  return outcome.add("controllen", static_cast<long>(message.msg_controllen));
}

Outcome call_recvmsg_null(Arguments& arguments) {
  const int fd = arguments.fd();
  return Outcome(::recvmsg(fd, nullptr, static_cast<int>(arguments.number())));
}

Outcome call_readv(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  return with_data(::readv(fd, pieces.array, pieces.count), pieces.rooms);
}

Outcome call_writev(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  return Outcome(::writev(fd, pieces.array, pieces.count));
}

Outcome call_preadv(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  return with_data(::preadv(fd, pieces.array, pieces.count, arguments.number()), pieces.rooms);
}

Outcome call_pwritev(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  return Outcome(::pwritev(fd, pieces.array, pieces.count, arguments.number()));
}

Outcome call_preadv2(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  const long offset = arguments.number();
  const int flags = static_cast<int>(arguments.number());
  return with_data(::preadv2(fd, pieces.array, pieces.count, offset, flags), pieces.rooms);
}

Outcome call_pwritev2(Arguments& arguments) {
  const int fd = arguments.fd();
  const Pieces pieces = arguments.pieces();
  const long offset = arguments.number();
  const int flags = static_cast<int>(arguments.number());
  return Outcome(::pwritev2(fd, pieces.array, pieces.count, offset, flags));
}

Outcome call_pread(Arguments& arguments) {
  const int fd = arguments.fd();
  const Room room = arguments.room();
  return with_data(::pread(fd, room.data, room.bytes, arguments.number()), {room});
}

Outcome call_pwrite(Arguments& arguments) {
  const int fd = arguments.fd();
  const Bytes data = arguments.bytes();
  return Outcome(::pwrite(fd, data.data, data.bytes, arguments.number()));
}

// Flags, then the pieces of each message and, where sent by address, all to the same.
Outcome call_sendmmsg(Arguments& arguments) {
  const int fd = arguments.fd();
  const int flags = static_cast<int>(arguments.number());
  const Bytes to = arguments.bytes();
  std::vector<mmsghdr> messages;
  while (!arguments.done()) {
    mmsghdr one{message_of(arguments.pieces()), 0x55};
    one.msg_hdr.msg_name = to.data;
    one.msg_hdr.msg_namelen = static_cast<socklen_t>(to.bytes);
    messages.push_back(one);
  }
  Outcome outcome(::sendmmsg(fd, messages.data(), static_cast<unsigned>(messages.size()), flags));
  for (const mmsghdr& one : messages) outcome.add("bytes", one.msg_len);
  return outcome;
}

// Flags, milliseconds (-1: none), then the pieces of each.
Outcome call_recvmmsg(Arguments& arguments) {
  const int fd = arguments.fd();
  const int flags = static_cast<int>(arguments.number());
  const long limit_ms = arguments.number();
  timespec limit{limit_ms / 1000, limit_ms % 1000 * 1000000};
  std::vector<Pieces> all;
  while (!arguments.done()) all.push_back(arguments.pieces());
  std::vector<mmsghdr> messages;
  for (const Pieces& pieces : all) messages.push_back({message_of(pieces), 0x55});
  Outcome outcome(::recvmmsg(fd, messages.data(), static_cast<unsigned>(messages.size()), flags,
                             limit_ms < 0 ? nullptr : &limit));
  for (long i = 0; i < outcome.result(); ++i) {
    const auto at = static_cast<size_t>(i);
    outcome.add("bytes", messages[at].msg_len).add("flags", messages[at].msg_hdr.msg_flags);
    outcome.add_data(all[at].rooms, messages[at].msg_len);
  }
  return outcome;
}

// Out, in, where from (-1: the file's own offset), how much.
Outcome call_sendfile(Arguments& arguments) {
  const int out = arguments.fd();
  const int in = arguments.fd();
  off_t offset = arguments.number();
  const bool own = offset == -1;
  Outcome outcome(
      ::sendfile(out, in, own ? nullptr : &offset, static_cast<size_t>(arguments.number())));
  return outcome.add("offset", offset).add("at", static_cast<long>(::lseek(in, 0, SEEK_CUR)));
}

Outcome call_splice(Arguments& arguments) {
  const int in = arguments.fd();
  const int out = arguments.fd();
  const auto bytes = static_cast<size_t>(arguments.number());
  return Outcome(
      ::splice(in, nullptr, out, nullptr, bytes, static_cast<unsigned>(arguments.number())));
}

Outcome call_tee(Arguments& arguments) {
  const int in = arguments.fd();
  const int out = arguments.fd();
  const auto bytes = static_cast<size_t>(arguments.number());
  return Outcome(::tee(in, out, bytes, static_cast<unsigned>(arguments.number())));
}

Outcome call_dprintf(Arguments& arguments) {
  const int fd = arguments.fd();
  const Bytes data = arguments.bytes();
  return Outcome(
      ::dprintf(fd, "%.*s", static_cast<int>(data.bytes), static_cast<const char*>(data.data)));
}

// What a program built with -D_FORTIFY_SOURCE calls.
extern "C" {
ssize_t __recv_chk(int, void*, size_t, size_t, int);
ssize_t __read_chk(int, void*, size_t, size_t);
}

Outcome call_recv_chk(Arguments& arguments) {
  const int fd = arguments.fd();
  const Room room = arguments.room();
  const int flags = static_cast<int>(arguments.number());
  return with_data(__recv_chk(fd, room.data, room.bytes, room.bytes, flags), {room});
}

Outcome call_read_chk(Arguments& arguments) {
  const int fd = arguments.fd();
  const Room room = arguments.room();
  return with_data(__read_chk(fd, room.data, room.bytes, room.bytes), {room});
}

// Longer than the first probes of a window that has closed.
constexpr int kQuietMs = 300;

bool becomes(int fd, short events) {
  pollfd one{fd, events, 0};
  return ::poll(&one, 1, kQuietMs) == 1 && (one.revents & events) != 0;
}

// Sends until nobody takes more. How much it was is the buffers' business.
Outcome call_fill(Arguments& arguments) {
  const int fd = arguments.fd();
  const std::string piece(16384, '#');
  ssize_t sent = 0;
  do {
    do {
      sent = ::send(fd, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent > 0);
  } while (sent < 0 && errno == EAGAIN && becomes(fd, POLLOUT));
  if (sent < 0 && errno != EAGAIN) return Outcome(-1);
  errno = EAGAIN;
  return Outcome(-1);
}

// Receives until nothing more comes. Of what fill sent, only that it was there.
Outcome call_drain(Arguments& arguments) {
  const int fd = arguments.fd();
  std::string all;
  std::string piece(65536, ' ');
  ssize_t got = 0;
  do {
    while ((got = ::recv(fd, piece.data(), piece.size(), MSG_DONTWAIT)) > 0) {
      for (const char byte : piece.substr(0, static_cast<size_t>(got))) {
        if (byte != '#' || all.empty() || all.back() != '#') all += byte;
      }
    }
  } while (got < 0 && errno == EAGAIN && becomes(fd, POLLIN));
  Outcome outcome(got);
  return outcome.add("data", all.size() > 400 ? all.substr(0, 400) : all);
}

}  // namespace

void add_data_calls(CallTable& table) {
  table.insert({{"send", call_send},         {"sendto", call_sendto},
                {"write", call_write},       {"recv", call_recv},
                {"recvfrom", call_recvfrom}, {"read", call_read},
                {"sendmsg", call_sendmsg},   {"sendmsg_null", call_sendmsg_null},
                {"recvmsg", call_recvmsg},   {"recvmsg_null", call_recvmsg_null},
                {"readv", call_readv},       {"writev", call_writev},
                {"preadv", call_preadv},     {"pwritev", call_pwritev},
                {"preadv2", call_preadv2},   {"pwritev2", call_pwritev2},
                {"pread", call_pread},       {"pwrite", call_pwrite},
                {"sendmmsg", call_sendmmsg}, {"recvmmsg", call_recvmmsg},
                {"sendfile", call_sendfile}, {"splice", call_splice},
                {"tee", call_tee},           {"dprintf", call_dprintf},
                {"recv_chk", call_recv_chk}, {"read_chk", call_read_chk},
                {"fill", call_fill},         {"drain", call_drain}});
}

}  // namespace diff
