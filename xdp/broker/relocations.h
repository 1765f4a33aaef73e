// relocations.h - programs that were asked to leave bypass or to come back, and who waits for them
//
// One question at a time. Sessions are named by numbers that do not come again.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "xdp/broker_abi.h"

namespace underpass {

class Relocations {
 public:
  // What is to be said to the one who asked.
  struct Answer {
    uint64_t asker;
    int error;  // ETIMEDOUT: some have not answered; the numbers are of the others
    RelocationResult result;
  };

  bool busy() const { return asker_ != 0; }
  void begin(uint64_t asker, std::vector<uint64_t> programs, uint64_t now_ms);
  void answered(uint64_t program, const RelocationResult& result);
  // A session has ended, of whichever kind.
  void gone(uint64_t session);
  // When it is over: once.
  std::optional<Answer> take_answer(uint64_t now_ms);
  // UINT64_MAX: nobody waits.
  uint64_t until_ms() const { return busy() ? until_ms_ : UINT64_MAX; }

 private:
  uint64_t asker_ = 0;
  uint64_t until_ms_ = 0;
  std::vector<uint64_t> waiting_for_;
  RelocationResult result_{};
};

}  // namespace underpass
