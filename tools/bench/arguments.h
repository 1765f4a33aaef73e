// arguments.h - `PROGRAM WORD... --name=VALUE --flag`, for the programs of this folder
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace underpass::bench {

// Ends the program, as the programs here have nothing to clean up.
[[noreturn]] inline void fail(std::string_view program, std::string_view what, int error = 0) {
  std::fprintf(stderr, "%s: %.*s%s%s\n", program.data(), static_cast<int>(what.size()), what.data(),
               error != 0 ? ": " : "", error != 0 ? std::strerror(error) : "");
  std::exit(1);
}

// Options are those of `known`, written "--name" or "--name=VALUE"; anything else ends the program.
// A value.
class Arguments {
 public:
  Arguments(int argc, char** argv, std::string_view program, std::set<std::string> known)
      : program_(program) {
    for (int i = 1; i < argc; i++) {
      const std::string_view word(argv[i]);
      if (!word.starts_with("--")) {
        words.emplace_back(word);
        continue;
      }
      const auto equals = word.find('=');
      const std::string name(word.substr(2, equals - 2));
      if (!known.contains(name)) fail(program_, "unknown option --" + name);
      options_[name] = equals == word.npos ? "" : word.substr(equals + 1);
    }
  }

  bool has(const std::string& name) const { return options_.contains(name); }
  std::string text(const std::string& name) const {
    if (!has(name)) fail(program_, "--" + name + "= is missing");
    return options_.at(name);
  }
  double number(const std::string& name, double otherwise) const {
    if (!has(name)) return otherwise;
    char* end = nullptr;
    const std::string& value = options_.at(name);
    const double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0') fail(program_, "--" + name + "=" + value + " is no number");
    return number;
  }
  size_t count(const std::string& name, size_t otherwise) const {
    return static_cast<size_t>(number(name, static_cast<double>(otherwise)));
  }

  std::vector<std::string> words;

 private:
  std::string program_;
  std::map<std::string, std::string> options_;
};

}  // namespace underpass::bench
