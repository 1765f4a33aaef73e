// scenario.cpp - the lines of the transcript
#include "tests/socket/scenario.h"

#include <cstring>

namespace underpass::test {

namespace {

std::string kind(const IOError& error) {
  const char* const name = strerrorname_np(error.code().value());
  return std::string(dynamic_cast<const Timeout*>(&error) != nullptr ? "Timeout " : "IOError ") +
         (name == nullptr ? "?" : name);
}

}  // namespace

void Transcript::outcome(const std::string& name, const std::function<void()>& operation) {
  result(name, [&] {
    operation();
    return std::string("ok");
  });
}

void Transcript::result(const std::string& name, const std::function<std::string()>& operation) {
  try {
    note(name + " = " + operation());
  } catch (const IOError& error) {
    note(name + ": " + kind(error));
  }
}

void Transcript::sentence(const std::string& name, const std::function<void()>& operation) {
  try {
    operation();
    note(name + " = ok");
  } catch (const IOError& error) {
    note(name + ": " + kind(error) + ": " + error.what());
  }
}

std::string Transcript::named(const Address& address) const {
  const std::string port = address.port() == 0 ? ":0" : ":port";
  if (address.host().empty()) return "nobody";
  if (address.host() == setting_.own) return "mine" + port;
  if (address.host() == setting_.peer) return "peer" + port;
  return address.host() + port;
}

Socket Run::scripted(const std::string& script) const {
  Socket socket;
  socket.connect(this->script());
  socket.sendall(script + "\n");
  return socket;
}

std::span<const Scenario> all_scenarios() {
  static constexpr Scenario kAll[] = {
#define SCENARIO(name, proof, where) {#name, Proof::proof, scenarios::name},
#include "tests/socket/scenarios.def"
#undef SCENARIO
  };
  return kAll;
}

std::string shown(const std::string& data) {
  const std::string bytes = std::to_string(data.size()) + " bytes";
  return data.size() <= 40 ? bytes + " '" + data + "'"
                           : bytes + " #" + std::to_string(digest(data));
}

}  // namespace underpass::test
