// fd_test.cpp - descriptors with one owner, out of the program's way
#include "base/fd.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/fd_limit.h"
#include "tests/support/nofile_limit.h"

using namespace underpass;

namespace {

bool is_open(int fd) { return sys::fcntl(fd, F_GETFD) >= 0; }

void limit_fds(rlim_t count) {
  rlimit limit = test::nofile_limit();
  limit.rlim_cur = count;
  cr_assert(test::set_nofile_limit(limit));
}

// A hard limit that nobody here may raise.
void nail_fds(rlim_t count) {
  const rlimit limit{count, count};
  cr_assert(test::set_nofile_limit(limit));
  constexpr uid_t kNobody = 65534;
  if (::geteuid() == 0) cr_assert_eq(::setresuid(kNobody, kNobody, kNobody), 0);
}

}  // namespace

Test(fd, closes_itself_once) {
  int number = -1;
  {
    Fd fd(sys::eventfd(0, 0));
    number = fd.get();
    Fd moved = std::move(fd);
    cr_assert(!fd.valid() && moved.valid() && is_open(number));
  }
  cr_assert(!is_open(number));
}

Test(fd, assigned_over_is_closed_and_released_is_not) {
  Fd fd(sys::eventfd(0, 0));
  const int first = fd.get();
  fd = Fd(sys::eventfd(0, 0));
  cr_assert(!is_open(first));
  const int second = fd.release();
  cr_assert(!fd.valid() && is_open(second));
  sys::close(second);
}

Test(fd, error_of_the_kernel_is_no_descriptor) {
  const Fd fd(-EMFILE);
  cr_assert(!fd.valid());
}

Test(fd, moved_out_of_the_way_is_high_and_closed_at_exec) {
  limit_fds(4096);
  Fd fd = move_out_of_the_way(Fd(sys::eventfd(0, 0)));
  cr_assert_geq(fd.get(), first_private_fd());
  cr_assert_gt(fd.get(), 1024, "select(2) of the program does not reach it");
  cr_assert_eq(sys::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

Test(fd, of_ours_are_above_the_programs_limit) {
  limit_fds(256);
  rlimit before{};
  before = test::nofile_limit();
  if (before.rlim_max < 8192 && ::geteuid() != 0) cr_skip_test("the limit cannot be raised here");
  const Fd fd = move_out_of_the_way(Fd(sys::eventfd(0, 0)));
  cr_assert_geq(fd.get(), 1024, "select(2) of the program does not reach it");
  rlimit after{};
  after = test::nofile_limit();
  cr_expect_eq(after.rlim_cur, 256);
  cr_expect_eq(after.rlim_max, before.rlim_max);
}

Test(fd, is_made_where_the_program_has_used_up_its_numbers) {
  limit_fds(64);
  rlimit before{};
  before = test::nofile_limit();
  if (before.rlim_max < 8192 && ::geteuid() != 0) cr_skip_test("the limit cannot be raised here");
  Fd all[64];
  for (Fd& one : all) one = Fd(sys::eventfd(0, 0));
  cr_assert_eq(sys::eventfd(0, 0), -EMFILE);
  const Fd fd = make_out_of_the_way([]() -> long { return sys::eventfd(0, 0); });
  cr_assert(fd.valid());
  cr_expect_eq(sys::eventfd(0, 0), -EMFILE);
}

Test(fd, small_limits_leave_most_numbers_to_the_program) {
  nail_fds(256);
  Fd fd = move_out_of_the_way(Fd(sys::eventfd(0, 0)));
  cr_assert(fd.valid());
  cr_assert_geq(fd.get(), 128);
  cr_assert_lt(fd.get(), 256);
}

Test(fd, stays_where_it_is_when_there_is_no_room) {
  nail_fds(16);
  Fd kept[16];
  size_t count = 0;
  for (; count < 16; ++count) {
    kept[count] = Fd(sys::eventfd(0, 0));
    if (!kept[count].valid()) break;
  }
  cr_assert_gt(count, 0);
  const int number = kept[0].get();
  kept[0] = move_out_of_the_way(std::move(kept[0]));
  cr_assert_eq(kept[0].get(), number);
  cr_assert(is_open(number));
}

Test(fd, the_programs_highest_passes_over_ours) {
  limit_fds(1024);
  Fd low(sys::eventfd(0, 0));
  const Fd ours = private_duplicate(low.get());
  cr_assert(ours.get() >= 768);
  cr_expect_lt(highest_program_fd(), 500);
  const Fd high(sys::fcntl(low.get(), F_DUPFD, 500));
  cr_expect_eq(highest_program_fd(), high.get());
}

namespace {
bool is_blocked(int number) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, number) == 1;
}
}  // namespace

// A thread that unblocks signals takes those that the kernel has meant for another: a program's
// first thread never heard of its SIGTERM.
Test(fd, signals_are_blocked_only_where_nothing_else_puts_handlers_off) {
  {
    const FdLimitLock lock;
    cr_expect(is_blocked(SIGTERM));
  }
  cr_expect_not(is_blocked(SIGTERM));
  fd_limit_ask([] { return true; });
  {
    const FdLimitLock lock;
    cr_expect_not(is_blocked(SIGTERM));
  }
  fd_limit_ask(nullptr);
}
