// xsk_statistics.cpp - borrowing a descriptor to ask it one question
#include "tools/xsk_statistics.h"

#include <fmt/format.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "base/fd.h"

namespace underpass {

namespace fs = std::filesystem;

namespace {

// EACCES: the process is another user's.
Result<std::vector<int>> socket_fds(uint32_t pid) {
  std::vector<int> fds;
  std::error_code failure;
  fs::directory_iterator one(fmt::format("/proc/{}/fd", pid), failure);
  for (; !failure && one != fs::directory_iterator(); one.increment(failure)) {
    const std::string name = one->path().filename();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    std::error_code gone;
    if (fd >= 0 && fs::is_socket(one->path(), gone)) fds.push_back(fd);
  }
  if (failure) return Error{failure.value()};
  return fds;
}

bool is_xsk(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_XDP;
}

void add_socket(XskStatistics& sum, int fd) {
  xdp_statistics statistics{};
  socklen_t length = sizeof statistics;
  if (!is_xsk(fd) || ::getsockopt(fd, SOL_XDP, XDP_STATISTICS, &statistics, &length) != 0) return;
#define X(name, help) sum.name += statistics.name;
  UP_XSK_STATISTICS(X)
#undef X
  ++sum.sockets;
}

}  // namespace

XskStatistics& XskStatistics::operator+=(const XskStatistics& other) {
#define X(name, help) name += other.name;
  UP_XSK_STATISTICS(X)
#undef X
  sockets += other.sockets;
  return *this;
}

Result<XskStatistics> xsk_statistics(uint32_t pid) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return Error{errno};
  const auto fds = socket_fds(pid);
  if (!fds) return Error{fds.error()};
  XskStatistics sum;
  for (const int number : *fds) {
    const Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    // EBADF: closed since the list was made.
    if (!fd && errno != EBADF) return Error{errno};
    if (fd) add_socket(sum, fd.get());
  }
  return sum;
}

}  // namespace underpass
