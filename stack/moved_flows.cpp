// moved_flows.cpp - a set whose members grow old
#include "stack/moved_flows.h"

#include "stack/clock.h"

namespace underpass {

namespace {

// Longer than a frame waits in a ring that is read at all.
constexpr uint64_t kRememberNs = 2 * kNsPerS;

}  // namespace

void MovedFlows::add(const FourTuple& flow, uint64_t now_ns) {
  forget(now_ns);
  by_age_.push_back({now_ns + kRememberNs, flow});
  flows_.insert(flow);
}

void MovedFlows::remove(const FourTuple& flow) {
  flows_.erase(flow);
  std::erase_if(by_age_, [&](const Entry& one) { return one.flow == flow; });
}

bool MovedFlows::has(const FourTuple& flow, uint64_t now_ns) {
  forget(now_ns);
  return !flows_.empty() && flows_.find(flow) != flows_.end();
}

void MovedFlows::forget(uint64_t now_ns) {
  while (!by_age_.empty() && by_age_.front().until_ns <= now_ns) {
    flows_.erase(flows_.find(by_age_.front().flow));
    by_age_.pop_front();
  }
}

}  // namespace underpass
