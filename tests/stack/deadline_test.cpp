// deadline_test.cpp - who sleeps until a deadline is told of an earlier one
#include <criterion/criterion.h>

#include <sys/socket.h>

#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

// Sleeps until the stack's next deadline, as of its construction.
class Sleeper : public DeadlineWatcher {
 public:
  explicit Sleeper(Stack& stack) : stack_(stack), until_ns_(stack.next_deadline_ns()) {
    stack.watch_deadline(*this, until_ns_);
  }
  ~Sleeper() override { stack_.watch_deadline(*this, 0); }
  void deadline_is_earlier(uint64_t at_ns) override { until_ns_ = std::min(until_ns_, at_ns); }
  // It would drive the stack too late.
  bool oversleeps() const { return until_ns_ > stack_.next_deadline_ns(); }
  uint64_t until_ns() const { return until_ns_; }

 private:
  Stack& stack_;
  uint64_t until_ns_;
};

}  // namespace

TestSuite(deadline);

Test(deadline, a_syn_is_sent_again_though_nothing_was_due_before) {
  Network network;
  network.wire.faults.loss = 1;
  const Sleeper sleeper(network.a.stack());
  cr_assert_eq(sleeper.until_ns(), UINT64_MAX);
  network.a.connect(network.b, 80, 5000);
  cr_assert_neq(sleeper.until_ns(), UINT64_MAX);
  VirtualClock::now_ns = sleeper.until_ns();
  network.a.stack().drive(VirtualClock::now_ns);
  cr_expect_eq(network.a.counters().tcp_retransmits.load(), 1);
}

Test(deadline, data_is_sent_again_though_only_a_keepalive_was_due) {
  Network network;
  TcpOptions options;
  options.keep_alive = true;
  const Connection connection = establish(network, 80, options);
  network.run_for(kSecond);
  const Sleeper sleeper(network.a.stack());
  cr_assert_gt(sleeper.until_ns(), VirtualClock::now_ns + 60 * kSecond);
  cr_assert_eq(send_bytes(*connection.client, "x", 1), 1);
  cr_expect_leq(sleeper.until_ns(), VirtualClock::now_ns + kSecond);
  cr_expect_not(sleeper.oversleeps());
}

Test(deadline, the_end_of_time_wait_is_told) {
  Network network;
  const Connection connection = establish(network);
  connection.client->disown(Fd());
  network.run_for(kSecond);
  const Sleeper sleeper(network.a.stack());
  connection.server->disown(Fd());
  network.run_for(kSecond);
  cr_assert_neq(network.a.stack().next_deadline_ns(), UINT64_MAX);
  cr_expect_not(sleeper.oversleeps());
  connection.listener->close();
}
