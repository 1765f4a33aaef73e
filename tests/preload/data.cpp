// data.cpp - every call that moves bytes of a TCP connection, its flags, its limits and its errors
#include <linux/sockios.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include <algorithm>

#include "scenario.h"

using namespace scenario;

namespace {

iovec piece(const void* data, size_t bytes) { return {const_cast<void*>(data), bytes}; }

msghdr message(iovec* pieces, size_t count) {
  msghdr header{};
  header.msg_iov = pieces;
  header.msg_iovlen = count;
  return header;
}

// ---- the calls

void every_sending_call() {
  both_ways([](int fd) {
    iovec pieces[3] = {piece("ab", 2), piece("", 0), piece("cde", 3)};
    said("write", write(fd, "hello", 5));
    peer_said("recv 1 5");
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    said("sendto", sendto(fd, "hello", 5, 0, nullptr, 0));
    peer_said("recv 1 5");
    Name elsewhere = loopback(9);
    said("sendto elsewhere", sendto(fd, "hello", 5, 0, plain(elsewhere), size(elsewhere)));
    peer_said("recv 1 5");
    said("writev", writev(fd, pieces, 3));
    peer_said("recv 1 5");
    msghdr header = message(pieces, 3);
    said("sendmsg", sendmsg(fd, &header, 0));
    peer_said("recv 1 5");
    said("pwritev2", pwritev2(fd, pieces, 3, -1, 0));
    peer_said("recv 1 5");
    said("pwritev2 offset", pwritev2(fd, pieces, 3, 0, 0));
    said("pwrite", pwrite(fd, "hello", 5, 0));
    mmsghdr several[2] = {};
    several[0].msg_hdr = message(pieces, 1);
    several[1].msg_hdr = message(pieces + 2, 1);
    said("sendmmsg", sendmmsg(fd, several, 2, 0));
    note("lengths %u %u", several[0].msg_len, several[1].msg_len);
    peer_said("recv 1 5");
    said("dprintf", dprintf(fd, "%d-%s", 42, "x"));
    peer_said("recv 1 4");
  });
}

void said_header(const msghdr& header) {
  note("flags %x name %u control %zu", static_cast<unsigned>(header.msg_flags), header.msg_namelen,
       header.msg_controllen);
}

// The names that programs have of calls with 64 bits of offset, and those that take an offset,
// which no socket has.
void names_of_large_files() {
  both_ways([](int fd) {
    iovec pieces[2] = {piece("ab", 2), piece("cde", 3)};
    said("pwritev64v2", pwritev64v2(fd, pieces, 2, -1, 0));
    peer_said("recv 1 5");
    said("pwritev64v2 offset", pwritev64v2(fd, pieces, 2, 0, 0));
    said("pwritev64", pwritev64(fd, pieces, 2, 0));
    said("pwritev", pwritev(fd, pieces, 2, 0));
    said("pwrite64", pwrite64(fd, "hello", 5, 0));
    const int file = must("memfd_create", memfd_create("content", 0));
    must("write", static_cast<int>(write(file, "0123456789", 10)));
    off64_t offset = 2;
    said("sendfile64", sendfile64(fd, file, &offset, 5));
    note("offset %ld", static_cast<long>(offset));
    peer_said("recv 1 5");
    close(file);
    peer_said("text 1 hello");
    await_unread(fd, 5);
    char room[8] = {};
    iovec into{room, sizeof room};
    said("preadv64v2 offset", preadv64v2(fd, &into, 1, 0, 0));
    said("preadv64", preadv64(fd, &into, 1, 0));
    said("preadv", preadv(fd, &into, 1, 0));
    said("pread64", pread64(fd, room, sizeof room, 0));
    said_data("preadv64v2", preadv64v2(fd, &into, 1, -1, 0), room);
    said("fcntl64", fcntl64(fd, F_SETFL, O_NONBLOCK));
    note("O_NONBLOCK %d", (fcntl64(fd, F_GETFL) & O_NONBLOCK) != 0);
    said("read", read(fd, room, sizeof room));
    said("lseek64", lseek64(fd, 0, SEEK_SET));
    said("ftruncate64", ftruncate64(fd, 0));
  });
}

void every_receiving_call() {
  both_ways([](int fd) {
    char first[4] = {};
    char second[8] = {};
    iovec pieces[2] = {{first, 4}, {second, 8}};
    const auto said_pieces = [&](const char* call, long result) {
      note("%s = %ld '%.4s' '%.8s'", call, result, first, second);
      memset(first, 0, sizeof first);
      memset(second, 0, sizeof second);
    };
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said_data("read", read(fd, second, 3), second);
    said_data("recv", recv(fd, second, 8, 0), second);
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    Name from{};
    socklen_t length = size(from);
    said_data("recvfrom", recvfrom(fd, second, 6, 0, plain(from), &length), second);
    note("family %d length %u", from.any.sa_family, length);
    memset(second, 0, sizeof second);
    peer_said("text 1 abcdefgh");
    await_unread(fd, 8);
    said_pieces("readv", readv(fd, pieces, 2));
    peer_said("text 1 abcdefgh");
    await_unread(fd, 8);
    char control[64];
    msghdr header = message(pieces, 2);
    header.msg_name = &from;
    header.msg_namelen = size(from);
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    header.msg_flags = -1;
    said_pieces("recvmsg", recvmsg(fd, &header, 0));
    said_header(header);
    peer_said("text 1 abcdefgh");
    await_unread(fd, 8);
    said_pieces("preadv2", preadv2(fd, pieces, 2, -1, 0));
    said("preadv2 offset", preadv2(fd, pieces, 2, 0, 0));
    said("pread", pread(fd, first, 4, 0));
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    mmsghdr several[3] = {};
    for (mmsghdr& one : several) one.msg_hdr = message(pieces, 1);
    said("recvmmsg", recvmmsg(fd, several, 3, MSG_DONTWAIT, nullptr));
    note("lengths %u %u %u '%.4s'", several[0].msg_len, several[1].msg_len, several[2].msg_len,
         first);
    peer_said("text 1 abcd");
    said("recvmmsg WAITFORONE", recvmmsg(fd, several, 3, MSG_WAITFORONE, nullptr));
    said("recvmmsg none", recvmmsg(fd, several, 3, MSG_DONTWAIT, nullptr));
  });
}

int file_with(size_t bytes) {
  const int file = must("memfd", memfd_create("data", MFD_CLOEXEC));
  const std::string data = pattern(bytes);
  must("write", static_cast<int>(write(file, data.data(), data.size())));
  must("lseek", static_cast<int>(lseek(file, 0, SEEK_SET)));
  return file;
}

void sendfile_in_pieces() {
  both_ways([](int fd) {
    const int file = file_with(300000);
    ask("recv 1 299000");
    off_t offset = 1000;
    size_t total = 0;
    while (total < 299000) {
      const ssize_t sent = sendfile(fd, file, &offset, 299000 - total);
      if (sent <= 0) break;
      total += static_cast<size_t>(sent);
    }
    note("sendfile: %zu, offset %ld, position %ld", total, static_cast<long>(offset),
         static_cast<long>(lseek(file, 0, SEEK_CUR)));
    answer_said("recv");
    said("sendfile from position", sendfile(fd, file, nullptr, 7));
    note("position %ld", static_cast<long>(lseek(file, 0, SEEK_CUR)));
    peer_said("recv 1 7");
    offset = 300000;
    said("sendfile at the end", sendfile(fd, file, &offset, 10));
    said("sendfile nothing", sendfile(fd, file, nullptr, 0));
    said("sendfile from a socket", sendfile(file, fd, nullptr, 10));
    offset = -5;
    said("sendfile from before", sendfile(fd, file, &offset, 10));
    said("sendfile offset", sendfile(fd, file, static_cast<off_t*>(bad_pointer()), 10));
    close(file);
  });
}

void stdio() {
  both_ways([](int fd) {
    const int moved = dup(fd);
    FILE* out = fdopen(moved, "w");
    FILE* in = fdopen(fd, "r");
    fprintf(out, "line %d\n", 1);
    said("fflush", fflush(out));
    peer_said("recv 1 6");
    peer("send 1 30");
    peer_said("text 1 !");
    char buffer[64] = {};
    said("fread", static_cast<long>(fread(buffer, 1, 31, in)));
    note("%s", buffer);
    said("fclose", fclose(out));
    peer_said("text 1 still");
    said("fread", static_cast<long>(fread(buffer, 1, 5, in)));
    const int number = fileno(in);
    said("fclose", fclose(in));
    peer_said("recv 1 1");
    // The number is free, whatever closed it.
    const int again = tcp();
    note("same number: %d", again == number);
    said_poll(again);
    said_peername(again);
    said("recv", recv(again, buffer, 1, 0));
  });
}

// ---- flags

void peek() {
  both_ways([](int fd) {
    char buffer[16] = {};
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said_data("peek 3", recv(fd, buffer, 3, MSG_PEEK), buffer);
    said_data("peek all", recv(fd, buffer, sizeof buffer, MSG_PEEK), buffer);
    note("FIONREAD %d", unread(fd));
    said_data("recv 2", recv(fd, buffer, 2, 0), buffer);
    said_data("peek 2", recv(fd, buffer, 2, MSG_PEEK), buffer);
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
    note("FIONREAD %d", unread(fd));
    said("peek nothing", recv(fd, buffer, 1, MSG_PEEK | MSG_DONTWAIT));
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    said("peek the end", recv(fd, buffer, 1, MSG_PEEK));
    said("recv the end", recv(fd, buffer, 1, 0));
  });
}

void waitall() {
  both_ways([](int fd) {
    char buffer[64] = {};
    note("-- completed by a second segment");
    long result = 0;
    peer_said("text 1 abc");
    {
      Worker worker([&] { result = recv(fd, buffer, 6, MSG_WAITALL); });
      worker.await_blocked();
      peer_said("text 1 def");
      worker.join();
    }
    said_data("recv", result, buffer);
    note("-- DONTWAIT wins");
    peer_said("text 1 abc");
    await_unread(fd, 3);
    said_data("recv", recv(fd, buffer, 6, MSG_WAITALL | MSG_DONTWAIT), buffer);
    note("-- timeout");
    set_timeout(fd, SO_RCVTIMEO, 30);
    peer_said("text 1 abc");
    said_data("recv", recv(fd, buffer, 6, MSG_WAITALL), buffer);
    said("recv", recv(fd, buffer, 6, MSG_WAITALL));
    set_timeout(fd, SO_RCVTIMEO, 0);
    note("-- signal");
    on_signal(SIGALRM, count_signal, 0);
    peer_said("text 1 abc");
    await_unread(fd, 3);
    alarm_every_ms(20);
    said_data("recv", recv(fd, buffer, 6, MSG_WAITALL), buffer);
    said("recv", recv(fd, buffer, 6, MSG_WAITALL));
    no_alarm();
    note("-- peek");
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said_data("peek", recv(fd, buffer, 6, MSG_WAITALL | MSG_PEEK), buffer);
    said_data("recv", recv(fd, buffer, 6, MSG_WAITALL), buffer);
    note("-- the end");
    peer_said("text 1 abc");
    peer_said("shut 1 1");
    said_data("recv", recv(fd, buffer, 6, MSG_WAITALL), buffer);
    said("recv", recv(fd, buffer, 6, MSG_WAITALL));
  });
}

void waitall_large() {
  both_ways([](int fd) {
    std::string buffer(1000000, '\0');
    ask("send 1 1000000");
    said_data("recv", recv(fd, buffer.data(), buffer.size(), MSG_WAITALL), buffer.data());
    answer_said("send");
  });
}

void trunc_discards() {
  both_ways([](int fd) {
    char buffer[16] = {};
    peer_said("text 1 abcdef");
    await_unread(fd, 6);
    said("discard 2", recv(fd, nullptr, 2, MSG_TRUNC));
    said("peek with TRUNC", recv(fd, buffer, 2, MSG_TRUNC | MSG_PEEK));
    said_data("recv", recv(fd, buffer, 2, 0), buffer);
    said("discard more than there is", recv(fd, nullptr, 100, MSG_TRUNC));
    said("discard nothing", recv(fd, nullptr, 1, MSG_TRUNC | MSG_DONTWAIT));
  });
}

void nothing_there() {
  both_ways([](int fd) {
    char byte;
    said("recv DONTWAIT", recv(fd, &byte, 1, MSG_DONTWAIT));
    set_nonblocking(fd, true);
    said("recv", recv(fd, &byte, 1, 0));
    said("read", read(fd, &byte, 1));
    iovec one{&byte, 1};
    said("readv", readv(fd, &one, 1));
    msghdr header = message(&one, 1);
    said("recvmsg", recvmsg(fd, &header, 0));
    int on = 0;
    said("FIONBIO", ioctl(fd, FIONBIO, &on));
    note("O_NONBLOCK %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    on = 1;
    said("FIONBIO", ioctl(fd, FIONBIO, &on));
    note("O_NONBLOCK %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    said("recv", recv(fd, &byte, 1, 0));
    said("recv OOB", recv(fd, &byte, 1, MSG_OOB));
    said("recv ERRQUEUE", recv(fd, &byte, 1, MSG_ERRQUEUE));
    said("flags", fcntl(fd, F_GETFL));
    said("F_SETFL", fcntl(fd, F_SETFL, 0));
    said("flags", fcntl(fd, F_GETFL));
  });
}

void receive_timeout() {
  both_ways([](int fd) {
    char byte;
    set_timeout(fd, SO_RCVTIMEO, 10);
    said("recv", recv(fd, &byte, 1, 0));
    said("read", read(fd, &byte, 1));
    mmsghdr one{};
    iovec room{&byte, 1};
    one.msg_hdr = message(&room, 1);
    said("recvmmsg", recvmmsg(fd, &one, 1, 0, nullptr));
    timeval time{};
    socklen_t length = sizeof time;
    said("getsockopt", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, &length));
    note("%ld s %d length %u", static_cast<long>(time.tv_sec), time.tv_usec >= 10000, length);
    const timeval negative{-1, 0};
    said("negative", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &negative, sizeof negative));
    said("recv", recv(fd, &byte, 1, 0));
    const timeval bad{0, 1000000};
    said("a million us", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bad, sizeof bad));
  });
}

