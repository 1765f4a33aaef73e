// tcp_mtu_test.cpp - the interface's MTU changes under open connections
#include <criterion/criterion.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/pattern.h"
#include "tests/support/simulated_host.h"

using namespace underpass;
using namespace underpass::test;

namespace {

constexpr uint32_t kLowMtu = 600;
constexpr size_t kEthernetBytes = 14;
constexpr uint64_t kMs = 1'000'000;

// A link that loses what is longer than its MTU, on both sides, and remembers the longest frame.
struct Link {
  Network network;
  uint32_t mtu = 1500;
  size_t longest = 0;
  std::string sent;
  std::string received;
  bool ended = false;

  Link() {
    network.wire.tap = [this](int, Bytes& frame) {
      longest = std::max(longest, frame.size());
      return frame.size() <= mtu + kEthernetBytes;
    };
  }
  void set_mtu(uint32_t bytes) {
    mtu = bytes;
    network.a.port().settings().mtu_bytes = network.b.port().settings().mtu_bytes = bytes;
    // What was sent before is on its way.
    network.a.stack().drive(VirtualClock::now_ns);
    network.b.stack().drive(VirtualClock::now_ns);
    longest = 0;
  }
  // As much of `bytes` as there is room for.
  void send(TcpEndpoint& from, size_t bytes, int flags = 0) {
    std::string more(bytes, '\0');
    for (size_t i = 0; i < bytes; ++i) more[i] = static_cast<char>((sent.size() + i) * 7 % 251);
    const ssize_t taken = send_bytes(from, more.data(), more.size(), flags);
    cr_assert_gt(taken, 0);
    sent.append(more, 0, static_cast<size_t>(taken));
  }
  bool drain(TcpEndpoint& at) {
    char buffer[65536];
    ssize_t got = 0;
    while ((got = receive_bytes(at, buffer, sizeof buffer)) > 0)
      received.append(buffer, static_cast<size_t>(got));
    ended = ended || got == 0;
    return received.size() >= sent.size();
  }
};

}  // namespace

TestSuite(tcp_mtu);

// Seen as connections that stalled: what was queued was too long for the interface, for ever.
Test(tcp_mtu, connection_goes_on_with_smaller_segments_when_it_is_lowered) {
  Link link;
  const Connection c = establish(link.network);
  link.send(*c.client, 300'000);
  link.network.run_for(kMs / 10);
  link.drain(*c.server);
  cr_assert_lt(link.received.size(), link.sent.size(), "some is unsent, some in flight");
  link.set_mtu(kLowMtu);
  cr_assert(link.network.run_until([&] { return link.drain(*c.server); }, 60'000 * kMs));
  cr_assert(link.received == link.sent);
  cr_expect_leq(link.longest, kLowMtu + kEthernetBytes);
  cr_expect_gt(link.longest, kLowMtu - kEthernetBytes, "nor are they smaller than need be");
  link.send(*c.client, 100'000);
  cr_assert(link.network.run_until([&] { return link.drain(*c.server); }, 60'000 * kMs));
  cr_assert(link.received == link.sent);
  cr_expect_leq(link.longest, kLowMtu + kEthernetBytes);
}

// lwIP leaves the FIN on both halves of a segment that it splits.
Test(tcp_mtu, end_of_stream_stays_at_the_end_of_what_is_split) {
  Link link;
  const Connection c = establish(link.network);
  link.network.b.port().set_transmitting(false);
  link.send(*c.client, 20'000);
  cr_assert(c.client->shutdown(SHUT_WR).ok());
  link.set_mtu(kLowMtu);
  link.network.b.port().set_transmitting(true);
  cr_assert(
      link.network.run_until([&] { return link.drain(*c.server) && link.ended; }, 60'000 * kMs));
  cr_assert(link.received == link.sent);
}

Test(tcp_mtu, corked_tail_that_has_become_too_long_goes_in_pieces) {
  Link link;
  const Connection c = establish(link.network);
  link.send(*c.client, 1300, MSG_MORE);
  link.set_mtu(kLowMtu);
  cr_assert(link.network.run_until([&] { return link.drain(*c.server); }, 1000 * kMs));
  cr_assert(link.received == link.sent);
  cr_expect_leq(link.longest, kLowMtu + kEthernetBytes);
}

Test(tcp_mtu, segments_grow_again_when_it_is_raised) {
  Link link;
  const Connection c = establish(link.network);
  link.set_mtu(kLowMtu);
  link.send(*c.client, 10'000);
  cr_assert(link.network.run_until([&] { return link.drain(*c.server); }, 10'000 * kMs));
  cr_expect_leq(link.longest, kLowMtu + kEthernetBytes);
  link.set_mtu(1500);
  link.send(*c.client, 10'000);
  cr_assert(link.network.run_until([&] { return link.drain(*c.server); }, 10'000 * kMs));
  cr_assert(link.received == link.sent);
  cr_expect_eq(link.longest, 1500 + kEthernetBytes);
}

Test(tcp_mtu, connection_that_is_opened_afterwards_fits_at_once) {
  Link link;
  link.set_mtu(kLowMtu);
  const Connection c = establish(link.network);
  cr_expect_eq(c.client->mss(), kLowMtu - 20 - 20 - 12, "timestamps count");
  link.send(*c.server, 10'000);
  cr_assert(link.network.run_until([&] { return link.drain(*c.client); }, 10'000 * kMs));
  cr_expect_leq(link.longest, kLowMtu + kEthernetBytes);
}
