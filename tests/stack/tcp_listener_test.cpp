// tcp_listener_test.cpp - a listener that other processes have, too
#include "stack/tcp_listener.h"

#include <criterion/criterion.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/sys.h"
#include "stack/clock.h"
#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint16_t kPort = 80;

// `a` connects, `b` listens, and the kernel's listener there is another process's as well.
struct Shared {
  Shared() {
    network.b.listener_events.shared = true;
    listener = network.b.listen(kPort);
  }
  ~Shared() {
    if (client != nullptr) client->disown(Fd());
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  // One that nobody has accepted yet.
  void connect() {
    client = network.a.connect(network.b, kPort, ++from_port);
    network.run_until([&] { return !client->connecting() && listener->ready(); });
  }
  size_t handed_over() { return network.b.view().handed_over.size(); }

  Network network;
  TcpListener* listener;
  TcpEndpoint* client = nullptr;
  uint16_t from_port = 40000;
};

}  // namespace

TestSuite(tcp_listener);

Test(tcp_listener, alone_it_keeps_what_nobody_accepts) {
  Shared one;
  one.connect();
  one.network.run_for(500 * kNsPerMs);
  cr_expect(one.listener->has_own());
  cr_expect_eq(one.handed_over(), 0);
  one.listener->close();
}

Test(tcp_listener, one_that_was_never_used_rests_beside_others) {
  Shared one;
  one.connect();
  cr_expect(one.network.b.has_share(kPort));
  one.network.b.share_port(kPort, false);
  cr_expect(one.network.run_until([&] { return one.handed_over() == 1; }, kNsPerS));
  cr_expect_not(one.network.b.has_share(kPort));
  cr_expect_not(one.listener->ready());
  cr_expect_eq(one.network.b.view().handed_over[0].port, kPort);
  cr_expect_eq(one.network.b.view().moved.size(), 1);
  one.listener->use();
  cr_expect(one.network.b.has_share(kPort), "it has come back");
  one.listener->close();
  cr_expect_not(one.network.b.has_share(kPort));
}

Test(tcp_listener, what_has_waited_goes_to_one_that_waits) {
  Shared one;
  one.listener->use();
  one.network.b.share_port(kPort, false);
  one.connect();
  one.network.run_for(500 * kNsPerMs);
  cr_expect_eq(one.handed_over(), 0, "the others are busy, too");
  one.network.b.share_port(kPort, true);
  cr_expect(one.network.run_until([&] { return one.handed_over() == 1; }, 100 * kNsPerMs));
  cr_expect(one.network.b.has_share(kPort));
  one.listener->close();
}

Test(tcp_listener, what_is_accepted_in_time_stays) {
  Shared one;
  one.listener->use();
  one.network.b.share_port(kPort, true);
  one.connect();
  TcpEndpoint* const accepted = one.listener->take();
  cr_assert_not_null(accepted);
  one.network.run_for(500 * kNsPerMs);
  cr_expect_eq(one.handed_over(), 0);
  accepted->disown(Fd());
  one.listener->close();
}

Test(tcp_listener, one_that_leaves_hands_over_what_is_ready_and_what_comes) {
  Shared one;
  one.listener->use();
  one.network.b.share_port(kPort, false);
  one.connect();
  TcpEndpoint* const first = one.client;
  one.listener->leave_to_others();
  cr_expect_not(one.network.b.has_share(kPort));
  // Its SYN is in the rings already.
  one.client = one.network.a.connect(one.network.b, kPort, ++one.from_port);
  cr_expect(one.network.run_until([&] { return one.handed_over() == 2; }, kNsPerS));
  cr_expect_not(one.client->connecting());
  cr_expect_eq(first->peek_error(), 0);
  cr_expect(one.network.run_until([&] { return !one.network.b.stack().has_leaving_listeners(); },
                                  kNsPerS));
  first->disown(Fd());
}

// What is in the rings yet is for whoever has the kernel's listener now.
Test(tcp_listener, one_that_has_left_does_not_refuse_what_still_comes) {
  Shared one;
  one.listener->use();
  one.listener->leave_to_others();
  cr_assert(one.network.run_until([&] { return !one.network.b.stack().has_leaving_listeners(); },
                                  kNsPerS));
  one.client = one.network.a.connect(one.network.b, kPort, ++one.from_port);
  one.network.run_for(100 * kNsPerMs);
  cr_expect(one.client->connecting());
  cr_expect(one.network.run_until([&] { return !one.client->connecting(); }, 3 * kNsPerS));
  cr_expect_eq(one.client->take_error(), ECONNREFUSED, "later it is refused");
}

// Its listener has gone, and the port is the kernel's: a peer waited for an answer that no
// connection in TIME_WAIT gives.
Test(tcp_listener, a_new_connection_of_an_old_name_is_for_whoever_has_the_port_now) {
  Shared one;
  one.listener->use();
  one.network.b.share_port(kPort, false);
  one.connect();
  TcpEndpoint* const accepted = one.listener->take();
  accepted->disown(Fd());  // closes first, and waits
  one.network.run_for(10 * kNsPerMs);
  one.client->disown(Fd());
  one.network.run_for(10 * kNsPerMs);
  cr_assert_eq(accepted->state(), SocketState::kTimeWait);
  one.listener->leave_to_others();
  cr_assert(one.network.run_until([&] { return !one.network.b.stack().has_leaving_listeners(); },
                                  kNsPerS));
  one.network.b.unshare_port(kPort);
  one.network.run_for(kNsPerS);  // the peer's numbers have gone on
  one.client = one.network.a.connect(one.network.b, kPort, one.from_port);
  one.network.run_for(100 * kNsPerMs);
  cr_expect(one.client->connecting());
  cr_expect_eq(one.network.b.stack().tcp().size(), 0, "nobody waits any more");
}

Test(tcp_listener, one_that_closes_alone_resets_what_nobody_has_accepted) {
  Shared one;
  one.connect();
  one.listener->close();
  cr_expect(one.network.run_until([&] { return one.client->gone(); }, kNsPerS));
  cr_expect_eq(one.client->take_error(), ECONNRESET);
  cr_expect_eq(one.handed_over(), 0);
}

Test(tcp_listener, what_cannot_be_handed_over_stays) {
  Shared one;
  one.network.b.share_port(kPort, true);
  one.network.b.view().move_error = EPERM;
  one.connect();
  one.network.run_for(100 * kNsPerMs);
  cr_expect(one.listener->has_own());
  one.network.b.view().move_error = 0;
  cr_expect(one.network.run_until([&] { return one.handed_over() == 1; }, 3 * kNsPerS));
  one.listener->close();
}

Test(tcp_listener, what_others_have_left_is_there_to_be_accepted) {
  Shared one;
  one.listener->use();
  Fd socket(sys::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int number = socket.get();
  const SocketAddress claim{IpAddress::any(AF_INET), kPort, 0};
  one.network.b.view().bring(claim, std::move(socket));
  one.network.run_for(kNsPerMs);
  cr_expect(one.listener->ready());
  cr_expect_not(one.listener->has_own());
  cr_expect((one.network.b.listener_events.seen & EPOLLIN) != 0);
  cr_expect_eq(one.listener->take_brought().get(), number);
  one.listener->close();
  one.network.b.view().bring(claim, Fd(sys::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  one.network.run_for(kNsPerMs);
  cr_expect_eq(one.handed_over(), 1, "for whoever is there");
}