void zero_lengths() {
  both_ways([](int fd) {
    char byte = 'x';
    iovec none{&byte, 0};
    iovec nullpiece{nullptr, 0};
    msghdr header = message(&none, 1);
    said("send", send(fd, &byte, 0, 0));
    said("send NULL", send(fd, nullptr, 0, 0));
    said("write", write(fd, &byte, 0));
    said("writev", writev(fd, &none, 1));
    said("writev NULL piece", writev(fd, &nullpiece, 1));
    said("writev no pieces", writev(fd, nullptr, 0));
    said("sendmsg", sendmsg(fd, &header, 0));
    said("read", read(fd, &byte, 0));
    said("readv", readv(fd, &none, 1));
    said("recv DONTWAIT", recv(fd, &byte, 0, MSG_DONTWAIT));
    said("recvmsg DONTWAIT", recvmsg(fd, &header, MSG_DONTWAIT));
    said_poll(fd);
    peer_said("text 1 hello");
    await_unread(fd, 5);
    said("read", read(fd, &byte, 0));
    said("recv", recv(fd, &byte, 0, 0));
    said("recv NULL", recv(fd, nullptr, 0, 0));
    said("readv", readv(fd, &none, 1));
    said("recvmsg", recvmsg(fd, &header, 0));
    header = message(nullptr, 0);
    said("recvmsg no pieces", recvmsg(fd, &header, 0));
    said("sendmsg no pieces", sendmsg(fd, &header, 0));
    mmsghdr one{};
    said("sendmmsg none", sendmmsg(fd, &one, 0, 0));
    said("recvmmsg none", recvmmsg(fd, &one, 0, 0, nullptr));
    note("FIONREAD %d", unread(fd));
  });
}

