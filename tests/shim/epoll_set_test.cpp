// epoll_set_test.cpp - level, edge, one-shot, both sides of a file, and what ends a wait
#include "shim/epoll_set.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>
#include <vector>

#include "shim/real.h"
#include "tests/shim/fake_file.h"

using namespace underpass;

namespace {

// An epoll set with its kernel descriptor; the lock is held for the whole test.
struct Bench {
  Bench() UP_NO_THREAD_SAFETY {
    stack_mutex.lock();
    find_real_calls();
    epoll = Fd(static_cast<int>(sys::call(SYS_epoll_create1, EPOLL_CLOEXEC)));
    set = EpollSet::create(epoll.get());
    cr_assert(set);
  }
  ~Bench() UP_NO_THREAD_SAFETY {
    set->last_close(epoll.get());
    set = nullptr;
    stack_mutex.unlock();
  }

  Result<void> control(int operation, FakeFile& file, uint32_t events,
                       uint64_t data = 0) UP_NO_THREAD_SAFETY {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    return set->control(operation, file.number(), file, &event);
  }
  Result<void> control(int operation, int fd, OpenFile& file,
                       const epoll_event* event) UP_NO_THREAD_SAFETY {
    return set->control(operation, fd, file, event);
  }
  std::vector<epoll_event> wait(size_t room = 8) UP_NO_THREAD_SAFETY {
    std::vector<epoll_event> out(room);
    const auto got = set->wait(out, Deadline::in_ns(0), nullptr);
    cr_assert(got.ok(), "errno %d", got.error());
    out.resize(static_cast<size_t>(*got));
    return out;
  }
  bool kernel_says_readable() const {
    pollfd one{epoll.get(), POLLIN, 0};
    timespec zero{};
    return sys::ppoll(&one, 1, &zero, nullptr) > 0;
  }

  Fd epoll;
  Ref<EpollSet> set;
};

void arrive(FakeFile& file, Readiness events) UP_NO_THREAD_SAFETY { file.arrive(events); }

}  // namespace

Test(epoll_set, level_triggered_reports_as_long_as_there_is_something) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN, 7));
  cr_assert(bench.wait().empty());
  arrive(file, EPOLLIN);
  for (int i = 0; i < 3; ++i) {
    const auto events = bench.wait();
    cr_assert_eq(events.size(), 1);
    cr_assert_eq(events[0].events, EPOLLIN);
    cr_assert_eq(events[0].data.u64, 7);
  }
  file.consume();
  cr_assert(bench.wait().empty());
  cr_assert(bench.wait().empty());
}

Test(epoll_set, edge_triggered_reports_once_for_each_arrival) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN | EPOLLET));
  arrive(file, EPOLLIN);
  cr_assert_eq(bench.wait().size(), 1);
  cr_assert(bench.wait().empty());
  arrive(file, EPOLLIN);
  arrive(file, EPOLLIN);
  cr_assert_eq(bench.wait().size(), 1);
  cr_assert(bench.wait().empty());
}

Test(epoll_set, modify_gives_a_new_edge) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN | EPOLLET, 1));
  arrive(file, EPOLLIN);
  cr_assert_eq(bench.wait().size(), 1);
  cr_assert(bench.control(EPOLL_CTL_MOD, file, EPOLLIN | EPOLLET, 2));
  const auto events = bench.wait();
  cr_assert_eq(events.size(), 1);
  cr_assert_eq(events[0].data.u64, 2);
}

Test(epoll_set, one_shot_is_silent_until_it_is_armed_again) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN | EPOLLONESHOT));
  arrive(file, EPOLLIN);
  cr_assert_eq(bench.wait().size(), 1);
  arrive(file, EPOLLIN);
  arrive(file, EPOLLHUP);
  cr_assert(bench.wait().empty());
  cr_assert(bench.control(EPOLL_CTL_MOD, file, EPOLLIN | EPOLLONESHOT));
  const auto events = bench.wait();
  cr_assert_eq(events.size(), 1);
  cr_assert_eq(events[0].events, EPOLLIN | EPOLLHUP);
}

