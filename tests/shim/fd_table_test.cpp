// fd_table_test.cpp - numbers, references and the last close
#include "shim/fd_table.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#include "tests/shim/fake_file.h"

using namespace underpass;

namespace {

void with_lock(void (*body)()) UP_NO_THREAD_SAFETY {
  StackLock lock;
  body();
}

}  // namespace

Test(fd_table, number_that_was_never_put_is_the_kernels) {
  for (const int fd : {-1, 0, 3, FdTable::kMaxFds, INT32_MAX}) {
    cr_assert_not(FdTable::maybe_ours(fd));
  }
}

Test(fd_table, last_of_two_numbers_ends_the_file) {
  with_lock([]() UP_NO_THREAD_SAFETY {
    auto* file = new FakeFile;
    const Ref<OpenFile> kept(file);
    const int first = file->number();
    constexpr int kSecond = 500;
    FdTable::put(first, file);
    FdTable::put(kSecond, file);
    file->add_fd(kSecond);
    cr_assert_eq(FdTable::find(kSecond), file);
    FdTable::drop(first);
    cr_assert_eq(file->closes_, 0);
    cr_assert_eq(file->fd(), kSecond);
    cr_assert_null(FdTable::find(first));
    FdTable::drop(kSecond);
    cr_assert_eq(file->closes_, 1);
  });
}

Test(fd_table, reused_number_forgets_what_it_named_before) {
  with_lock([]() UP_NO_THREAD_SAFETY {
    auto* stale = new FakeFile;
    const Ref<OpenFile> kept(stale);
    auto* fresh = new FakeFile;
    FdTable::put(stale->number(), stale);
    // As dup2(fresh, stale) does it.
    FdTable::put(fresh->number(), fresh);
    FdTable::put(stale->number(), fresh);
    fresh->add_fd(stale->number());
    cr_assert_eq(stale->closes_, 1);
    cr_assert_eq(FdTable::find(stale->number()), fresh);
    const Ref<OpenFile> kept_fresh(fresh);
    FdTable::drop(stale->number());
    cr_assert_eq(fresh->closes_, 0);
    FdTable::drop(fresh->number());
    cr_assert_eq(fresh->closes_, 1);
  });
}

Test(fd_table, file_that_became_the_kernels_is_forgotten) {
  with_lock([]() UP_NO_THREAD_SAFETY {
    auto* file = new FakeFile;
    const Ref<OpenFile> kept(file);
    FdTable::put(file->number(), file);
    file->is_kernels_ = true;
    cr_assert_null(FdTable::find(file->number()));
    cr_assert_not(FdTable::maybe_ours(file->number()));
  });
}

Test(fd_table, range_is_dropped_at_once) {
  with_lock([]() UP_NO_THREAD_SAFETY {
    auto* file = new FakeFile;
    const Ref<OpenFile> kept(file);
    FdTable::put(700, file);
    FdTable::drop_range(701, UINT32_MAX);
    cr_assert(FdTable::maybe_ours(700));
    FdTable::drop_range(0, UINT32_MAX);
    cr_assert_not(FdTable::maybe_ours(700));
  });
}

Test(private_fd, is_known_by_its_number_until_it_is_closed) {
  Fd moved = move_out_of_the_way(Fd(sys::eventfd(0, EFD_CLOEXEC)));
  const int number = moved.get();
  cr_assert_geq(number, first_private_fd());
  cr_assert(is_private_fd(number));
  cr_assert_eq(next_private_fd(0), number);
  cr_assert_eq(next_private_fd(number + 1), -1);
  moved.reset();
  cr_assert_not(is_private_fd(number));
  cr_assert_eq(sys::fcntl(number, F_GETFD), -EBADF);
}