void message_more() {
  both_ways([](int fd) {
    said("send MORE", send(fd, "ab", 2, MSG_MORE));
    said("send", send(fd, "cd", 2, 0));
    peer_said("recv 1 4");
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    said("send", send(fd, "ab", 2, 0));
    said("send", send(fd, "cd", 2, 0));
    set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
    peer_said("recv 1 4");
    said("send MORE", send(fd, "ab", 2, MSG_MORE));
    said("shutdown", shutdown(fd, SHUT_WR));
    peer_said("recv 1 4");
  });
}

// ---- errors

// An address that no program has is an error, not a crash; and the data stays.
void bad_pointers() {
  both_ways([](int fd) {
    said("send", send(fd, bad_pointer(), 5, 0));
    said("write", write(fd, bad_pointer(), 5));
    iovec bad = piece(bad_pointer(), 5);
    said("writev", writev(fd, &bad, 1));
    msghdr header = message(static_cast<iovec*>(bad_pointer()), 1);
    said("writev of nothing", writev(fd, static_cast<iovec*>(bad_pointer()), 1));
    said("sendmsg pieces", sendmsg(fd, &header, 0));
    said("sendmsg", sendmsg(fd, static_cast<msghdr*>(bad_pointer()), 0));
    peer_said("text 1 hello");
    await_unread(fd, 5);
    said("recv", recv(fd, bad_pointer(), 5, 0));
    said("read", read(fd, bad_pointer(), 5));
    said("recvmsg pieces", recvmsg(fd, &header, 0));
    said("recvmsg", recvmsg(fd, static_cast<msghdr*>(bad_pointer()), 0));
    said("recvmmsg", recvmmsg(fd, static_cast<mmsghdr*>(bad_pointer()), 1, 0, nullptr));
    said("FIONREAD", ioctl(fd, FIONREAD, bad_pointer()));
    said("getsockname", getsockname(fd, static_cast<sockaddr*>(bad_pointer()), nullptr));
    char buffer[16];
    said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  });
}

