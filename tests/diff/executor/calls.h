// calls.h - every call that a sequence may make, by name
#pragma once

#include <map>
#include <string>

#include "tests/diff/executor/arguments.h"
#include "tests/diff/executor/outcome.h"

namespace diff {

using Call = Outcome (*)(Arguments&);
using CallTable = std::map<std::string, Call>;

// Those of each file.
void add_socket_calls(CallTable& table);
void add_data_calls(CallTable& table);
void add_descriptor_calls(CallTable& table);
void add_waiting_calls(CallTable& table);

}  // namespace diff
