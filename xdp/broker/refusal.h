// refusal.h - why the broker cannot start, in one line for a person
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <stdexcept>
#include <string>

namespace underpass {

// Thrown while starting only: main() passes the line on and ends. Once it serves, the broker has
// errno values, as everybody else.
class Refusal : public std::runtime_error {
 public:
  explicit Refusal(const std::string& line) : std::runtime_error(line) {}
  Refusal(const std::string& what, int error)
      : std::runtime_error(fmt::format("{}: {}", what, std::strerror(error))) {}
};

}  // namespace underpass
