// readiness_test.cpp - observers that come, go and shout while a source tells its news
#include "stack/readiness.h"

#include <criterion/criterion.h>

#include <functional>

#include "tests/support/one_thread.h"

using namespace underpass;

namespace {

struct Source : ReadinessSource {
  Readiness now = 0;
  Readiness readiness() const override { return now; }
};

struct Observer : Observation {
  size_t count = 0;
  Readiness seen = 0;
  std::function<void()> then;
  void notify(Readiness events) override {
    ++count;
    seen |= events;
    if (then) then();
  }
};

}  // namespace

TestSuite(readiness);

Test(readiness, every_notification_is_an_edge) {
  Source source;
  Observer observer;
  observer.attach(source);
  source.notify(EPOLLIN);
  source.notify(EPOLLIN);
  source.notify(EPOLLOUT);
  cr_expect_eq(observer.count, 3);
  cr_expect_eq(observer.seen, EPOLLIN | EPOLLOUT);
}

Test(readiness, a_detached_observer_hears_nothing) {
  Source source;
  Observer observer;
  observer.attach(source);
  observer.detach();
  observer.detach();
  source.notify(EPOLLIN);
  cr_expect_eq(observer.count, 0);
  cr_expect(observer.source() == nullptr);
}

Test(readiness, an_observer_may_detach_itself_while_it_is_told) {
  Source source;
  Observer first, second;
  first.attach(source);
  second.attach(source);
  first.then = [&] { first.detach(); };
  second.then = [&] { second.detach(); };
  source.notify(EPOLLIN);
  source.notify(EPOLLIN);
  cr_expect_eq(first.count, 1);
  cr_expect_eq(second.count, 1);
}

Test(readiness, an_observer_may_detach_the_one_that_would_be_next) {
  Source source;
  Observer first, second, third;
  first.attach(source);
  second.attach(source);
  third.attach(source);  // told first: the newest is
  third.then = [&] { second.detach(); };
  source.notify(EPOLLIN);
  cr_expect_eq(third.count, 1);
  cr_expect_eq(second.count, 0);
  cr_expect_eq(first.count, 1);
}

Test(readiness, a_notification_within_a_notification_reaches_all) {
  Source source;
  Observer first, second;
  first.attach(source);
  second.attach(source);
  bool once = true;
  second.then = [&] {
    if (!once) return;
    once = false;
    source.notify(EPOLLOUT);
    first.detach();
  };
  source.notify(EPOLLIN);
  cr_expect_eq(second.count, 2);
  // The inner one came to it, the outer one not any more.
  cr_expect_eq(first.count, 1);
}

Test(readiness, an_observer_may_move_to_another_source) {
  Source source, other;
  Observer observer;
  observer.attach(source);
  observer.then = [&] { observer.attach(other); };
  source.notify(EPOLLIN);
  source.notify(EPOLLIN);
  cr_expect_eq(observer.count, 1);
  other.notify(EPOLLIN);
  cr_expect_eq(observer.count, 2);
}

Test(readiness, a_source_that_dies_lets_its_observers_go) {
  Observer observer;
  {
    Source source;
    observer.attach(source);
  }
  cr_expect(observer.source() == nullptr);
}
