// call_cost.cpp - what the preload adds to read and write where the kernel serves the file
//
//   call_cost [--seconds=0.6] [--bytes=64]     seconds for each kind of file
//
// Under Underpass the program's `read` is the library's, and libc's own is found by its name: both
// are called on the same descriptors, in turns, so whatever else the machine does meets both.
// Prints JSON, for each kind of file the median ns of a call: of libc's ("kernel"), and what is
// added ("added"). Without Underpass both are libc's ("interposed" is false), and what is added is
// the error of this measurement.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "tools/bench/arguments.h"
#include "tools/bench/round_trips.h"
#include "tools/bench/sockets.h"

namespace underpass::bench {
namespace {

constexpr const char* kName = "call_cost";
// Long enough for the clock, short enough for most batches to be undisturbed.
constexpr size_t kPairsInBatch = 20;

struct Calls {
  decltype(&::read) read;
  decltype(&::write) write;
};

// What is written to `in` can be read from `out`.
struct File {
  const char* kind;
  int in;
  int out;
};

Calls calls_of_libc() {
  void* const libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  if (libc == nullptr) fail(kName, "there is no libc.so.6 in this program");
  return {reinterpret_cast<decltype(&::read)>(dlsym(libc, "read")),
          reinterpret_cast<decltype(&::write)>(dlsym(libc, "write"))};
}

// ns of a call, over one batch.
double batch_ns(const Calls& calls, const File& file, std::vector<char>& data) {
  const uint64_t start = now_ns();
  for (size_t i = 0; i < kPairsInBatch; ++i) {
    const auto bytes = static_cast<ssize_t>(data.size());
    if (calls.write(file.in, data.data(), data.size()) != bytes) fail(kName, "write", errno);
    if (calls.read(file.out, data.data(), data.size()) != bytes) fail(kName, "read", errno);
  }
  return static_cast<double>(now_ns() - start) / (2 * kPairsInBatch);
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<long>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void measure(const File& file, double seconds, size_t bytes) {
  const Calls libc = calls_of_libc();
  const Calls ours = {::read, ::write};
  std::vector<char> data(bytes);
  std::vector<double> kernel_ns;
  std::vector<double> added_ns;
  const uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
  while (now_ns() < end) {
    // Each is the first of the two every other time.
    const bool swapped = kernel_ns.size() % 2 != 0;
    const double first = batch_ns(swapped ? ours : libc, file, data);
    const double second = batch_ns(swapped ? libc : ours, file, data);
    kernel_ns.push_back(swapped ? second : first);
    added_ns.push_back(swapped ? first - second : second - first);
  }
  if (kernel_ns.empty()) fail(kName, "--seconds= is too short");
  std::printf("\"%s\": {\"kernel\": %.1f, \"added\": %.1f}", file.kind, median(kernel_ns),
              median(added_ns));
}

File pipe_file() {
  int ends[2];
  checked(pipe(ends), kName, "pipe");
  return {"pipe", ends[1], ends[0]};
}

File unix_file() {
  int ends[2];
  checked(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), kName, "socketpair");
  return {"unix", ends[0], ends[1]};
}

// The listener has both a kernel's and a bypassed side; a connection over loopback is the kernel's.
File loopback_file() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const int listener = server_socket(SOCK_STREAM, address, kName);
  socklen_t length = sizeof address;
  checked(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), kName,
          "getsockname");
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int client = connected_socket(SOCK_STREAM, address, kName);
  const int server = checked(accept(listener, nullptr, nullptr), kName, "accept");
  return {"loopback", client, server};
}

int run(const Arguments& arguments) {
  if (!arguments.words.empty()) fail(kName, "usage: call_cost [--seconds=S] [--bytes=N]");
  const double seconds = arguments.number("seconds", 0.6);
  const size_t bytes = arguments.count("bytes", 64);
  if (bytes == 0 || bytes > 4096) fail(kName, "--bytes= must be from 1 to 4096");
  // First of all, so that the library serves sockets while the others are measured.
  const File loopback = loopback_file();
  std::printf("{\"interposed\": %s, ", calls_of_libc().read == ::read ? "false" : "true");
  measure(pipe_file(), seconds, bytes);
  std::printf(", ");
  measure(unix_file(), seconds, bytes);
  std::printf(", ");
  measure(loopback, seconds, bytes);
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace underpass::bench

int main(int argc, char** argv) {
  using namespace underpass::bench;
  return run(Arguments(argc, argv, kName, {"seconds", "bytes"}));
}
