// icmp_watch_test.cpp - ICMP errors as routers send them, and as nobody should
#include "xdp/broker/icmp_watch.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

using namespace underpass;

namespace {

struct Message {
  uint8_t type = ICMP_DEST_UNREACH;
  uint8_t code = ICMP_HOST_UNREACH;
  uint8_t quoted_protocol = IPPROTO_TCP;
  size_t quoted_bytes = 8;
};

// IPv4 10.0.0.2 to 10.0.0.1, quoting 10.0.0.1:5000 to 192.0.2.5:80, sequence 0x01020304.
std::vector<uint8_t> packet_of(const Message& message) {
  std::vector<uint8_t> packet = {0x45,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 64,
                                 IPPROTO_ICMP,
                                 0,
                                 0,
                                 10,
                                 0,
                                 0,
                                 2,
                                 10,
                                 0,
                                 0,
                                 1,
                                 message.type,
                                 message.code,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0x45,
                                 0,
                                 0,
                                 40,
                                 0,
                                 0,
                                 0,
                                 0,
                                 64,
                                 message.quoted_protocol,
                                 0,
                                 0,
                                 10,
                                 0,
                                 0,
                                 1,
                                 192,
                                 0,
                                 2,
                                 5};
  const uint8_t segment[8] = {5000 >> 8, 5000 & 0xff, 0, 80, 1, 2, 3, 4};
  for (size_t i = 0; i < message.quoted_bytes; ++i) packet.push_back(segment[i]);
  uint32_t sum = 0;
  for (size_t i = 20; i < packet.size(); ++i) sum += uint32_t{packet[i]} << (i % 2 == 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet[22] = static_cast<uint8_t>(~sum >> 8);
  packet[23] = static_cast<uint8_t>(~sum);
  return packet;
}

// ICMPv6, quoting fd00::1 port 5000 to fd00::2 port 80, sequence 0x01020304.
std::vector<uint8_t> message_v6(uint8_t type, uint8_t code, uint32_t mtu = 0) {
  std::vector<uint8_t> message(8 + 40 + 8);
  message[0] = type;
  message[1] = code;
  const uint32_t big = htonl(mtu);
  std::memcpy(&message[4], &big, sizeof big);
  message[8] = 0x60;
  message[8 + 6] = IPPROTO_TCP;
  message[8 + 8] = message[8 + 24] = 0xfd;
  message[8 + 23] = 1;
  message[8 + 39] = 2;
  const uint8_t segment[8] = {5000 >> 8, 5000 & 0xff, 0, 80, 1, 2, 3, 4};
  std::memcpy(&message[48], segment, sizeof segment);
  return message;
}

int error_of_v6(uint8_t type, uint8_t code) {
  const auto parsed = parse_icmpv6_error(message_v6(type, code));
  return parsed ? parsed->error : 0;
}

int error_of(uint8_t type, uint8_t code) {
  const auto parsed = parse_icmp_error(packet_of({type, code}));
  return parsed ? parsed->error : 0;
}

}  // namespace

Test(icmp_watch, names_the_connection_and_the_segment) {
  const auto parsed = parse_icmp_error(packet_of({}));
  cr_assert(parsed.has_value());
  cr_expect(parsed->local.to_string() == "10.0.0.1:5000");
  cr_expect(parsed->remote.to_string() == "192.0.2.5:80");
  cr_expect_eq(parsed->sequence, 0x01020304);
  cr_expect_eq(parsed->error, EHOSTUNREACH);
}

Test(icmp_watch, errors_are_linuxs) {
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, ICMP_NET_UNREACH), ENETUNREACH);
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, ICMP_PORT_UNREACH), ECONNREFUSED);
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, ICMP_PROT_UNREACH), ENOPROTOOPT);
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, ICMP_HOST_UNKNOWN), EHOSTDOWN);
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, ICMP_PKT_FILTERED), EHOSTUNREACH);
  cr_expect_eq(error_of(ICMP_TIME_EXCEEDED, 0), EHOSTUNREACH);
}

Test(icmp_watch, what_ends_no_connect_is_nothing) {
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED), 0);
  cr_expect_eq(error_of(ICMP_DEST_UNREACH, 16), 0);
  cr_expect_eq(error_of(ICMP_ECHO, 0), 0);
  cr_expect_not(parse_icmp_error(packet_of({.quoted_protocol = IPPROTO_UDP})).has_value());
  cr_expect_not(parse_icmp_error(packet_of({.quoted_bytes = 7})).has_value());
  std::vector<uint8_t> wrong_sum = packet_of({});
  ++wrong_sum.back();
  cr_expect_not(parse_icmp_error(wrong_sum).has_value());
}

// Each cut, and garbage: a sanitizer sees what is read behind the end.
Test(icmp_watch, packets_may_be_anything) {
  const std::vector<uint8_t> whole = packet_of({});
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<long>(bytes));
    cr_expect_not(parse_icmp_error(cut).has_value());
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> garbage = whole;
    for (int k = 0; k < 3; ++k) garbage[random() % garbage.size()] = static_cast<uint8_t>(random());
    static_cast<void>(parse_icmp_error(garbage));
  }
}

Test(icmp_watch, icmpv6_names_the_connection_the_segment_and_the_mtu) {
  const auto parsed = parse_icmpv6_error(message_v6(ICMP6_PACKET_TOO_BIG, 0, 1300));
  cr_assert(parsed.has_value());
  cr_expect(parsed->local.to_string() == "[fd00::1]:5000");
  cr_expect(parsed->remote.to_string() == "[fd00::2]:80");
  cr_expect_eq(parsed->sequence, 0x01020304);
  cr_expect_eq(parsed->error, EMSGSIZE);
  cr_expect_eq(parsed->mtu_bytes, 1300);
}

// icmpv6_err_convert()
Test(icmp_watch, icmpv6_errors_are_linuxs) {
  const int by_code[] = {ENETUNREACH,  EACCES, EHOSTUNREACH, EHOSTUNREACH,
                         ECONNREFUSED, EACCES, EACCES,       EPROTO};
  for (uint8_t code = 0; code < std::size(by_code); ++code) {
    cr_expect_eq(error_of_v6(ICMP6_DST_UNREACH, code), by_code[code], "code %u", code);
  }
  cr_expect_eq(error_of_v6(ICMP6_TIME_EXCEEDED, 0), EHOSTUNREACH);
  cr_expect_eq(error_of_v6(ICMP6_PARAM_PROB, 0), EPROTO);
  cr_expect_eq(error_of_v6(ICMP6_ECHO_REQUEST, 0), 0);
  cr_expect_eq(error_of_v6(136, 0), 0, "a neighbour's advertisement");
}

Test(icmp_watch, icmpv6_messages_may_be_anything) {
  const std::vector<uint8_t> whole = message_v6(ICMP6_DST_UNREACH, 0);
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<long>(bytes));
    cr_expect_not(parse_icmpv6_error(cut).has_value());
  }
  std::vector<uint8_t> of_udp = whole;
  of_udp[14] = IPPROTO_UDP;
  cr_expect_not(parse_icmpv6_error(of_udp).has_value());
  std::vector<uint8_t> mapped = whole;
  std::memcpy(&mapped[16], IpAddress::from_v4(7).bytes.data(), 16);
  cr_expect_not(parse_icmpv6_error(mapped).has_value());
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> garbage = whole;
    for (int k = 0; k < 3; ++k) garbage[random() % garbage.size()] = static_cast<uint8_t>(random());
    static_cast<void>(parse_icmpv6_error(garbage));
  }
}
