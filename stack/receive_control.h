// receive_control.h - what the program asks to be told of a datagram (ip(7), RFC 3542, cmsg(3))
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "stack/control_writer.h"
#include "stack/socket_options.h"
#include "stack/udp_endpoint.h"

namespace underpass {

// When it came; `arrived_ns` is 0 where nobody has looked.
void write_times(ControlWriter& out, const TimeOptions& times, uint64_t arrived_ns);

// As far as the message has room for it; sets msg_controllen. `ifindex` is where it has come in,
// `answering` the local address that an answer would have.
void write_receive_control(msghdr& message, const SocketOptions& options, const Datagram& datagram,
                           uint32_t ifindex, const IpAddress& answering);

}  // namespace underpass
