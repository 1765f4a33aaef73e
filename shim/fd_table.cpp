// fd_table.cpp - the array behind fd_table.h
#include "shim/fd_table.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>

#include "base/sys.h"

namespace underpass {

OpenFile* FdTable::entries_[kMaxFds];
std::atomic<int> FdTable::highest_{-1};

OpenFile* FdTable::find(int fd) {
  if (!maybe_ours(fd)) return nullptr;
  OpenFile* file = entry(fd).load(std::memory_order_relaxed);
  if (file == nullptr) return nullptr;
  file->come_over();
  if (!file->is_kernels()) return file;
  drop(fd);
  return nullptr;
}

OpenFile* FdTable::find_to_wait(int fd, Readiness events) {
  OpenFile* const file = find(fd);
  if (file == nullptr || (events & kReadable) == 0 || !file->begins_by_input()) return file;
  const Ref<OpenFile> alive(file);
  file->begin_input();
  return find(fd);
}

void FdTable::put(int fd, OpenFile* file) {
  if (fd < 0 || fd >= kMaxFds) return;
  if (entry(fd).load(std::memory_order_relaxed) != nullptr) drop(fd);
  file->ref();
  entry(fd).store(file, std::memory_order_release);
  highest_.store(std::max(highest_.load(std::memory_order_relaxed), fd), std::memory_order_relaxed);
}

void FdTable::drop(int fd) {
  if (!maybe_ours(fd)) return;
  OpenFile* const file = entry(fd).exchange(nullptr, std::memory_order_relaxed);
  if (file == nullptr) return;
  if (file->remove_fd(fd)) {
    file->last_close(fd);
  } else {
    file->notify(kRenumbered);
  }
  file->unref();
}

void FdTable::drop_range(unsigned first, unsigned last) {
  const int highest = highest_.load(std::memory_order_relaxed);
  if (highest < 0) return;
  const auto end = std::min(last, static_cast<unsigned>(highest));
  for (unsigned fd = first; fd <= end; ++fd) drop(static_cast<int>(fd));
}

void FdTable::come_over_for_exec() {
  const int highest = highest_.load(std::memory_order_relaxed);
  for (int fd = 0; fd <= highest; ++fd) {
    if (maybe_ours(fd) && (sys::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) find(fd);
  }
}

void FdTable::leave_for_exec() {
  const int highest = highest_.load(std::memory_order_relaxed);
  for (int fd = 0; fd <= highest; ++fd) {
    if (!maybe_ours(fd) || (sys::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0) continue;
    OpenFile* const file = find(fd);
    if (file != nullptr && file->socket() != nullptr) file->socket()->leave_for_exec();
  }
}

void FdTable::adopt_listeners() {
  DIR* const all = opendir("/proc/self/fd");
  if (all == nullptr) return;  // they are the kernel's
  while (const dirent* const one = readdir(all)) {
    const int fd = std::atoi(one->d_name);
    if (one->d_name[0] != '.' && fd != dirfd(all)) adopt_listener(fd);
  }
  closedir(all);
}

void FdTable::adopt_listener(int fd) {
  const Ref<SocketFile> file = SocketFile::adopt(fd);
  if (!maybe_ours(fd) && !file) return;
  StackLock lock;
  drop(fd);
  if (file) put(fd, file.get());
}

void FdTable::after_fork() {
  const int highest = highest_.load(std::memory_order_relaxed);
  for (int fd = 0; fd <= highest; ++fd) {
    OpenFile* const file = entry(fd).load(std::memory_order_relaxed);
    if (file == nullptr || file->stays_after_fork()) continue;
    entry(fd).store(nullptr, std::memory_order_relaxed);
  }
}

}  // namespace underpass
