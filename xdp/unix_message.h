// unix_message.h - one message with descriptors over a Unix socket
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace underpass {

// Sends `bytes` and copies of `fds`. Never blocks and raises no SIGPIPE. EAGAIN: the receiver does
// not read.
Result<void> send_message(int socket, const void* data, size_t bytes, std::span<const int> fds);

// Receives one message into `data` and appends its descriptors, close-on-exec, to `fds`. Never
// blocks. Returns its length; 0 is the end. EPROTO: it does not fit, or had more descriptors than
// kMaxMessageFds.
Result<size_t> receive_message(int socket, void* data, size_t bytes, std::vector<Fd>& fds);

}  // namespace underpass
