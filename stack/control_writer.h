// control_writer.h - control messages into what room a program has given (cmsg(3))
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace underpass {

// Fills the room of a message one after the other, and sets msg_controllen in the end.
class ControlWriter {
 public:
  explicit ControlWriter(msghdr& message)
      : message_(message), room_(message.msg_control == nullptr ? 0 : message.msg_controllen) {}
  ~ControlWriter() { message_.msg_controllen = used_; }
  ControlWriter(const ControlWriter&) = delete;
  ControlWriter& operator=(const ControlWriter&) = delete;

  // As much of it as fits and MSG_CTRUNC, as put_cmsg() in net/core/scm.c.
  template <class Value>
  void put(int level, int type, const Value& value) {
    const size_t left = room_ - used_;
    if (left < CMSG_LEN(sizeof value)) message_.msg_flags |= MSG_CTRUNC;
    if (left < sizeof(cmsghdr)) return;
    cmsghdr header{};
    header.cmsg_len = std::min(left, CMSG_LEN(sizeof value));
    header.cmsg_level = level;
    header.cmsg_type = type;
    auto* at = static_cast<uint8_t*>(message_.msg_control) + used_;
    std::memcpy(at, &header, sizeof header);
    std::memcpy(at + CMSG_LEN(0), &value, header.cmsg_len - sizeof header);
    used_ += std::min(CMSG_SPACE(sizeof value), left);
  }

 private:
  msghdr& message_;
  const size_t room_;
  size_t used_ = 0;
};

}  // namespace underpass
