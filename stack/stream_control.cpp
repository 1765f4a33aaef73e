// stream_control.cpp - what recvmsg(2) tells of a connection's bytes beside them
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "stack/control_writer.h"
#include "stack/receive_control.h"
#include "stack/socket_file.h"

namespace underpass {

// As tcp_recvmsg() in net/ipv4/tcp.c.
void SocketFile::write_stream_control(msghdr& message, size_t room_bytes, uint64_t arrived_ns) {
  const bool tells_time = options_.times.any() && arrived_ns != 0;
  if (stream_ == nullptr || (!options_.tell_unread && !tells_time)) return;
  message.msg_controllen = room_bytes;
  ControlWriter out(message);
  if (tells_time) write_times(out, options_.times, arrived_ns);
  if (!options_.tell_unread) return;
  // tcp_inq_hint(): the end is worth another read.
  const bool at_end = stream_->unread_bytes() == 0 && (stream_->readiness() & EPOLLRDHUP) != 0;
  out.put(IPPROTO_TCP, TCP_CM_INQ, at_end ? 1 : static_cast<int>(stream_->unread_bytes()));
}

}  // namespace underpass
