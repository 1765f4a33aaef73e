// relocations.cpp - who has not answered yet
#include "xdp/broker/relocations.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace underpass {

namespace {

// Longer than a program is patient with its own connections (stack/relocation.cpp), shorter than
// the tool waits for the broker.
constexpr uint64_t kPatienceMs = 8000;

}  // namespace

void Relocations::begin(uint64_t asker, std::vector<uint64_t> programs, uint64_t now_ms) {
  asker_ = asker;
  until_ms_ = now_ms + kPatienceMs;
  waiting_for_ = std::move(programs);
  result_ = {};
}

void Relocations::answered(uint64_t program, const RelocationResult& result) {
  if (std::erase(waiting_for_, program) == 0) return;
  ++result_.programs;
  result_.moved += result.moved;
  result_.left += result.left;
}

void Relocations::gone(uint64_t session) {
  std::erase(waiting_for_, session);
  if (session == asker_) asker_ = 0;
}

std::optional<Relocations::Answer> Relocations::take_answer(uint64_t now_ms) {
  if (!busy() || (!waiting_for_.empty() && now_ms < until_ms_)) return std::nullopt;
  const int error = waiting_for_.empty() ? 0 : ETIMEDOUT;
  waiting_for_.clear();
  return Answer{std::exchange(asker_, 0), error, result_};
}

}  // namespace underpass
