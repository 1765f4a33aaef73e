// unix_message_test.cpp - descriptors over a pair of sockets
#include "xdp/unix_message.h"

#include <criterion/criterion.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "xdp/broker_abi.h"

using namespace underpass;

namespace {

struct Pair {
  Fd a, b;
  Pair() {
    int ends[2];
    cr_assert_eq(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    a = Fd(ends[0]);
    b = Fd(ends[1]);
  }
};

}  // namespace

Test(unix_message, descriptors_arrive_and_are_the_same_files) {
  Pair pair;
  const Fd event(sys::eventfd(0, 0));
  const int fd = event.get();
  const uint32_t word = 7;
  cr_assert(send_message(pair.a.get(), &word, sizeof word, {&fd, 1}));
  uint32_t got = 0;
  std::vector<Fd> fds;
  cr_assert_eq(*receive_message(pair.b.get(), &got, sizeof got, fds), sizeof got);
  cr_assert_eq(got, 7);
  cr_assert_eq(fds.size(), 1);
  cr_assert_eq(sys::fcntl(fds[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  const uint64_t one = 1;
  cr_assert_eq(sys::write(fds[0].get(), &one, sizeof one), sizeof one);
  uint64_t count = 0;
  cr_assert_eq(sys::read(event.get(), &count, sizeof count), sizeof count);
}

Test(unix_message, as_many_descriptors_as_queues_can_be_sent) {
  Pair pair;
  const Fd event(sys::eventfd(0, 0));
  const std::vector<int> many(kMaxMessageFds, event.get());
  const char byte = 0;
  cr_assert(send_message(pair.a.get(), &byte, 1, many));
  std::vector<Fd> fds;
  char got;
  cr_assert(receive_message(pair.b.get(), &got, 1, fds));
  cr_assert_eq(fds.size(), kMaxMessageFds);
  const std::vector<int> too_many(kMaxMessageFds + 1, event.get());
  cr_assert_eq(send_message(pair.a.get(), &byte, 1, too_many).error(), EINVAL);
}

Test(unix_message, message_that_does_not_fit_is_refused_and_leaks_nothing) {
  Pair pair;
  const Fd event(sys::eventfd(0, 0));
  const int fd = event.get();
  const uint64_t words[2] = {};
  cr_assert(send_message(pair.a.get(), words, sizeof words, {&fd, 1}));
  std::vector<Fd> fds;
  uint64_t got;
  cr_assert_eq(receive_message(pair.b.get(), &got, sizeof got, fds).error(), EPROTO);
  cr_assert_eq(fds.size(), 1);
}

Test(unix_message, nothing_there_is_eagain_and_the_end_is_zero) {
  Pair pair;
  std::vector<Fd> fds;
  char got;
  cr_assert_eq(receive_message(pair.b.get(), &got, 1, fds).error(), EAGAIN);
  pair.a.reset();
  cr_assert_eq(*receive_message(pair.b.get(), &got, 1, fds), 0);
  cr_assert_eq(send_message(pair.b.get(), &got, 1, {}).error(), EPIPE);
}

Test(unix_message, address_is_abstract_and_of_the_interface) {
  sockaddr_un address;
  const socklen_t length = broker_address("eth0", address);
  cr_assert_eq(length, offsetof(sockaddr_un, sun_path) + 11 + 4);
  cr_assert_eq(address.sun_path[0], '\0');
  cr_assert_eq(std::string_view(address.sun_path + 1, 14), "underpass/eth0");
  cr_assert_eq(broker_address("", address), 0);
  cr_assert_eq(broker_address("a-name-that-is-too-long", address), 0);
}
