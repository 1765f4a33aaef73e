// calls_descriptor.cpp - close, dup and their kin, pipes and files
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/diff/executor/calls.h"

namespace diff {

namespace {

Outcome call_close(Arguments& arguments) { return Outcome(::close(arguments.fd())); }

Outcome call_dup(Arguments& arguments) { return Outcome(::dup(arguments.fd())); }

Outcome call_dup2(Arguments& arguments) {
  const int from = arguments.fd();
  return Outcome(::dup2(from, arguments.fd()));
}

Outcome call_dup3(Arguments& arguments) {
  const int from = arguments.fd();
  const int to = arguments.fd();
  return Outcome(::dup3(from, to, static_cast<int>(arguments.number())));
}

Outcome call_fcntl(Arguments& arguments) {
  const int fd = arguments.fd();
  const int command = static_cast<int>(arguments.number());
  return Outcome(::fcntl(fd, command, arguments.number()));
}

// The end to read from, and the one to write to; each in a name of its own.
Outcome call_pipe(Arguments& arguments) {
  int ends[2] = {-1, -1};
  Outcome outcome(::pipe2(ends, O_NONBLOCK));
  if (outcome.ok()) {
    arguments.slots().put(static_cast<size_t>(arguments.number()), ends[0]);
    arguments.slots().put(static_cast<size_t>(arguments.number()), ends[1]);
  }
  return outcome;
}

// A file of so many letters.
Outcome call_file(Arguments& arguments) {
  const Bytes content = arguments.bytes();
  const int fd = ::memfd_create("content", 0);
  if (fd >= 0 && ::pwrite(fd, content.data, content.bytes, 0) < 0) return Outcome(-1);
  return Outcome(fd);
}

// Of one number: what is around it is the executor's.
Outcome call_close_range(Arguments& arguments) {
  const auto fd = static_cast<unsigned>(arguments.fd());
  return Outcome(::close_range(fd, fd, static_cast<int>(arguments.number())));
}

extern "C" int isfdtype(int fd, int type) noexcept;

Outcome call_isfdtype(Arguments& arguments) {
  return Outcome(isfdtype(arguments.fd(), static_cast<int>(arguments.number())));
}

Outcome call_sockatmark(Arguments& arguments) { return Outcome(::sockatmark(arguments.fd())); }

Outcome call_socketpair(Arguments& arguments) {
  int ends[2] = {-1, -1};
  const int domain = static_cast<int>(arguments.number());
  return Outcome(::socketpair(domain, static_cast<int>(arguments.number()), 0, ends));
}

}  // namespace

void add_descriptor_calls(CallTable& table) {
  table.insert({{"close", call_close},
                {"dup", call_dup},
                {"dup2", call_dup2},
                {"dup3", call_dup3},
                {"fcntl", call_fcntl},
                {"pipe", call_pipe},
                {"file", call_file},
                {"close_range", call_close_range},
                {"isfdtype", call_isfdtype},
                {"sockatmark", call_sockatmark},
                {"socketpair", call_socketpair}});
}

}  // namespace diff
