// fd.h - a file descriptor with one owner
#pragma once

#include <span>
#include <utility>

#include "base/result.h"
#include "base/sys.h"

namespace underpass {

// True for a number that move_out_of_the_way() has given out and that is still open: what a
// program's close(2), dup2(2) or closefrom(3) must not touch. Thread-safe, one load.
bool is_private_fd(int fd);
// The lowest such number from `from` on; -1: none.
int next_private_fd(int from);
// The highest number that is open and not such a one; -1 where /proc does not tell.
int highest_program_fd();
// Closes a descriptor of ours, private or not.
void close_own(int fd);
// Closes all that is private, but for `kept`: in the child of a fork, where their owners are gone.
void close_private_fds(std::span<const int> kept);

// Move-only; closes itself. Not thread-safe, as an int is not.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close_own(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

// Moves a descriptor of ours to a high number with close-on-exec set, out of the way of a program
// that expects the lowest free numbers, and above its RLIMIT_NOFILE where possible (fd_limit.h).
// Where that leaves no room, it stays where it is.
Fd move_out_of_the_way(Fd fd);
// The same for what make() opens (negative: it failed), also where the program has used up all
// numbers that its limit allows.
Fd make_out_of_the_way(long (*make)());
// Another descriptor of the same file, likewise. Invalid where there is no room.
Fd private_duplicate(int fd);
// The lowest number that move_out_of_the_way uses now.
int first_private_fd();
// How many numbers there are from there on.
size_t private_fd_room();

}  // namespace underpass
