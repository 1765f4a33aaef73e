// outcome.h - what came of a call: the words that are compared
#pragma once

#include <string>
#include <vector>

#include "tests/diff/executor/arguments.h"

namespace diff {

class Outcome {
 public:
  // Right after the call, while errno is still its own.
  explicit Outcome(long result);
  long result() const { return result_; }
  bool ok() const { return result_ >= 0; }

  Outcome& add(const char* name, const std::string& value);
  Outcome& add(const char* name, long value) { return add(name, std::to_string(value)); }
  // What was received, and whether anything behind it was written to.
  Outcome& add_data(const std::vector<Room>& rooms, size_t bytes);
  Outcome& add_address(const AddressRoom& room);
  Outcome& add_hex(const char* name, const Room& room, size_t bytes);

  const std::string& words() const { return words_; }

 private:
  long result_;
  std::string words_;
};

std::string hex(const void* data, size_t bytes);

}  // namespace diff
