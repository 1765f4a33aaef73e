// netlink.h - one netlink request and its answer
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace underpass {

using Bytes = std::span<const std::byte>;

// A request under construction: the header, the family's own header, then attributes.
class NetlinkRequest {
 public:
  template <class Header>
  NetlinkRequest(uint16_t type, const Header& header) : bytes_(NLMSG_HDRLEN) {
    nlmsghdr message{};
    message.nlmsg_type = type;
    message.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    std::memcpy(bytes_.data(), &message, sizeof message);
    append(&header, sizeof header);
  }
  void add(uint16_t attribute, const void* data, size_t size);
  // Sends it over a socket of its own and waits for the answer: the first message's payload.
  // The errno is the kernel's; EPROTO: an answer that is none.
  Result<std::vector<std::byte>> ask(int protocol);

 private:
  void append(const void* data, size_t size);
  std::vector<std::byte> bytes_;
};

// The payload of attribute `type` in a row of attributes, or nothing.
std::optional<Bytes> find_attribute(Bytes attributes, uint16_t type);

// A number of T's size; 0 if there are not enough bytes.
template <class T>
T number_of(const std::optional<Bytes>& bytes) {
  T value{};
  if (bytes && bytes->size() >= sizeof value) std::memcpy(&value, bytes->data(), sizeof value);
  return value;
}

std::string text_of(const std::optional<Bytes>& bytes);

}  // namespace underpass