Test(epoll_set, error_and_hangup_are_reported_unasked) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, 0));
  arrive(file, EPOLLIN);
  cr_assert(bench.wait().empty());
  arrive(file, EPOLLERR | EPOLLHUP);
  cr_assert_eq(bench.wait()[0].events, EPOLLERR | EPOLLHUP);
}

Test(epoll_set, ready_before_it_was_added_is_reported) {
  Bench bench;
  FakeFile file;
  file.ready_ = EPOLLOUT;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLOUT | EPOLLET));
  cr_assert_eq(bench.wait().size(), 1);
  cr_assert(bench.wait().empty());
}

Test(epoll_set, little_room_serves_all_in_turn) {
  Bench bench;
  FakeFile files[3];
  for (uint64_t i = 0; i < 3; ++i) {
    cr_assert(bench.control(EPOLL_CTL_ADD, files[i], EPOLLIN, i));
    arrive(files[i], EPOLLIN);
  }
  std::vector<uint64_t> seen;
  for (int i = 0; i < 6; ++i) {
    const auto events = bench.wait(1);
    cr_assert_eq(events.size(), 1);
    const uint64_t tag = events[0].data.u64;  // no reference: the struct is packed
    seen.push_back(tag);
  }
  cr_assert(seen == std::vector<uint64_t>({0, 1, 2, 0, 1, 2}));
}

Test(epoll_set, errors_are_the_kernels) {
  Bench bench;
  FakeFile file;
  epoll_event event{};
  cr_assert_eq(bench.control(EPOLL_CTL_MOD, file, EPOLLIN).error(), ENOENT);
  cr_assert_eq(bench.control(EPOLL_CTL_DEL, file, EPOLLIN).error(), ENOENT);
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN));
  cr_assert_eq(bench.control(EPOLL_CTL_ADD, file, EPOLLIN).error(), EEXIST);
  cr_assert_eq(bench.control(99, file, EPOLLIN).error(), EINVAL);
  cr_assert_eq(bench.control(EPOLL_CTL_MOD, file.number(), file, nullptr).error(), EFAULT);
  cr_assert_eq(bench.control(EPOLL_CTL_ADD, bench.epoll.get(), *bench.set, &event).error(), EINVAL);
  cr_assert(bench.control(EPOLL_CTL_DEL, file.number(), file, nullptr));
}

Test(epoll_set, removed_file_reports_nothing) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN));
  arrive(file, EPOLLIN);
  cr_assert(bench.control(EPOLL_CTL_DEL, file, 0));
  cr_assert(bench.wait().empty());
  arrive(file, EPOLLIN);
  cr_assert(bench.wait().empty());
}

Test(epoll_set, closed_file_leaves_the_set) {
  Bench bench;
  FakeFile file;
  file.kernel_events_ = EPOLLIN;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN));
  arrive(file, EPOLLIN);
  [&]() UP_NO_THREAD_SAFETY { file.last_close(file.number()); }();
  cr_assert(bench.wait().empty());
  cr_assert_eq(bench.control(EPOLL_CTL_DEL, file, 0).error(), ENOENT);
}

Test(epoll_set, kernel_side_is_reported_with_the_programs_data) {
  Bench bench;
  FakeFile file;
  file.kernel_events_ = EPOLLIN;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN, 42));
  cr_assert(bench.wait().empty());
  file.kernel_arrive();
  for (int i = 0; i < 2; ++i) {
    const auto events = bench.wait();
    cr_assert_eq(events.size(), 1);
    cr_assert_eq(events[0].data.u64, 42);
  }
  cr_assert_eq(file.hinted_, EPOLLIN);
  file.kernel_consume();
  cr_assert(bench.wait().empty());
}

Test(epoll_set, file_ready_on_both_sides_is_reported_once) {
  Bench bench;
  FakeFile file;
  file.kernel_events_ = EPOLLIN;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN));
  file.kernel_arrive();
  arrive(file, EPOLLIN);
  cr_assert_eq(bench.wait().size(), 1);
}