void odd_vectors() {
  both_ways([](int fd) {
    std::vector<iovec> many(1025, piece("x", 1));
    said("writev 1024", writev(fd, many.data(), 1024));
    peer_said("recv 1 1024");
    said("writev 1025", writev(fd, many.data(), 1025));
    said("writev -1", writev(fd, many.data(), minus_one));
    msghdr header = message(many.data(), 1025);
    said("sendmsg 1025", sendmsg(fd, &header, 0));
    said("recvmsg 1025", recvmsg(fd, &header, MSG_DONTWAIT));
    iovec huge[2] = {piece("x", 1), {many.data(), static_cast<size_t>(minus_one)}};
    said("negative length", writev(fd, huge, 2));
    said("readv 1025", readv(fd, many.data(), 1025));
  });
}

template <typename Each>
void calls_on(int fd, Each said_as) {
  char byte = 'x';
  iovec one{&byte, 1};
  msghdr header = message(&one, 1);
  mmsghdr several{header, 0};
  Name name{};
  socklen_t length = size(name);
  int number = 0;
  socklen_t number_length = sizeof number;
  said_as("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said_as("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
  said_as("sendto", sendto(fd, &byte, 1, MSG_NOSIGNAL, nullptr, 0));
  said_as("recvfrom", recvfrom(fd, &byte, 1, MSG_DONTWAIT, nullptr, nullptr));
  said_as("sendmsg", sendmsg(fd, &header, MSG_NOSIGNAL));
  said_as("recvmsg", recvmsg(fd, &header, MSG_DONTWAIT));
  said_as("sendmmsg", sendmmsg(fd, &several, 1, MSG_NOSIGNAL));
  said_as("recvmmsg", recvmmsg(fd, &several, 1, MSG_DONTWAIT, nullptr));
  said_as("bind", bind(fd, plain(name), size(name)));
  said_as("listen", listen(fd, 1));
  said_as("accept", accept(fd, nullptr, nullptr));
  said_as("connect", connect(fd, plain(name), size(name)));
  said_as("getsockname", getsockname(fd, plain(name), &length));
  said_as("getpeername", getpeername(fd, plain(name), &length));
  said_as("getsockopt", getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, &number_length));
  said_as("setsockopt", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &number, number_length));
  said_as("shutdown", shutdown(fd, SHUT_RDWR));
}

