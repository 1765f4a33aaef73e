// word_lock_test.cpp - the broker's way to take the clients' locks
#include "xdp/broker/word_lock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "tests/xdp/fake_queue.h"

using namespace underpass;
using namespace underpass::test;

Test(word_lock, excludes_clients_and_is_excluded_by_them) {
  FakeControl control(1);
  pthread_mutex_t& mutex = control->locks[0].fill;
  LockOwner owner;
  {
    const WordTryLock lock(owner, mutex);
    cr_assert(lock.held());
    cr_assert(!lock.recovered());
    cr_assert(!RobustTryLock(mutex).held());
  }
  {
    const RobustTryLock client(mutex);
    cr_assert(client.held());
    cr_assert(!WordTryLock(owner, mutex).held());
  }
  cr_assert(WordTryLock(owner, mutex).held());
}

Test(word_lock, lock_of_a_dead_client_is_taken_over_once) {
  FakeControl control(1);
  pthread_mutex_t& mutex = control->locks[0].fill;
  const pid_t child = ::fork();
  if (child == 0) {
    pthread_mutex_lock(&mutex);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  LockOwner owner;
  {
    const WordTryLock lock(owner, mutex);
    cr_assert(lock.held());
    cr_assert(lock.recovered());
  }
  const RobustTryLock client(mutex);
  cr_assert(client.held());
  cr_assert(!client.recovered());
}

Test(word_lock, lock_of_a_killed_broker_is_taken_over_by_a_client) {
  FakeControl control(1);
  pthread_mutex_t& mutex = control->locks[0].fill;
  const pid_t child = ::fork();
  if (child == 0) {
    LockOwner owner;
    const WordTryLock lock(owner, mutex);
    if (!lock.held()) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  const RobustTryLock client(mutex);
  cr_assert(client.held());
  cr_assert(client.recovered());
}

// pthread_mutex_trylock(3) would write through the pointers that it finds in the mutex.
Test(word_lock, nothing_but_the_word_is_believed_or_written) {
  FakeControl control(1);
  pthread_mutex_t& mutex = control->locks[0].fill;
  std::memset(&mutex, 0x41, sizeof mutex);
  const uint32_t free_word = 0;
  std::memcpy(&mutex, &free_word, sizeof free_word);
  const pthread_mutex_t before = mutex;
  LockOwner owner;
  { cr_assert(WordTryLock(owner, mutex).held()); }
  cr_assert_eq(std::memcmp(&mutex, &before, sizeof mutex), 0);
  const uint32_t somebody = 1;
  std::memcpy(&mutex, &somebody, sizeof somebody);
  cr_assert(!WordTryLock(owner, mutex).held());
}
