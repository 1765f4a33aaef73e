// stream_control.cpp - what recvmsg(2) tells of a connection's bytes beside them
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "stack/control_writer.h"
#include "stack/socket_file.h"

namespace underpass {

// TCP_INQ, as tcp_recvmsg() in net/ipv4/tcp.c.
void SocketFile::write_stream_control(msghdr& message, size_t room_bytes) {
  if (!options_.tell_unread || stream_ == nullptr) return;
  message.msg_controllen = room_bytes;
  // tcp_inq_hint(): the end is worth another read.
  const bool at_end = stream_->unread_bytes() == 0 && (stream_->readiness() & EPOLLRDHUP) != 0;
  ControlWriter(message).put(IPPROTO_TCP, TCP_CM_INQ,
                             at_end ? 1 : static_cast<int>(stream_->unread_bytes()));
}

}  // namespace underpass