void not_a_socket() {
  // A connection of the same number has been there before.
  const int fd = connected();
  close(fd);
  note("-- closed");
  calls_on(fd, said);
  char byte = 'x';
  iovec one{&byte, 1};
  said("read", read(fd, &byte, 1));
  said("write", write(fd, &byte, 1));
  said("readv", readv(fd, &one, 1));
  said("writev", writev(fd, &one, 1));
  said("close", close(fd));
  said("dup", dup(fd));
  said("F_GETFL", fcntl(fd, F_GETFL));
  said("FIONREAD", ioctl(fd, FIONREAD, &one));
  note("-- negative");
  calls_on(-1, said);
  said("read", read(-1, &byte, 1));
  said("close", close(-1));
  note("-- a large number");
  calls_on(1 << 30, said);
  said("close", close(1 << 30));
  note("-- a file");
  const int file = open("/dev/null", O_RDWR);
  note("same number: %d", file == fd);
  calls_on(file, said);
  said("write", write(file, &byte, 1));
  said("read", read(file, &byte, 1));
  close(file);
}

void unconnected() {
  const int fd = tcp();
  char byte = 'x';
  Name address = theirs(number(peer("listen 0")));
  said("recv", recv(fd, &byte, 1, 0));
  said("read", read(fd, &byte, 1));
  said("send", send(fd, &byte, 1, MSG_NOSIGNAL));
  said("sendto", sendto(fd, &byte, 1, MSG_NOSIGNAL, plain(address), size(address)));
  note("FIONREAD %d", unread(fd));
  int queued = -1;
  said("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &queued));
  note("SIOCOUTQ %d", queued);
  said_poll(fd);
  said("connect", connect(fd, plain(address), size(address)));
  close(fd);
}

void sigpipe() {
  on_signal(SIGPIPE, count_signal, 0);
  both_ways([](int fd) {
    signals_seen = 0;
    iovec one = piece("x", 1);
    msghdr header = message(&one, 1);
    mmsghdr several{header, 0};
    const auto with_signals = [](const char* call, long result) {
      said(call, result);
      note("SIGPIPEs: %d", signals_seen.load());
    };
    said("shutdown", shutdown(fd, SHUT_WR));
    with_signals("send", send(fd, "x", 1, 0));
    with_signals("send NOSIGNAL", send(fd, "x", 1, MSG_NOSIGNAL));
    with_signals("write", write(fd, "x", 1));
    with_signals("writev", writev(fd, &one, 1));
    with_signals("sendmsg", sendmsg(fd, &header, 0));
    with_signals("sendmsg NOSIGNAL", sendmsg(fd, &header, MSG_NOSIGNAL));
    with_signals("sendmmsg", sendmmsg(fd, &several, 1, 0));
    with_signals("sendto", sendto(fd, "x", 1, 0, nullptr, 0));
    with_signals("send nothing", send(fd, "x", 0, 0));
    with_signals("write nothing", write(fd, "x", 0));
    const int file = file_with(10);
    with_signals("sendfile", sendfile(fd, file, nullptr, 10));
    close(file);
  });
  signal(SIGPIPE, SIG_IGN);
  const int fd = connected();
  shutdown(fd, SHUT_WR);
  said("ignored", send(fd, "x", 1, 0));
  close(fd);
  signal(SIGPIPE, SIG_DFL);
}

// ---- full buffers

void send_until_full() {
  both_ways([](int fd) {
    size_t total = fill_all(fd);
    note("some fit: %d", total > 100000);
    // A probe of the closed window takes a byte along now and then, which leaves room for one.
    const auto when_full = [&](const char* what, int flags) {
      long sent = 0;
      do {
        total += fill(fd);
        sent = send(fd, "x", 1, flags);
        if (sent > 0) total += static_cast<size_t>(sent);
      } while (sent > 0);
      said(what, sent);
    };
    when_full("send", MSG_DONTWAIT);
    said_poll(fd);
    int queued = 0;
    ioctl(fd, SIOCOUTQ, &queued);
    note("queued: %d", queued > 0);
    set_timeout(fd, SO_SNDTIMEO, 20);
    when_full("send with timeout", 0);
    set_timeout(fd, SO_SNDTIMEO, 0);
    on_signal(SIGALRM, count_signal, 0);
    alarm_every_ms(20);
    when_full("send with signal", 0);
    no_alarm();
    ask("recv 1 %zu", total);
    await(fd, POLLOUT);
    const std::string got = answer();
    note("all arrived: %d", strtoull(got.c_str(), nullptr, 10) == total);
    const bool empty = eventually([&] { return ioctl(fd, SIOCOUTQ, &queued) == 0 && queued == 0; });
    note("nothing queued: %d", empty);
  });
}

// A signal or the timeout ends a send that has sent something with what it has sent.
void partial_sends() {
  both_ways([](int fd) {
    const std::string data = pattern(16 << 20);
    set_timeout(fd, SO_SNDTIMEO, 50);
    ssize_t sent = send(fd, data.data(), data.size(), 0);
    note("part with timeout: %d", sent > 0 && sent < static_cast<ssize_t>(data.size()));
    size_t total = sent > 0 ? static_cast<size_t>(sent) : 0;
    set_timeout(fd, SO_SNDTIMEO, 0);
    on_signal(SIGALRM, count_signal, SA_RESTART);
    ask("recv 1 %zu", total);
    answer();
    alarm_every_ms(50);
    sent = send(fd, data.data(), data.size(), 0);
    no_alarm();
    note("part with signal: %d", sent > 0 && sent < static_cast<ssize_t>(data.size()));
    total = sent > 0 ? static_cast<size_t>(sent) : 0;
    const std::string got = peer("recv 1 %zu", total);
    note("all arrived: %d", strtoull(got.c_str(), nullptr, 10) == total);
  });
}

void blocking_send_waits_for_the_reader() {
  both_ways([](int fd) {
    const std::string data = pattern(5000000);
    ask("recv 1 5000000");
    said("send", send(fd, data.data(), data.size(), 0));
    answer_said("recv");
    iovec pieces[3] = {piece(data.data(), 1), piece(data.data() + 1, 1999998),
                       piece(data.data() + 1999999, 3000001)};
    ask("recv 1 5000000");
    said("writev", writev(fd, pieces, 3));
    answer_said("recv");
  });
}

void bulk_to_us() {
  both_ways([](int fd) {
    for (const size_t piece_bytes : {1460U, 65536U, 7777U}) {
      ask("send 1 2000000");
      std::string buffer(2000000, '\0');
      size_t total = 0;
      while (total < buffer.size()) {
        const ssize_t got =
            recv(fd, &buffer[total], std::min(piece_bytes, buffer.size() - total), 0);
        if (got <= 0) break;
        total += static_cast<size_t>(got);
      }
      note("received %zu #%08x", total, digest(buffer.data(), total));
      answer_said("send");
    }
  });
}

// Our window closes, and opens again when we read.
void slow_reader() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 16384);
    ask("send 1 3000000");
    await(fd, POLLIN);
    usleep(20000);
    receive_exactly(fd, 3000000);
    answer_said("send");
  });
}

