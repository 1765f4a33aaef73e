// detach.cpp - `underpass detach` and `attach`: programs leave bypass while they run, and come back
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "tools/commands.h"
#include "tools/observer.h"
#include "xdp/broker_client.h"

namespace underpass {

namespace {

const char* name_of(const RelocateRequest& request) { return request.away ? "detach" : "attach"; }

std::string why_not(const RelocateRequest& request, int error) {
  switch (error) {
    case ESRCH:
      return fmt::format(
          "no program with pid {} is under Underpass on {}: `underpass stat -i {}` "
          "lists them",
          request.pid, request.iface, request.iface);
    case EPERM:
      return "programs of other users are asked by root only";
    case EBUSY:
      return "another request is being served: try again";
    case ETIMEDOUT:
      return "not every program has answered within some seconds; a stopped one does it when it "
             "goes on";
    default:
      return reason_of_silence(request.iface, error);
  }
}

const char* plural(uint32_t count) { return count == 1 ? "" : "s"; }

}  // namespace

int relocate(const RelocateRequest& request) {
  const auto done = BrokerClient::relocate(request.iface, request.away, request.pid);
  if (!done) {
    fmt::print(stderr, "underpass {}: {}\n", name_of(request), why_not(request, done.error()));
    return kExitNo;
  }
  const RelocationCount& connections = done->connections;
  fmt::print("{} program{}: {} connection{} {}", done->programs, plural(done->programs),
             connections.moved, plural(connections.moved),
             request.away ? "given to the kernel" : "taken from the kernel");
  if (connections.left != 0) {
    fmt::print(
        ", {} {}", connections.left,
        request.away ? "still bypassed (it is moved when it can be)" : "stay with the kernel");
  }
  fmt::print("\n");
  return connections.left != 0 ? kExitNo : 0;
}

}  // namespace underpass
