// wire_test.cpp - the scenarios of the Socket class on the kernel's loopback and, with the same
// transcript, over the simulated wire
#include <criterion/criterion.h>
#include <unistd.h>

#include "tests/socket/scenario.h"
#include "tests/socket/wire_net.h"

namespace underpass::test {
namespace {

// Of loopback, which is 127.0.0.0/8: no other test process has the same.
std::string peer_address(int last) {
  const int pid = ::getpid();
  return "127." + std::to_string(pid / 256 % 256) + "." + std::to_string(pid % 256) + "." +
         std::to_string(last);
}

std::string lines(const Scenario& scenario, PeerNet& net, const std::string& peer) {
  serve(net);
  const Setting setting{Setting::kLoopback, peer, ""};
  Transcript transcript(setting);
  scenario.run({setting, transcript});
  return transcript.lines();
}

void compare(const Scenario& scenario) {
  // The peers serve until the process ends.
  const std::string kernel_peer = peer_address(2);
  auto* const kernel = kernel_net(kernel_peer).release();
  const std::string expected = lines(scenario, *kernel, kernel_peer);
  cr_assert_not(expected.empty());

  // At this address there is nobody but on the wire.
  const std::string wire_peer = peer_address(3);
  auto* const wire = new WireNet(wire_peer);
  const Interface interface("lo");
  const std::string seen = lines(scenario, *wire, wire_peer);
  cr_expect_str_eq(seen.c_str(), expected.c_str(), "%s: on the kernel\n%sover the wire\n%s",
                   scenario.name, expected.c_str(), seen.c_str());
  if (scenario.proof != Proof::kNone) cr_expect_gt(wire->frames_from_program(), 0);
}

#define UP_TEST_Everywhere(name, proof) \
  Test(socket, name) { compare({#name, Proof::proof, scenarios::name}); }
#define UP_TEST_Veth(name, proof)
#define SCENARIO(name, proof, where) UP_TEST_##where(name, proof)
#include "tests/socket/scenarios.def"
#undef SCENARIO

}  // namespace
}  // namespace underpass::test