void many_small_messages() {
  both_ways([](int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    bool fine = true;
    ask("recv 1 2000");
    for (int i = 0; i < 2000; ++i) {
      const char byte = static_cast<char>(pattern_byte(static_cast<size_t>(i)));
      fine = fine && send(fd, &byte, 1, 0) == 1;
    }
    note("each was sent: %d", fine);
    answer_said("recv");
    for (int i = 0; i < 200; ++i) {
      ask("text 1 ping");
      char buffer[4];
      fine = fine && recv(fd, buffer, 4, MSG_WAITALL) == 4 && answer() == "4";
      fine = fine && send(fd, "pong", 4, 0) == 4 && peer("recv 1 4") == "4 'pong'";
    }
    note("each was echoed: %d", fine);
  });
}

void queue_ioctls() {
  both_ways([](int fd) {
    int value = -1;
    said("FIONREAD", ioctl(fd, FIONREAD, &value));
    note("%d", value);
    peer_said("text 1 hello");
    await_unread(fd, 5);
    said("SIOCINQ", ioctl(fd, SIOCINQ, &value));
    note("%d", value);
    said("SIOCATMARK", ioctl(fd, SIOCATMARK, &value));
    note("%d", value);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    const bool empty = eventually([&] { return ioctl(fd, SIOCOUTQ, &value) == 0 && value == 0; });
    note("SIOCOUTQ becomes 0: %d", empty);
    said("SIOCOUTQNSD", ioctl(fd, SIOCOUTQNSD, &value));
    note("%d", value);
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    note("FIONREAD with FIN %d", unread(fd));
    said("unknown", ioctl(fd, 0x5499, &value));
    said("TCGETS", isatty(fd) == 1 ? 1 : -1);
  });
}

