// netlink_dump_test.cpp - dumps as the kernel sends them, whole and not
#include "xdp/broker/netlink_dump.h"

#include <criterion/criterion.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstring>
#include <utility>

using namespace underpass;

namespace {

struct Message {
  uint16_t type = RTM_NEWADDR;
  uint16_t flags = NLM_F_MULTI;
  int payload = 0;
};

// The kernel's side of the socket: one datagram after the other, then nothing.
class Answer {
 public:
  Answer& datagram(std::initializer_list<Message> messages) {
    std::vector<char> bytes;
    for (const Message& one : messages) {
      nlmsghdr header{};
      header.nlmsg_len = NLMSG_LENGTH(sizeof one.payload);
      header.nlmsg_type = one.type;
      header.nlmsg_flags = one.flags;
      const size_t at = bytes.size();
      bytes.resize(at + NLMSG_SPACE(sizeof one.payload));
      std::memcpy(&bytes[at], &header, sizeof header);
      std::memcpy(&bytes[at + NLMSG_HDRLEN], &one.payload, sizeof one.payload);
    }
    datagrams_.push_back(bytes);
    return *this;
  }
  Answer& failure(int error) {
    error_ = error;
    return *this;
  }
  Result<NetlinkDump> read() {
    return NetlinkDump::read([this](std::span<char> out) -> long {
      if (next_ == datagrams_.size()) return -error_;
      const std::vector<char>& one = datagrams_[next_++];
      std::memcpy(out.data(), one.data(), one.size());
      return static_cast<long>(one.size());
    });
  }

 private:
  std::vector<std::vector<char>> datagrams_;
  size_t next_ = 0;
  int error_ = 0;
};

int payload_of(const nlmsghdr* header) {
  int value = 0;
  std::memcpy(&value, NLMSG_DATA(header), sizeof value);
  return value;
}

constexpr Message kDone{NLMSG_DONE};

}  // namespace

Test(netlink_dump, messages_of_all_datagrams_come_in_their_order) {
  auto dump = Answer()
                  .datagram({{.payload = 1}, {.payload = 2}})
                  .datagram({{.payload = 3}})
                  .datagram({kDone})
                  .read();
  cr_assert(dump.ok());
  const NetlinkDump moved = std::move(*dump);
  cr_assert_eq(moved.messages().size(), 3);
  int expected = 0;
  for (const nlmsghdr* one : moved.messages()) cr_assert_eq(payload_of(one), ++expected);
}

Test(netlink_dump, table_with_nothing_in_it_is_whole) {
  const auto dump = Answer().datagram({kDone}).read();
  cr_assert(dump.ok());
  cr_assert(dump->messages().empty());
}

// Seen as addresses that were not served any more: the rest of an interrupted dump was published.
Test(netlink_dump, interrupted_one_is_none) {
  constexpr uint16_t kInterrupted = NLM_F_MULTI | NLM_F_DUMP_INTR;
  cr_assert_eq(Answer()
                   .datagram({{.payload = 1}})
                   .datagram({{.flags = kInterrupted, .payload = 3}, kDone})
                   .read()
                   .error(),
               EINTR);
  cr_assert_eq(Answer().datagram({{.payload = 1}, {NLMSG_DONE, kInterrupted}}).read().error(),
               EINTR);
}

Test(netlink_dump, one_that_fails_in_the_middle_is_none) {
  const Answer begun = Answer().datagram({{.payload = 1}});
  cr_assert_eq(Answer(begun).datagram({{NLMSG_ERROR, 0, -EPERM}}).read().error(), EPERM);
  cr_assert_eq(Answer(begun).datagram({{NLMSG_DONE, NLM_F_MULTI, -ENOMEM}}).read().error(), ENOMEM);
  cr_assert_eq(Answer(begun).failure(ENOBUFS).read().error(), ENOBUFS);
  cr_assert_eq(Answer(begun).read().error(), EPROTO);
}
