// scenario.h - what the scenarios of the Socket class share: lines of the transcript, addresses
//
// A scenario uses the class against a peer (peer.h) and notes what came back. It is run on the
// kernel and on bypass, over the simulated wire and over veth, and the lines are compared: they
// hold no port, no time and no address, but "mine" and "peer".
#pragma once

#include <functional>
#include <span>
#include <string>

#include "stack/socket.h"
#include "tests/socket/peer.h"

namespace underpass::test {

struct Setting {
  std::string own;  // addresses
  std::string peer;
  std::string ifname;  // where the peer is; "": the peer is on this host
  // "No route leads there", over which nothing is bypassed either.
  std::string peer6 = "";  // the peer's of IPv6, over veth
  static constexpr const char* kLoopback = "127.0.0.1";
};

class Transcript {
 public:
  explicit Transcript(const Setting& setting) : setting_(setting) {}

  void note(const std::string& line) { lines_ += line + "\n"; }
  // "name = ok", or how it failed.
  void outcome(const std::string& name, const std::function<void()>& operation);
  // "name = text", or how it failed.
  void result(const std::string& name, const std::function<std::string()>& operation);
  // With the sentence, where that says the same in each run.
  void sentence(const std::string& name, const std::function<void()>& operation);

  std::string named(const Address& address) const;
  const std::string& lines() const { return lines_; }

 private:
  const Setting& setting_;
  std::string lines_;
};

struct Run {
  const Setting& setting;
  Transcript& transcript;

  Address script() const { return {setting.peer, kScriptPort}; }
  Address echo() const { return {setting.peer, kEchoPort}; }
  Address nobody() const { return {setting.peer, kClosedPort}; }
  // A connection to the peer, which does what the script says (peer.h).
  Socket scripted(const std::string& script) const;
};

// What the counters of the host must say while it runs with an interface.
enum class Proof { kTcp, kUdp, kRaw, kNone };

struct Scenario {
  const char* name;
  Proof proof;
  void (*run)(const Run&);
};

namespace scenarios {
#define SCENARIO(name, proof, where) void name(const Run& run);
#include "tests/socket/scenarios.def"
#undef SCENARIO
}  // namespace scenarios

// Those of scenarios.def.
std::span<const Scenario> all_scenarios();

// "12 bytes 'Hello World!'", or a digest of what is long.
std::string shown(const std::string& data);

}  // namespace underpass::test
