// splicing.cpp - splice, tee, vmsplice and sendfile between pipes, files and connections
#include <sys/mman.h>
#include <sys/sendfile.h>

#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

struct Pipe {
  Pipe() { must("pipe", pipe(ends)); }
  ~Pipe() {
    close_reader();
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const { return ends[0]; }
  int writer() const { return ends[1]; }
  void close_reader() { close_one(ends[0]); }
  void close_writer() { close_one(ends[1]); }
  static void close_one(int& fd) {
    if (fd >= 0) close(std::exchange(fd, -1));
  }
  int ends[2];
};

void said_pipe(const Pipe& pipe, size_t room = 64) {
  std::string text(room, '\0');
  set_nonblocking(pipe.reader(), true);
  said_data("read", read(pipe.reader(), text.data(), text.size()), text.data());
  set_nonblocking(pipe.reader(), false);
}

void out_of_a_pipe() {
  both_ways([](int fd) {
    const Pipe pipe;
    said("write", write(pipe.writer(), "piped", 5));
    said("splice", splice(pipe.reader(), nullptr, fd, nullptr, 5, 0));
    peer_said("recv 1 5");
    said("write", write(pipe.writer(), "piped", 5));
    said("splice less", splice(pipe.reader(), nullptr, fd, nullptr, 2, SPLICE_F_MORE));
    said("splice more than there is", splice(pipe.reader(), nullptr, fd, nullptr, 100, 0));
    peer_said("recv 1 5");
    said("empty, NONBLOCK", splice(pipe.reader(), nullptr, fd, nullptr, 5, SPLICE_F_NONBLOCK));
    long result = 0;
    {
      Worker worker([&] { result = splice(pipe.reader(), nullptr, fd, nullptr, 100, 0); });
      worker.await_blocked();
      said("write", write(pipe.writer(), "late", 4));
      worker.join();
    }
    said("waited", result);
    peer_said("recv 1 4");
  });
}

void out_of_a_closed_pipe() {
  both_ways([](int fd) {
    Pipe pipe;
    said("write", write(pipe.writer(), "rest", 4));
    pipe.close_writer();
    said("splice", splice(pipe.reader(), nullptr, fd, nullptr, 100, 0));
    peer_said("recv 1 4");
    said("at the end", splice(pipe.reader(), nullptr, fd, nullptr, 100, 0));
  });
}

void into_a_pipe() {
  both_ways([](int fd) {
    const Pipe pipe;
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said("splice 2", splice(fd, nullptr, pipe.writer(), nullptr, 2, 0));
    said("splice", splice(fd, nullptr, pipe.writer(), nullptr, 100, SPLICE_F_MOVE));
    said_pipe(pipe);
    note("FIONREAD %d", unread(fd));
    long result = 0;
    {
      Worker worker([&] { result = splice(fd, nullptr, pipe.writer(), nullptr, 100, 0); });
      worker.await_blocked();
      peer_said("text 1 late");
      worker.join();
    }
    said("waited", result);
    said_pipe(pipe);
    set_timeout(fd, SO_RCVTIMEO, 20);
    said("timeout", splice(fd, nullptr, pipe.writer(), nullptr, 100, 0));
    set_nonblocking(fd, true);
    said("O_NONBLOCK", splice(fd, nullptr, pipe.writer(), nullptr, 100, 0));
    set_nonblocking(fd, false);
    peer_said("text 1 rest");
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    said("splice", splice(fd, nullptr, pipe.writer(), nullptr, 100, 0));
    said("at the end", splice(fd, nullptr, pipe.writer(), nullptr, 100, 0));
    said_pipe(pipe);
  });
}

void full_pipe() {
  both_ways([](int fd) {
    Pipe pipe;
    set_nonblocking(pipe.writer(), true);
    const std::string data = pattern(65536);
    while (write(pipe.writer(), data.data(), data.size()) > 0) {
    }
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said("O_NONBLOCK of the pipe", splice(fd, nullptr, pipe.writer(), nullptr, 100, 0));
    set_nonblocking(pipe.writer(), false);
    said("NONBLOCK", splice(fd, nullptr, pipe.writer(), nullptr, 100, SPLICE_F_NONBLOCK));
    note("FIONREAD %d", unread(fd));
    long result = 0;
    {
      Worker worker([&] { result = splice(fd, nullptr, pipe.writer(), nullptr, 100, 0); });
      worker.await_blocked();
      std::string room(65536, '\0');
      said("read", read(pipe.reader(), room.data(), room.size()));
      worker.join();
    }
    said("waited", result);
    note("-- nobody reads");
    pipe.close_reader();
    on_signal(SIGPIPE, count_signal, 0);
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said("splice", splice(fd, nullptr, pipe.writer(), nullptr, 100, 0));
    note("SIGPIPE %d, FIONREAD %d", signals_seen.load(), unread(fd));
    signal(SIGPIPE, SIG_DFL);
  });
}

void much_into_a_pipe() {
  both_ways([](int fd) {
    const Pipe pipe;
    constexpr size_t kBytes = 1000000;
    std::string data(kBytes, '\0');
    ask("send 1 %zu", kBytes);
    size_t in = 0;
    while (in < kBytes) {
      const ssize_t got = splice(fd, nullptr, pipe.writer(), nullptr, 1 << 20, 0);
      if (got <= 0) break;
      for (ssize_t left = got; left > 0;) {
        const ssize_t part = read(pipe.reader(), &data[in], static_cast<size_t>(left));
        if (part <= 0) break;
        left -= part;
        in += static_cast<size_t>(part);
      }
    }
    answer_said("send");
    note("in %zu #%08x", in, digest(data.data(), data.size()));
  });
}

void much_out_of_a_pipe() {
  both_ways([](int fd) {
    const Pipe pipe;
    constexpr size_t kBytes = 1000000;
    const std::string data = pattern(kBytes);
    ask("recv 1 %zu", kBytes);
    size_t out = 0;
    while (out < kBytes) {
      const size_t part = std::min<size_t>(50000, kBytes - out);
      if (write(pipe.writer(), &data[out], part) != static_cast<ssize_t>(part)) break;
      for (size_t left = part; left != 0;) {
        const ssize_t sent = splice(pipe.reader(), nullptr, fd, nullptr, left, 0);
        if (sent <= 0) break;
        left -= static_cast<size_t>(sent);
      }
      out += part;
    }
    note("out %zu", out);
    answer_said("recv");
  });
}

void full_socket() {
  both_ways([](int fd) {
    const Pipe pipe;
    const size_t filled = fill_all(fd);
    said("write", write(pipe.writer(), "piped", 5));
    set_nonblocking(fd, true);
    said("splice", splice(pipe.reader(), nullptr, fd, nullptr, 5, 0));
    set_nonblocking(fd, false);
    long result = 0;
    {
      Worker worker([&] { result = splice(pipe.reader(), nullptr, fd, nullptr, 5, 0); });
      worker.await_blocked();
      ask("recv 1 %zu", filled);
      worker.join();
    }
    answer();
    said("waited", result);
    peer_said("recv 1 5");
  });
}

void refusals() {
  both_ways([](int fd) {
    const Pipe pipe;
    off64_t offset = 0;
    said("neither is a pipe", splice(fd, nullptr, fd, nullptr, 5, 0));
    said("nothing", splice(fd, nullptr, pipe.writer(), nullptr, 0, 0));
    said("offset in", splice(fd, &offset, pipe.writer(), nullptr, 5, SPLICE_F_NONBLOCK));
    said("offset out", splice(pipe.reader(), nullptr, fd, &offset, 5, SPLICE_F_NONBLOCK));
    said("offset of the pipe", splice(fd, nullptr, pipe.writer(), &offset, 5, SPLICE_F_NONBLOCK));
    said("flags", splice(fd, nullptr, pipe.writer(), nullptr, 5, 0x100));
    said("wrong end", splice(fd, nullptr, pipe.reader(), nullptr, 5, SPLICE_F_NONBLOCK));
    said("closed", splice(fd, nullptr, 999, nullptr, 5, 0));
    said("tee", tee(fd, pipe.writer(), 5, 0));
    said("tee to it", tee(pipe.reader(), fd, 5, SPLICE_F_NONBLOCK));
    iovec piece{const_cast<char*>("x"), 1};
    said("vmsplice", vmsplice(fd, &piece, 1, 0));
  });
}

void ended_connection() {
  both_ways([](int fd) {
    const Pipe pipe;
    said("write", write(pipe.writer(), "piped", 5));
    said("shutdown", shutdown(fd, SHUT_WR));
    on_signal(SIGPIPE, count_signal, 0);
    said("splice", splice(pipe.reader(), nullptr, fd, nullptr, 5, 0));
    note("SIGPIPE %d", signals_seen.load());
    signal(SIGPIPE, SIG_DFL);
    said_pipe(pipe);
    peer_said("reset 1");
    await(fd, POLLHUP);
    said("splice", splice(fd, nullptr, pipe.writer(), nullptr, 5, 0));
    said("again", splice(fd, nullptr, pipe.writer(), nullptr, 5, 0));
  });
}

void interrupted() {
  both_ways([](int fd) {
    const Pipe pipe;
    on_signal(SIGALRM, count_signal, 0);
    alarm_every_ms(20);
    said("into a pipe", splice(fd, nullptr, pipe.writer(), nullptr, 5, 0));
    said("out of a pipe", splice(pipe.reader(), nullptr, fd, nullptr, 5, 0));
    no_alarm();
  });
}

void sendfile_forms() {
  both_ways([](int fd) {
    const Pipe pipe;
    said("write", write(pipe.writer(), "piped", 5));
    said("from a pipe", sendfile(fd, pipe.reader(), nullptr, 5));
    off_t offset = 0;
    said("from a pipe's offset", sendfile(fd, pipe.reader(), &offset, 5));
    said_pipe(pipe);
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said("into a pipe", sendfile(pipe.writer(), fd, nullptr, 100));
    said_pipe(pipe);
    said("offset of a socket", sendfile(pipe.writer(), fd, &offset, 100));
    const int directory = must("open", open("/", O_RDONLY | O_DIRECTORY));
    said("from a directory", sendfile(fd, directory, nullptr, 5));
    close(directory);
    const int file = must("memfd", memfd_create("data", MFD_CLOEXEC));
    said("write", write(file, "contents", 8));
    offset = 3;
    said("from a file", sendfile(fd, file, &offset, 100));
    note("offset %ld", static_cast<long>(offset));
    peer_said("recv 1 5");
    close(file);
  });
}

constexpr Scenario kScenarios[] = {
    {"splice_out_of_a_pipe", Proof::kTcp, out_of_a_pipe},
    {"splice_out_of_a_closed_pipe", Proof::kTcp, out_of_a_closed_pipe},
    {"splice_into_a_pipe", Proof::kTcp, into_a_pipe},
    {"splice_full_pipe", Proof::kTcp, full_pipe},
    {"splice_much_into_a_pipe", Proof::kTcp, much_into_a_pipe},
    {"splice_much_out_of_a_pipe", Proof::kTcp, much_out_of_a_pipe},
    {"splice_full_socket", Proof::kTcp, full_socket},
    {"splice_refusals", Proof::kTcp, refusals},
    {"splice_ended_connection", Proof::kTcp, ended_connection},
    {"splice_interrupted", Proof::kTcp, interrupted},
    {"sendfile_forms", Proof::kTcp, sendfile_forms},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
