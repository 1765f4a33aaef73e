// kernel_flows.cpp - sock_diag(7), asked for one connection at a time
#include "xdp/broker/kernel_flows.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "xdp/broker/refusal.h"

namespace underpass {

namespace {

// Two system calls each; a review comes once a second.
constexpr size_t kReviewed = 512;

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

Question question_of(const Flow& flow) {
  Question question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  inet_diag_req_v2& request = question.request;
  request.sdiag_family = static_cast<uint8_t>(flow.local.ip.family());
  request.sdiag_protocol = flow.protocol;
  request.idiag_states = ~0U;
  request.id.idiag_sport = htons(flow.local.port);
  request.id.idiag_dport = htons(flow.remote.port);
  const size_t from = flow.local.ip.is_v4() ? 12 : 0;
  std::memcpy(request.id.idiag_src, flow.local.ip.bytes.data() + from, 16 - from);
  std::memcpy(request.id.idiag_dst, flow.remote.ip.bytes.data() + from, 16 - from);
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return question;
}

}  // namespace

KernelFlows::KernelFlows(Steering& steering)
    : steering_(steering),
      diag_(sys::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {
  if (!diag_) throw Refusal("opening a socket for sock_diag", EPERM);
}

Result<void> KernelFlows::give(const Flow& flow) {
  auto given = steering_.give_flow_to_kernel(flow);
  if (given) flows_.push_back(flow);
  return given;
}

// Where it has not that connection, the kernel answers with the listener of the port, or ENOENT.
// An error that says nothing about the connection keeps the flow.
bool KernelFlows::kernel_has(const Flow& flow) const {
  const Question question = question_of(flow);
  if (sys::sendto(diag_.get(), &question, sizeof question, 0, nullptr, 0) < 0) return true;
  struct {
    nlmsghdr header;
    union {
      nlmsgerr error;
      inet_diag_msg socket;
    };
    uint8_t attributes[4096];
  } answer{};
  const long got = sys::call(SYS_recvfrom, diag_.get(), sys::arg(&answer), sizeof answer, 0, 0, 0);
  if (got < static_cast<long>(sizeof(nlmsghdr) + sizeof(nlmsgerr))) return true;
  if (answer.header.nlmsg_type == NLMSG_ERROR) return answer.error.error != -ENOENT;
  constexpr uint8_t kListen = 10;
  return answer.socket.idiag_state != kListen;
}

void KernelFlows::review() {
  const size_t count = std::min(flows_.size(), kReviewed);
  for (size_t i = 0; i < count; ++i) {
    const Flow flow = flows_.front();
    flows_.pop_front();
    if (kernel_has(flow)) {
      flows_.push_back(flow);
    } else {
      steering_.take_flow_from_kernel(flow);
    }
  }
}

}  // namespace underpass
