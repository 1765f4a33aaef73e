// segment_out.h - every segment that lwIP sends passes here once, with its header made
#pragma once

#include <cstdint>

namespace underpass {

// While it lives, connections that lwIP makes from a SYN announce at most that window: they have no
// endpoint yet that could say it.
class AnswerWindow {
 public:
  explicit AnswerWindow(uint32_t limit_bytes);
  ~AnswerWindow();
  AnswerWindow(const AnswerWindow&) = delete;
  AnswerWindow& operator=(const AnswerWindow&) = delete;
};

}  // namespace underpass
