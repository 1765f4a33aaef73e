// records.h - the socket records of this process in the control memory, which `underpass ss` shows
#pragma once

#include <cstdint>
#include <vector>

#include "base/address.h"
#include "xdp/control_abi.h"

namespace underpass {

// States as `ss` and include/net/tcp_states.h number them.
enum class SocketState : uint8_t {
  kEstablished = 1,
  kSynSent,
  kSynReceived,
  kFinWait1,
  kFinWait2,
  kTimeWait,
  kClose,
  kCloseWait,
  kLastAck,
  kListen,
  kClosing,
};

// Hands out records. Guarded by the stack mutex; readers in other processes need no lock.
class Records {
 public:
  explicit Records(ClientSlot& slot) : slot_(&slot) {}
  // The records move to another slot, and all who have one with them.
  void start_over(ClientSlot& slot);
  // `holder`, which stays where it is until give_back(), is null when all are in use: the socket
  // works, unlisted.
  void take(SocketRecord*& holder, uint8_t protocol, const SocketAddress& local,
            const SocketAddress& remote, int fd);
  void give_back(SocketRecord* record);
  static void set_local(SocketRecord& record, const SocketAddress& local);
  static void set_remote(SocketRecord& record, const SocketAddress& remote);

 private:
  ClientSlot* slot_;
  std::vector<uint32_t> free_;
  std::vector<SocketRecord**> holders_;  // by index; null: free
};

}  // namespace underpass
