// run_options.h - what the user gives for the options of options.def, and the program's environment
#pragma once

#include <map>
#include <string>

#include "base/options.h"
#include "base/result.h"

namespace underpass {

// Values given on the command line, by the option's name; unchecked.
using GivenOptions = std::map<std::string, std::string>;

// "--spin-us", "--no-tcp".
std::string option_of(const OptionInfo& info);

// Puts the given values into the environment, files by their absolute path (a program may change
// its directory before it opens them). Values that the environment brought are checked too.
// Returns "", or the reason why a value is none.
std::string export_options(const GivenOptions& given);

}  // namespace underpass
