// steer_test.cpp - frames as data, run through the steering program (BPF_PROG_TEST_RUN)
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <linux/bpf.h>

#include <vector>

#include "base/limits.h"
#include "tests/steer/steer_case.h"
#include "tests/steer/steer_fixture.h"

using namespace underpass;
using namespace underpass::test;

namespace {

// The tables that every frame below meets.
constexpr const char* kOurSecond = "10.0.0.2";
constexpr const char* kOursElsewhere = "10.1.0.1";
constexpr uint16_t kDead = 7001;         // slot 2, which has no rings
constexpr uint16_t kFlowOnly = 7002;     // one flow of slot 3
constexpr uint16_t kFlowBeside = 7003;   // slot 1, but one flow is slot 3's
constexpr uint16_t kKernelPeer = 40003;  // whose flow there is the kernel's
constexpr uint16_t kOneAddress = 7004;   // slot 1, but on kOurSecond slot 3's
constexpr uint16_t kFlowOfDead = 7005;   // one flow of slot 2
constexpr uint16_t kAtFirst = 7006;      // slot 1, on kOurs
constexpr uint16_t kShared = 7007;       // slot 1 on kOurs, slot 2 on kOurSecond
constexpr const char* kJoined = "239.7.7.7";
constexpr uint16_t kJoinedPort = 7008;  // slot 3, as a group's
constexpr uint16_t kFlowPeer = 40000;
constexpr uint8_t kRaw = 253;        // slot 1
constexpr uint8_t kRawOfDead = 254;  // slot 2

const Case kCases[] = {
    {"TCP to a claimed port", {}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"UDP to a claimed port", {.protocol = IPPROTO_UDP}, XDP_REDIRECT, UP_STEER_udp_frames},
    {"to the second address", {.to = kOurSecond}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"as long as a chunk has room", {.bytes = kMaxFrameBytes}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"longer than a chunk", {.bytes = kMaxFrameBytes + 1}, XDP_PASS, UP_STEER_pass_long},
    {"long, but not ours",
     {.to_port = 80, .bytes = kMaxFrameBytes + 1},
     XDP_PASS,
     UP_STEER_pass_port},
    {"padded to Ethernet's least",
     {.protocol = IPPROTO_UDP, .bytes = 60},
     XDP_REDIRECT,
     UP_STEER_udp_frames},
    {"TCP to a port of the kernel's", {.to_port = 22}, XDP_PASS, UP_STEER_pass_port},
    {"UDP to a port that only TCP has",
     {.protocol = IPPROTO_UDP, .to_port = kDead},
     XDP_PASS,
     UP_STEER_pass_port},
    {"port 0", {.to_port = 0}, XDP_PASS, UP_STEER_pass_port},
    {"port 65535", {.to_port = 65535}, XDP_PASS, UP_STEER_pass_port},
    {"to another host", {.to = "10.0.0.77"}, XDP_PASS, UP_STEER_pass_address},
    {"to a multicast group",
     {.to = "224.0.0.251", .protocol = IPPROTO_UDP},
     XDP_PASS,
     UP_STEER_pass_address},
    {"to a group that somebody has joined",
     {.to = kJoined, .protocol = IPPROTO_UDP, .to_port = kJoinedPort},
     XDP_REDIRECT,
     UP_STEER_udp_frames},
    {"to that group on another port",
     {.to = kJoined, .protocol = IPPROTO_UDP},
     XDP_PASS,
     UP_STEER_pass_address},
    {"TCP to that group", {.to = kJoined, .to_port = kJoinedPort}, XDP_PASS, UP_STEER_pass_address},
    {"to that group, from an address of ours",
     {.to = kJoined, .from = kOurSecond, .protocol = IPPROTO_UDP, .to_port = kJoinedPort},
     XDP_PASS,
     UP_STEER_pass_martian},
    {"broadcast",
     {.to = "255.255.255.255", .protocol = IPPROTO_UDP},
     XDP_PASS,
     UP_STEER_pass_address},
    {"to an address of another interface of ours",
     {.to = kOursElsewhere},
     XDP_PASS,
     UP_STEER_pass_address},
    {"from loopback", {.from = "127.0.0.1"}, XDP_PASS, UP_STEER_pass_martian},
    {"from the end of loopback", {.from = "127.255.255.254"}, XDP_PASS, UP_STEER_pass_martian},
    {"from behind loopback", {.from = "128.0.0.1"}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"from no address", {.from = "0.0.0.0"}, XDP_PASS, UP_STEER_pass_martian},
    {"from network zero, as the kernel", {.from = "0.0.0.1"}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"from before the groups", {.from = "223.255.255.255"}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"from a group", {.from = "224.0.0.1"}, XDP_PASS, UP_STEER_pass_martian},
    {"from the last group",
     {.from = "239.255.255.255", .protocol = IPPROTO_UDP},
     XDP_PASS,
     UP_STEER_pass_martian},
    {"from a reserved address, as the kernel",
     {.from = "240.0.0.1"},
     XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"from broadcast", {.from = "255.255.255.255"}, XDP_PASS, UP_STEER_pass_martian},
    {"from its own destination", {.from = kOurs}, XDP_PASS, UP_STEER_pass_martian},
    {"from another address of ours",
     {.from = kOurSecond, .protocol = IPPROTO_UDP},
     XDP_PASS,
     UP_STEER_pass_martian},
    {"from an address of another interface of ours",
     {.from = kOursElsewhere},
     XDP_PASS,
     UP_STEER_pass_martian},
    {"from an address with the bit of one of ours",
     {.from = "10.0.1.220"},
     XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"from an address of ours to a port of the kernel's",
     {.from = kOurs, .to_port = 22},
     XDP_PASS,
     UP_STEER_pass_port},
    {"first fragment", {.fragment = 0x2000}, XDP_PASS, UP_STEER_pass_fragment},
    {"last fragment", {.fragment = 0x00b9}, XDP_PASS, UP_STEER_pass_fragment},
    {"fragmenting allowed, but not done", {.fragment = 0}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"IP options", {.header_words = 6, .bytes = 80}, XDP_PASS, UP_STEER_pass_options},
    {"header too short to be one", {.header_words = 4}, XDP_PASS, UP_STEER_pass_options},
    {"ICMP", {.protocol = IPPROTO_ICMP}, XDP_PASS, UP_STEER_pass_protocol},
    {"ICMPv6, though somebody has claimed it",
     {.protocol = IPPROTO_ICMPV6},
     XDP_PASS,
     UP_STEER_pass_protocol},
    {"SCTP", {.protocol = IPPROTO_SCTP}, XDP_PASS, UP_STEER_pass_protocol},
    {"a claimed protocol", {.protocol = kRaw}, XDP_REDIRECT, UP_STEER_raw_frames},
    {"a claimed protocol without a byte of its own",
     {.protocol = kRaw, .bytes = 34},
     XDP_REDIRECT,
     UP_STEER_raw_frames},
    {"a claimed protocol to another host",
     {.to = "10.0.0.77", .protocol = kRaw},
     XDP_PASS,
     UP_STEER_pass_address},
    {"a fragment of a claimed protocol",
     {.protocol = kRaw, .fragment = 0x2000},
     XDP_PASS,
     UP_STEER_pass_fragment},
    {"a protocol whose owner has gone",
     {.protocol = kRawOfDead},
     XDP_PASS,
     UP_STEER_pass_no_socket},
    {"ARP", {.ether_type = ETH_P_ARP}, XDP_PASS, UP_STEER_pass_not_ip},
    {"VLAN", {.ether_type = ETH_P_8021Q}, XDP_PASS, UP_STEER_pass_not_ip},
    {"IPv4's type but version 6", {.version = 6}, XDP_PASS, UP_STEER_pass_not_ip},
    {"Ethernet header alone", {.bytes = 14}, XDP_PASS, UP_STEER_pass_short},
    {"IP header cut", {.bytes = 33}, XDP_PASS, UP_STEER_pass_short},
    {"TCP header cut", {.bytes = 53}, XDP_PASS, UP_STEER_pass_short},
    {"UDP header cut", {.protocol = IPPROTO_UDP, .bytes = 41}, XDP_PASS, UP_STEER_pass_short},
    {"UDP header alone", {.protocol = IPPROTO_UDP, .bytes = 42}, XDP_REDIRECT, UP_STEER_udp_frames},
    {"to a slot whose rings are gone", {.to_port = kDead}, XDP_PASS, UP_STEER_pass_no_socket},
    {"the flow of a port of the kernel's",
     {.from_port = kFlowPeer, .to_port = kFlowOnly},
     XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"another flow of that port",
     {.from_port = 40001, .to_port = kFlowOnly},
     XDP_PASS,
     UP_STEER_pass_port},
    {"that flow over UDP",
     {.protocol = IPPROTO_UDP, .from_port = kFlowPeer, .to_port = kFlowOnly},
     XDP_PASS,
     UP_STEER_pass_port},
    {"that flow to another address",
     {.to = kOurSecond, .from_port = kFlowPeer, .to_port = kFlowOnly},
     XDP_PASS,
     UP_STEER_pass_port},
    {"a flow of it that is the kernel's",
     {.from_port = kKernelPeer, .to_port = kFlowBeside},
     XDP_PASS,
     UP_STEER_pass_port},
    {"a claimed port beside a flow",
     {.from_port = 40001, .to_port = kFlowBeside},
     XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"a port on one address",
     {.to = kOurSecond, .to_port = kOneAddress},
     XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"a port claimed on this address", {.to_port = kAtFirst}, XDP_REDIRECT, UP_STEER_tcp_frames},
    {"a port claimed on another address",
     {.to = kOurSecond, .to_port = kAtFirst},
     XDP_PASS,
     UP_STEER_pass_port},
    {"a port of two slots, the first's address",
     {.to_port = kShared},
     XDP_REDIRECT,
     UP_STEER_tcp_frames},
    {"a port of two slots, the second's address",
     {.to = kOurSecond, .to_port = kShared},
     XDP_PASS,
     UP_STEER_pass_no_socket},
    {"a flow whose rings are gone",
     {.from_port = kFlowPeer, .to_port = kFlowOfDead},
     XDP_PASS,
     UP_STEER_pass_no_socket},
};

void fill_tables(SteerFixture& steer) {
  steer.add_address(kOurs);
  steer.add_address(kOurSecond);
  steer.add_address(kOursElsewhere, false);
  for (const uint32_t slot : {0U, 1U, 3U}) steer.give_socket(slot);
  steer.claim(IPPROTO_TCP, kClaimed, 1);
  steer.claim(IPPROTO_UDP, kClaimed, 1);
  steer.claim(IPPROTO_TCP, kDead, 2);
  steer.claim(kRaw, 0, 1);
  steer.claim(kRawOfDead, 0, 2);
  steer.claim(IPPROTO_ICMPV6, 0, 1);
  steer.set_entry(IPPROTO_TCP, kFlowOnly, UP_PORT_FLOWS_ONE);
  steer.add_flow(flow_key(kOurs, kFlowOnly, kPeer, kFlowPeer), 3);
  steer.set_entry(IPPROTO_TCP, kFlowBeside, UP_PORT_FLOWS_ONE | 2);
  steer.add_flow(flow_key(kOurs, kFlowBeside, kPeer, kFlowPeer), 3);
  steer.add_flow(flow_key(kOurs, kFlowBeside, kPeer, kKernelPeer), UP_FLOW_OF_KERNEL);
  steer.set_entry(IPPROTO_TCP, kOneAddress, UP_PORT_FLOWS_ONE);
  steer.add_flow(flow_key(kOurSecond, kOneAddress, nullptr, 0), 3);
  const uint64_t at_first = uint64_t{address_of(kOurs).v4()} << UP_PORT_ADDRESS_SHIFT;
  steer.set_entry(IPPROTO_TCP, kAtFirst, at_first | 2);
  steer.set_entry(IPPROTO_TCP, kShared, at_first | UP_PORT_FLOWS_ONE | 2);
  steer.add_flow(flow_key(kOurSecond, kShared, nullptr, 0), 2);
  up_flow_key of_group = flow_key(kJoined, kJoinedPort, nullptr, 0);
  of_group.protocol = IPPROTO_UDP;
  steer.add_flow(of_group, 3);
  steer.set_entry(IPPROTO_TCP, kFlowOfDead, UP_PORT_FLOWS_ONE);
  steer.add_flow(flow_key(kOurs, kFlowOfDead, kPeer, kFlowPeer), 2);
}

}  // namespace

