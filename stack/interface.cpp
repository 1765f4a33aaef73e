// interface.cpp - attaching on the program's word; fork and exit of a program with no preload
#include <net/if.h>
#include <poll.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/options.h"
#include "stack/interface_use.h"
#include "stack/process.h"
#include "stack/socket.h"
#include "stack/waiter.h"

namespace underpass {

namespace {

// Constant-initialized, so that it is there before and after every static of the program.
constinit std::atomic<uint32_t> generation{0};
constinit std::atomic<uint32_t> interfaces{0};
constinit std::mutex naming;

void forget_files() { generation.fetch_add(1, std::memory_order_relaxed); }

void after_fork_in_child() {
  process_after_fork_child();
  forget_files();
  process_fork_is_over();
}

void at_exit() {
  forget_files();
  process_exit();
}

void hook_process_once() {
  static const bool done = [] {
    set_sleep_call(::ppoll);
    pthread_atfork(process_prepare_fork, process_after_fork_parent, after_fork_in_child);
    std::atexit(at_exit);
    std::at_quick_exit(at_exit);
    return true;
  }();
  static_cast<void>(done);
}

std::string reason(int error, const std::string& name) {
  switch (error) {
    case ECONNREFUSED:
      return "no broker runs for interface " + name + " (underpassd -i " + name + ")";
    case EACCES:
      return "the broker of interface " + name + " does not serve this user";
    case EUSERS:
      return "the broker of interface " + name + " has no slot free";
    default:
      return "attaching to the broker of interface " + name;
  }
}

void attach(const std::string& name) {
  Options options = options_from_environment();
  std::strcpy(options.iface, name.c_str());
  hook_process_once();
  auto attached = process_start(options);
  if (attached) attached = Process::instance().attach();
  if (!attached) throw IOError(attached.error(), reason(attached.error(), name));
}

}  // namespace

bool interface_is_named() { return interfaces.load(std::memory_order_relaxed) != 0; }
uint32_t process_generation() { return generation.load(std::memory_order_relaxed); }

Interface::Interface(const std::string& name) : name_(name) {
  if (name.size() >= IF_NAMESIZE || if_nametoindex(name.c_str()) == 0) {
    throw IOError(ENODEV, "there is no interface \"" + name + "\"");
  }
  const std::lock_guard<std::mutex> lock(naming);
  Process& process = Process::instance();
  if (!process.attach()) {
    attach(name);
  } else if (name != process.options().iface) {
    throw IOError(EBUSY, "interface " + name + ": this process has " + process.options().iface);
  }
  interfaces.fetch_add(1, std::memory_order_relaxed);
}

Interface::~Interface() { leave(); }

Interface::Interface(Interface&& other) noexcept : name_(std::move(other.name_)) {
  other.name_.clear();
}

Interface& Interface::operator=(Interface&& other) noexcept {
  if (this == &other) return *this;
  leave();
  name_ = std::move(other.name_);
  other.name_.clear();
  return *this;
}

void Interface::leave() noexcept {
  if (name_.empty()) return;
  interfaces.fetch_sub(1, std::memory_order_relaxed);
  name_.clear();
}

}  // namespace underpass
