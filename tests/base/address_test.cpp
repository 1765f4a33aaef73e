// address_test.cpp - addresses to and from the system's forms
#include "base/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

#include <cerrno>

using namespace underpass;

namespace {

IpAddress v4(const char* text) {
  in_addr address{};
  cr_assert_eq(inet_pton(AF_INET, text, &address), 1);
  return IpAddress::from_v4(address.s_addr);
}

IpAddress v6(const char* text) {
  in6_addr address{};
  cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
  return IpAddress::from_v6(address);
}

}  // namespace

Test(address, v4_and_its_mapped_form_are_one) {
  cr_assert(v4("10.0.0.1") == v6("::ffff:10.0.0.1"));
  cr_assert(v4("10.0.0.1").is_v4());
  cr_assert(!v6("::10.0.0.1").is_v4());
  cr_assert_eq(v4("10.0.0.1").v4(), htonl(0x0a000001));
}

Test(address, wildcards_keep_their_family) {
  cr_assert(IpAddress::any(AF_INET).is_any() && IpAddress::any(AF_INET).is_v4());
  cr_assert(IpAddress::any(AF_INET6).is_any() && !IpAddress::any(AF_INET6).is_v4());
  cr_assert(!v4("0.0.0.1").is_any());
}

Test(address, kinds) {
  cr_assert(v4("127.0.0.1").is_loopback() && v4("127.255.0.9").is_loopback());
  cr_assert(v6("::1").is_loopback() && !v6("::2").is_loopback());
  cr_assert(v4("224.0.0.1").is_multicast() && v4("239.255.255.255").is_multicast());
  cr_assert(!v4("240.0.0.1").is_multicast() && !v4("223.255.255.255").is_multicast());
  cr_assert(v6("ff02::1").is_multicast() && !v6("fe80::1").is_multicast());
  cr_assert(v4("255.255.255.255").is_broadcast());
  cr_assert(!v4("10.0.0.255").is_broadcast());
}

Test(address, text_is_that_of_the_family) {
  cr_assert_eq(v4("10.0.0.1").to_string(), "10.0.0.1");
  cr_assert_eq(v6("fe80::1").to_string(), "fe80::1");
}

Test(address, sockaddr_in_goes_there_and_back) {
  SocketAddress address{v4("10.0.0.1"), 8080, 0};
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(AF_INET, storage);
  cr_assert_eq(length, sizeof(sockaddr_in));
  const auto back = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
  cr_assert(back.ok() && *back == address);
}

Test(address, v4_is_mapped_for_a_socket_of_v6) {
  SocketAddress address{v4("10.0.0.1"), 8080, 0};
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(AF_INET6, storage);
  cr_assert_eq(length, sizeof(sockaddr_in6));
  sockaddr_in6 in6;
  std::memcpy(&in6, &storage, sizeof in6);
  cr_assert(IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr));
  const auto back = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
  cr_assert(back.ok() && *back == address);
}

Test(address, v4_wildcard_is_v6s_for_a_socket_of_v6) {
  SocketAddress address{IpAddress::any(AF_INET6), 1, 0};
  sockaddr_storage storage;
  address.to_sockaddr(AF_INET6, storage);
  sockaddr_in6 in6;
  std::memcpy(&in6, &storage, sizeof in6);
  cr_assert(IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr));
}

Test(address, scope_is_kept) {
  SocketAddress address{v6("fe80::1"), 5, 7};
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(AF_INET6, storage);
  const auto back = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length);
  cr_assert(back.ok() && back->scope_id == 7);
}

Test(address, short_and_foreign_sockaddrs_are_refused_as_linux_does) {
  sockaddr_storage storage{};
  auto* const any = reinterpret_cast<sockaddr*>(&storage);
  storage.ss_family = AF_INET;
  cr_assert_eq(SocketAddress::from_sockaddr(any, sizeof(sockaddr_in) - 1).error(), EINVAL);
  storage.ss_family = AF_INET6;
  cr_assert_eq(SocketAddress::from_sockaddr(any, 23).error(), EINVAL);
  cr_assert(SocketAddress::from_sockaddr(any, 24).ok(), "RFC 2133's, without a scope");
  storage.ss_family = AF_UNIX;
  cr_assert_eq(SocketAddress::from_sockaddr(any, sizeof storage).error(), EAFNOSUPPORT);
  cr_assert_eq(SocketAddress::from_sockaddr(any, 1).error(), EINVAL);
  cr_assert_eq(SocketAddress::from_sockaddr(nullptr, 16).error(), EINVAL);
}
