// calls_stdio.cpp - stdio over a socket of ours: libc's own streams would read and write its kernel
// socket
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "shim/fd_table.h"
#include "shim/real.h"
#include "stack/stack_mutex.h"

namespace underpass {
namespace {

// A stream made by fopencookie(3) has no fileno(3) of its own.
struct Stream {
  FILE* file;
  int fd;
};

// Under the stack mutex, which fork(2) and signal handlers leave whole.
class Streams {
 public:
  static Streams& instance() {
    static Streams& streams = *new Streams;
    return streams;
  }
  void add(const Stream& stream) {
    const StackLock lock;
    streams_.push_back(stream);
    count_.store(streams_.size());
  }
  // -1: not one of ours.
  int fd_of(const FILE* file) {
    if (count_.load() == 0) return -1;
    const StackLock lock;
    const auto found = std::find_if(streams_.begin(), streams_.end(),
                                    [file](const Stream& one) { return one.file == file; });
    return found == streams_.end() ? -1 : found->fd;
  }
  void remove(int fd) {
    const StackLock lock;
    std::erase_if(streams_, [fd](const Stream& one) { return one.fd == fd; });
    count_.store(streams_.size());
  }

 private:
  std::vector<Stream> streams_;
  std::atomic<size_t> count_{0};
};

int fd_of(void* cookie) { return static_cast<int>(reinterpret_cast<intptr_t>(cookie)); }

ssize_t read_stream(void* cookie, char* data, size_t size) {
  return ::read(fd_of(cookie), data, size);
}

// fopencookie(3): 0, not -1, on error.
ssize_t write_stream(void* cookie, const char* data, size_t size) {
  const ssize_t written = ::write(fd_of(cookie), data, size);
  return written < 0 ? 0 : written;
}

int close_stream(void* cookie) {
  Streams::instance().remove(fd_of(cookie));
  return ::close(fd_of(cookie));
}

bool is_our_socket(int fd) {
  const HeldFile file(fd);
  return file.socket() != nullptr;
}

int write_all(int fd, const char* text, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t written = ::write(fd, text + done, size - done);
    if (written < 0) return -1;
    done += static_cast<size_t>(written);
  }
  return static_cast<int>(size);
}

__attribute__((format(printf, 2, 0))) int print(int fd, const char* format, va_list arguments) {
  char* text = nullptr;
  const int length = ::vasprintf(&text, format, arguments);
  if (length < 0) return -1;
  const int written = write_all(fd, text, static_cast<size_t>(length));
  ::free(text);
  return written;
}

}  // namespace
}  // namespace underpass

using namespace underpass;

UP_EXPORT FILE* fdopen(int fd, const char* mode) noexcept {
  if (!is_our_socket(fd)) return real().fdopen(fd, mode);
  constexpr cookie_io_functions_t kFunctions = {read_stream, write_stream, nullptr, close_stream};
  FILE* const file = ::fopencookie(reinterpret_cast<void*>(intptr_t{fd}), mode, kFunctions);
  if (file != nullptr) Streams::instance().add({file, fd});
  return file;
}

UP_EXPORT int fileno(FILE* file) noexcept {
  const int fd = Streams::instance().fd_of(file);
  return fd >= 0 ? fd : real().fileno(file);
}

UP_EXPORT int fileno_unlocked(FILE* file) noexcept {
  const int fd = Streams::instance().fd_of(file);
  return fd >= 0 ? fd : real().fileno_unlocked(file);
}

UP_EXPORT int dprintf(int fd, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = ::vdprintf(fd, format, arguments);
  va_end(arguments);
  return written;
}

UP_EXPORT int vdprintf(int fd, const char* format, va_list arguments) {
  if (!is_our_socket(fd)) return real().vdprintf(fd, format, arguments);
  return print(fd, format, arguments);
}

UP_EXPORT int __dprintf_chk(int fd, int flag, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = ::__vdprintf_chk(fd, flag, format, arguments);
  va_end(arguments);
  return written;
}

UP_EXPORT int __vdprintf_chk(int fd, int flag, const char* format, va_list arguments) {
  if (!is_our_socket(fd)) return real().__vdprintf_chk(fd, flag, format, arguments);
  return print(fd, format, arguments);
}