ParameterizedTestParameters(steer, every_frame_gets_its_verdict_and_its_counter) {
  static size_t indices[std::size(kCases)];
  for (size_t i = 0; i < std::size(kCases); ++i) indices[i] = i;
  return cr_make_param_array(size_t, indices, std::size(kCases));
}

ParameterizedTest(size_t* index, steer, every_frame_gets_its_verdict_and_its_counter) {
  skip_without_bpf();
  SteerFixture steer;
  fill_tables(steer);
  expect_case(steer, kCases[*index]);
}

Test(steer, nothing_is_taken_when_no_port_is_claimed) {
  skip_without_bpf();
  SteerFixture steer;
  steer.add_address(kOurs);
  steer.give_socket(0);
  const std::vector<uint8_t> frame = frame_of({});
  cr_assert_eq(steer.run(frame.data(), frame.size()), XDP_PASS);
}

// The redirect of each case went somewhere; this says where.
Test(steer, a_flow_belongs_to_its_slot_and_not_to_the_ports) {
  skip_without_bpf();
  SteerFixture steer;
  fill_tables(steer);
  const std::vector<uint8_t> flow = frame_of({.from_port = kFlowPeer, .to_port = kFlowBeside});
  cr_assert_eq(steer.run(flow.data(), flow.size()), XDP_REDIRECT);
  // With the port's rings gone, the flow's are still there.
  SteerFixture other;
  other.add_address(kOurs);
  other.give_socket(3);
  other.set_entry(IPPROTO_TCP, kFlowBeside, UP_PORT_FLOWS_ONE | 2);
  other.add_flow(flow_key(kOurs, kFlowBeside, kPeer, kFlowPeer), 3);
  cr_assert_eq(other.run(flow.data(), flow.size()), XDP_REDIRECT);
  const std::vector<uint8_t> rest = frame_of({.to_port = kFlowBeside});
  cr_assert_eq(other.run(rest.data(), rest.size()), XDP_PASS);
}