// Urgent data: what the man page calls discouraged.
void out_of_band() {
  const int fd = connected();
  char buffer[16];
  peer_said("text 1 ab");
  await_unread(fd, 2);
  said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  said("recv OOB", recv(fd, buffer, 1, MSG_OOB));
  close(fd);
}

constexpr Scenario kScenarios[] = {
    {"every_sending_call", Proof::kTcp, every_sending_call},
    {"every_receiving_call", Proof::kTcp, every_receiving_call},
    {"names_of_large_files", Proof::kTcp, names_of_large_files},
    {"sendfile_in_pieces", Proof::kTcp, sendfile_in_pieces},
    {"stdio", Proof::kTcp, stdio},
    {"peek", Proof::kTcp, peek},
    {"waitall", Proof::kTcp, waitall},
    {"waitall_large", Proof::kTcp, waitall_large},
    {"trunc_discards", Proof::kTcp, trunc_discards},
    {"nothing_there", Proof::kTcp, nothing_there},
    {"receive_timeout", Proof::kTcp, receive_timeout},
    {"zero_lengths", Proof::kTcp, zero_lengths},
    {"message_more", Proof::kTcp, message_more},
    {"bad_pointers", Proof::kTcp, bad_pointers},
    {"odd_vectors", Proof::kTcp, odd_vectors},
    {"not_a_socket", Proof::kTcp, not_a_socket},
    {"unconnected", Proof::kTcp, unconnected},
    {"sigpipe", Proof::kTcp, sigpipe},
    {"send_until_full", Proof::kTcp, send_until_full},
    {"partial_sends", Proof::kTcp, partial_sends},
    {"blocking_send_waits_for_the_reader", Proof::kTcp, blocking_send_waits_for_the_reader},
    {"bulk_to_us", Proof::kTcp, bulk_to_us},
    {"slow_reader", Proof::kTcp, slow_reader},
    {"many_small_messages", Proof::kTcp, many_small_messages},
    {"queue_ioctls", Proof::kTcp, queue_ioctls},
    {"out_of_band", Proof::kTcp, out_of_band},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