Test(epoll_set, one_shot_silences_the_kernel_side_too) {
  Bench bench;
  FakeFile file;
  file.kernel_events_ = EPOLLIN;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN | EPOLLONESHOT));
  arrive(file, EPOLLIN);
  cr_assert_eq(bench.wait().size(), 1);
  file.kernel_arrive();
  cr_assert(bench.wait().empty());
  cr_assert(bench.control(EPOLL_CTL_MOD, file, EPOLLIN | EPOLLONESHOT));
  cr_assert_eq(bench.wait().size(), 1);
}

Test(epoll_set, files_of_the_kernel_and_ours_share_the_room) {
  Bench bench;
  FakeFile ours;
  const Fd pipe_like(sys::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 1;
  sys::call(SYS_epoll_ctl, bench.epoll.get(), EPOLL_CTL_ADD, pipe_like.get(), sys::arg(&event));
  [&]() UP_NO_THREAD_SAFETY { bench.set->count_kernel_file(1); }();
  cr_assert(bench.control(EPOLL_CTL_ADD, ours, EPOLLIN, 2));
  arrive(ours, EPOLLIN);
  bool seen[3] = {};
  // The kernel's turn comes with time, not with every call.
  for (int i = 0; i < 100000 && !(seen[1] && seen[2]); ++i) {
    for (const auto& one : bench.wait(1)) seen[one.data.u64] = true;
  }
  cr_assert(seen[1] && seen[2]);
}

Test(epoll_set, set_without_items_of_ours_serves_the_kernels) {
  Bench bench;
  const Fd pipe_like(sys::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 5;
  sys::call(SYS_epoll_ctl, bench.epoll.get(), EPOLL_CTL_ADD, pipe_like.get(), sys::arg(&event));
  [&]() UP_NO_THREAD_SAFETY { bench.set->count_kernel_file(1); }();
  const auto events = bench.wait();
  cr_assert_eq(events.size(), 1);
  cr_assert_eq(events[0].data.u64, 5);
}

Test(epoll_set, file_that_became_the_kernels_moves_to_the_programs_epoll) {
  Bench bench;
  FakeFile file;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN, 9));
  file.is_kernels_ = true;
  [&]() UP_NO_THREAD_SAFETY { file.notify(kPlacementChanged); }();
  file.kernel_arrive();
  const auto events = bench.wait();
  cr_assert_eq(events.size(), 1);
  cr_assert_eq(events[0].data.u64, 9);
}

Test(epoll_set, nested_set_is_readable_when_it_has_something) {
  Bench bench;
  FakeFile file;
  const Fd outer_fd(static_cast<int>(sys::call(SYS_epoll_create1, EPOLL_CLOEXEC)));
  [&]() UP_NO_THREAD_SAFETY {
    const Ref<EpollSet> outer = EpollSet::create(outer_fd.get());
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = 3;
    cr_assert(outer->control(EPOLL_CTL_ADD, bench.epoll.get(), *bench.set, &event));
    cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN));
    epoll_event out[2];
    cr_assert_eq(*outer->wait(out, Deadline::in_ns(0), nullptr), 0);
    arrive(file, EPOLLIN);
    cr_assert_eq(*outer->wait(out, Deadline::in_ns(0), nullptr), 1);
    cr_assert_eq(out[0].data.u64, 3);
    // A set in a set in itself.
    cr_assert_eq(bench.set->control(EPOLL_CTL_ADD, outer_fd.get(), *outer, &event).error(), ELOOP);
    outer->last_close(outer_fd.get());
  }();
}

Test(epoll_set, kernel_side_wakes_whoever_polls_the_programs_epoll) {
  Bench bench;
  FakeFile file;
  file.kernel_events_ = EPOLLIN;
  cr_assert(bench.control(EPOLL_CTL_ADD, file, EPOLLIN));
  cr_assert_not(bench.kernel_says_readable());
  file.kernel_arrive();
  cr_assert(bench.kernel_says_readable());
}
