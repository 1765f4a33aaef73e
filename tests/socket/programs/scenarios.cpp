// scenarios.cpp - runs scenarios of the Socket class: scenarios OWN PEER PEER6 [INTERFACE]
//
// Reads the name of a scenario from stdin, runs it, prints its transcript and "== end". `list`
// prints the names with their proofs.
#include <cstring>
#include <iostream>
#include <optional>

#include "tests/socket/scenario.h"

namespace underpass::test {
namespace {

const char* name_of(Proof proof) {
  switch (proof) {
    case Proof::kTcp:
      return "tcp";
    case Proof::kUdp:
      return "udp";
    case Proof::kRaw:
      return "raw";
    case Proof::kNone:
      break;
  }
  return "none";
}

void list() {
  for (const Scenario& scenario : all_scenarios()) {
    std::cout << scenario.name << " " << name_of(scenario.proof) << "\n";
  }
}

void run(const Setting& setting, const std::string& name) {
  Transcript transcript(setting);
  for (const Scenario& scenario : all_scenarios()) {
    if (name == scenario.name) scenario.run({setting, transcript});
  }
  std::cout << transcript.lines() << "== end" << std::endl;
}

}  // namespace
}  // namespace underpass::test

int main(int argc, char** argv) {
  using namespace underpass;
  if (argc == 2 && std::strcmp(argv[1], "list") == 0) {
    test::list();
    return 0;
  }
  if (argc < 4) return 2;
  std::optional<Interface> interface;
  if (argc > 4) interface.emplace(argv[4]);
  const test::Setting setting{argv[1], argv[2], argc > 4 ? argv[4] : "", argv[3]};
  for (std::string name; std::getline(std::cin, name);) test::run(setting, name);
  return 0;
}
