// calls_descriptor.cpp - close, dup and their kin, pipes and files
#include <fcntl.h>
#include <sys/mman.h>
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

}  // namespace

void add_descriptor_calls(CallTable& table) {
  table.insert({{"close", call_close},
                {"dup", call_dup},
                {"dup2", call_dup2},
                {"dup3", call_dup3},
                {"fcntl", call_fcntl},
                {"pipe", call_pipe},
                {"file", call_file}});
}

}  // namespace diff
