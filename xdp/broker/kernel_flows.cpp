// kernel_flows.cpp - sock_diag(7), asked for one connection at a time
#include "xdp/broker/kernel_flows.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/membarrier.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/sys.h"
#include "xdp/broker/netlink_dump.h"
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

// Connections of the kernel, also those that are being opened or end. Of what is over there is
// nothing to keep, and its name may be a new connection's.
std::vector<Flow> KernelFlows::all_of(uint8_t family) const {
  // TCP_TIME_WAIT, TCP_CLOSE, TCP_LISTEN, TCP_BOUND_INACTIVE: what is only bound, as our own
  // sockets are.
  constexpr uint32_t kNotConnected = 1U << 6U | 1U << 7U | 1U << 10U | 1U << 13U;
  Question question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.request.sdiag_family = family;
  question.request.sdiag_protocol = IPPROTO_TCP;
  question.request.idiag_states = ~kNotConnected;
  std::vector<Flow> flows;
  const long sent = sys::sendto(diag_.get(), &question, sizeof question, 0, nullptr, 0);
  const auto dump = NetlinkDump::read([&](std::span<char> into) {
    if (sent < 0) return sent;
    return sys::call(SYS_recvfrom, diag_.get(), sys::arg(into.data()),
                     static_cast<long>(into.size()), 0, 0, 0);
  });
  if (!dump) {
    log_write(LogLevel::warning, "asking for the kernel's connections: %s", strerror(dump.error()));
    return flows;
  }
  for (const nlmsghdr* const header : dump->messages()) {
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) continue;
    const auto& socket = *static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
    const auto address = [&](const __be32* words, __be16 port) {
      SocketAddress out{IpAddress::from_v4(words[0]), ntohs(port), 0};
      if (socket.idiag_family == AF_INET6) std::memcpy(out.ip.bytes.data(), words, 16);
      return out;
    };
    flows.push_back({IPPROTO_TCP, address(socket.id.idiag_src, socket.id.idiag_sport),
                     address(socket.id.idiag_dst, socket.id.idiag_dport)});
  }
  return flows;
}

void KernelFlows::keep_from(uint32_t slot) {
  // What was passed before the claim is a connection of the kernel by then.
  sys::call(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    for (const Flow& flow : all_of(family)) {
      if (flow.remote.port == 0 || !steering_.is_here(flow.local.ip) ||
          steering_.has_address(flow.remote.ip) || !steering_.is_open_to(slot, flow)) {
        continue;
      }
      if (auto given = give(flow); !given) {
        log_write(LogLevel::warning, "a connection of the kernel is cut off: %s",
                  strerror(given.error()));
      }
    }
  }
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
