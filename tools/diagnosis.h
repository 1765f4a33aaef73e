// diagnosis.h - whether bypass will work on an interface, fact by fact
//
// Shared by `doctor`, which prints all of it, and `run`, which names the first thing missing when
// the broker cannot start. Reads only: nothing is loaded on the interface.
#pragma once

#include <string>
#include <vector>

namespace underpass {

enum class Verdict { kOk, kNote, kMissing };

struct Finding {
  Verdict verdict;
  std::string what;
  std::string remedy;  // what to do; empty when nothing is to be done
};

std::vector<Finding> diagnose(const std::string& iface);

// The first finding that prevents bypass, or nullptr. Points into `findings`.
const Finding* first_missing(const std::vector<Finding>& findings);

// "what: remedy", on one line.
std::string to_string(const Finding& finding);

// The same words in every subcommand.
Finding no_such_interface(const std::string& iface);
Finding held_by_another_user(const std::string& iface);

}  // namespace underpass
