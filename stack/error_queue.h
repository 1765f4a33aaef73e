// error_queue.h - what recvmsg(2) with MSG_ERRQUEUE reads of a connection
//
// So far the notes of MSG_ZEROCOPY alone (Documentation/networking/msg_zerocopy.rst): the bytes are
// copied during the call, so that each is done at once, as a copy. Guarded by the stack mutex.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>

#include "base/result.h"

namespace underpass {

class ErrorQueue {
 public:
  bool empty() const { return notes_.empty(); }
  // Another send with MSG_ZEROCOPY is over: it joins the note before, if nobody has read that.
  void zero_copy_done();
  // EAGAIN: nothing there.
  Result<size_t> receive(msghdr& message, int family);

 private:
  struct Note {
    uint32_t first;
    uint32_t last;
  };
  std::deque<Note> notes_;
  uint32_t next_ = 0;
};

}  // namespace underpass
