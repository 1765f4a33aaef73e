// error_queue.cpp - notes as struct sock_extended_err
#include "stack/error_queue.h"

// The kernel's header wants its own struct timespec.
#include <time.h>

#include <linux/errqueue.h>
#include <netinet/in.h>

#include <cerrno>

#include "stack/control_writer.h"

namespace underpass {

namespace {

// What ip_recv_error() and ipv6_recv_error() write.
template <class Address>
struct WithOffender {
  sock_extended_err error;
  Address offender;
};

}  // namespace

void ErrorQueue::zero_copy_done() {
  const uint32_t id = next_++;
  if (notes_.empty()) notes_.push_back({id, id});
  notes_.back().last = id;
}

Result<size_t> ErrorQueue::receive(msghdr& message, int family) {
  if (notes_.empty()) return Error{EAGAIN};
  const Note note = notes_.front();
  notes_.pop_front();
  sock_extended_err error{};
  error.ee_origin = SO_EE_ORIGIN_ZEROCOPY;
  error.ee_code = SO_EE_CODE_ZEROCOPY_COPIED;
  error.ee_info = note.first;
  error.ee_data = note.last;
  message.msg_flags = MSG_ERRQUEUE;
  ControlWriter out(message);
  if (family == AF_INET6) {
    out.put(IPPROTO_IPV6, IPV6_RECVERR, WithOffender<sockaddr_in6>{error, {}});
  } else {
    out.put(IPPROTO_IP, IP_RECVERR, WithOffender<sockaddr_in>{error, {}});
  }
  message.msg_namelen = 0;
  return size_t{0};
}

}  // namespace underpass
