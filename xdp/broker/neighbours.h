// neighbours.h - the kernel's neighbours, mirrored into the control memory
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "xdp/control_abi.h"
#include "xdp/neighbour_table.h"

namespace underpass {

// The only writer of Control::neighbours. Clients can write there too, so it keeps its own copy and
// reads of theirs only `used_s`, which can no more than keep an entry alive. The broker's thread
// alone uses it.
class Neighbours {
 public:
  explicit Neighbours(Control& control) : control_(control), shown_(kMaxNeighbours) {}

  struct Event {
    IpAddress ip;
    uint16_t nud;  // NUD_NONE: deleted
    MacAddress mac;
  };
  struct Outcome {
    bool visible = false;  // readers see a change
    bool ask = false;      // the kernel is to be asked for it again
  };
  // What rtnetlink says of one. The kernel keeps packets while it resolves, we look at a mirror:
  // when it forgets an address that is in use (`ip neighbour flush`), the last one known is used
  // until the next answer, as the kernel itself does while it probes.
  Outcome update(const Event& event, uint32_t now_s);

  // A client has asked for it: it is in use, although there may be no entry to say so yet. False:
  // more are wanted than any program has use for.
  bool want(const IpAddress& ip, uint32_t now_s);

  // Before and after a full dump: what was not in it is gone. Returns what is to be asked for.
  void begin_dump();
  std::vector<IpAddress> end_dump(uint32_t now_s);

  // Called once a second; returns what is to be asked for: addresses that clients use and that the
  // kernel no longer knows to be reachable. It does not see bypassed traffic, and would forget
  // them.
  std::vector<IpAddress> refresh(uint32_t now_s);

 private:
  struct Known {
    uint16_t nud = 0;
    uint64_t dump = 0;
    uint32_t wanted_s = 0;
  };
  // An entry of the table as we wrote it; one without a view never was.
  using Shown = std::optional<NeighbourView>;
  std::optional<uint32_t> find(const IpAddress& ip) const;
  uint32_t entry_for(const IpAddress& ip) const;
  bool in_use(const Known& known, std::optional<uint32_t> entry, uint32_t now_s) const;
  bool show(const IpAddress& ip, NeighbourState state, const MacAddress& mac);

  Control& control_;
  std::vector<Shown> shown_;
  std::unordered_map<std::string, Known> known_;  // by the address's bytes
  uint64_t dump_ = 0;
};

}  // namespace underpass
