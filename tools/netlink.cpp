// netlink.cpp - requests to the kernel's network configuration
#include "tools/netlink.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace underpass {

namespace {

// RTM_NEWLINK of an interface with many virtual functions is the largest answer asked for.
constexpr size_t kAnswerBytes = 65536;

Result<std::vector<std::byte>> first_payload(Bytes answer) {
  nlmsghdr header{};
  if (answer.size() < sizeof header) return Error{EPROTO};
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > answer.size()) return Error{EPROTO};
  const Bytes payload = answer.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
  if (header.nlmsg_type != NLMSG_ERROR) return std::vector(payload.begin(), payload.end());
  const int code = -number_of<int>(payload);
  return Error{code > 0 ? code : EPROTO};
}

}  // namespace

void NetlinkRequest::append(const void* data, size_t size) {
  const auto* const first = static_cast<const std::byte*>(data);
  bytes_.insert(bytes_.end(), first, first + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkRequest::add(uint16_t attribute, const void* data, size_t size) {
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + size), attribute};
  append(&header, sizeof header);
  append(data, size);
}

Result<std::vector<std::byte>> NetlinkRequest::ask(int protocol) {
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  const Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return Error{errno};
  if (::send(fd.get(), bytes_.data(), bytes_.size(), 0) < 0) return Error{errno};
  std::vector<std::byte> answer(kAnswerBytes);
  const ssize_t got = ::recv(fd.get(), answer.data(), answer.size(), 0);
  if (got < 0) return Error{errno};
  return first_payload(Bytes(answer).first(static_cast<size_t>(got)));
}

std::optional<Bytes> find_attribute(Bytes attributes, uint16_t type) {
  nlattr header{};
  while (attributes.size() >= sizeof header) {
    std::memcpy(&header, attributes.data(), sizeof header);
    if (header.nla_len < NLA_HDRLEN || header.nla_len > attributes.size()) return std::nullopt;
    if ((header.nla_type & NLA_TYPE_MASK) == type) {
      return attributes.subspan(NLA_HDRLEN, header.nla_len - size_t{NLA_HDRLEN});
    }
    attributes = attributes.subspan(std::min<size_t>(NLA_ALIGN(header.nla_len), attributes.size()));
  }
  return std::nullopt;
}

std::string text_of(const std::optional<Bytes>& bytes) {
  if (!bytes) return {};
  const auto* const text = reinterpret_cast<const char*>(bytes->data());
  return {text, ::strnlen(text, bytes->size())};
}

}  // namespace underpass
