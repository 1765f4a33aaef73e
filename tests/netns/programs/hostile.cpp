// hostile.cpp - a client of the broker that writes into the shared memory what no program of ours
// would, and is gone
//
//   hostile IFACE numbers         every byte of the control memory behind the interface's name
//   hostile IFACE notes           a dead holder's locks, notes and rings that name what there is
//   not hostile IFACE record A B C D  an established connection to the peer A.B.C.D, to be reset
//
// Prints its slot. What it does not need of the broker's headers it does without.
#include <linux/futex.h>
#include <linux/if_xdp.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "xdp/broker_abi.h"
#include "xdp/control_abi.h"

using namespace underpass;

namespace {

struct Attached {
  uint32_t slot = 0;
  int fds[kMaxMessageFds] = {};
};

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

Attached attach(const char* iface) {
  sockaddr_un address;
  const socklen_t length = broker_address(iface, address);
  const int lease = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
  if (::connect(lease, reinterpret_cast<sockaddr*>(&address), length) != 0) fail("connect");
  BrokerRequest request{};
  request.kind = RequestKind::kAttach;
  if (::send(lease, &request, sizeof request, 0) < 0) fail("send");
  for (;;) {
    BrokerReply reply{};
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxMessageFds * sizeof(int))];
    iovec piece{&reply, sizeof reply};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (::recvmsg(lease, &message, 0) <= 0) fail("recvmsg");
    if (reply.kind != ReplyKind::kAttached) continue;
    const cmsghdr* const header = CMSG_FIRSTHDR(&message);
    if (reply.error != 0 || header == nullptr) fail("attach");
    Attached attached;
    attached.slot = reply.slot;
    std::memcpy(attached.fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return attached;
  }
}

template <class T>
T* map(int fd, size_t bytes, off_t offset) {
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  if (at == MAP_FAILED) fail("mmap");
  return static_cast<T*>(at);
}

void forge_numbers(Control& control) {
  auto* const first = reinterpret_cast<uint8_t*>(&control) + offsetof(Control, mac);
  auto* const end = reinterpret_cast<uint8_t*>(&control) + sizeof control;
  std::memset(first, 0xa5, static_cast<size_t>(end - first));
}

// The broker takes over what the dead holder of a lock had begun.
void forge_notes(Control& control, const Attached& attached) {
  const int xsk = attached.fds[kFirstXskFd];
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof offsets;
  if (::getsockopt(xsk, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0) fail("offsets");
  const size_t bytes = offsets.fr.desc + kFillRingEntries * sizeof(uint64_t);
  auto* const fill = map<uint8_t>(xsk, bytes, XDP_UMEM_PGOFF_FILL_RING);
  auto* const entries = reinterpret_cast<uint64_t*>(fill + offsets.fr.desc);
  for (uint32_t i = 0; i < kFillRingEntries; ++i) {
    entries[i] = (uint64_t{1} << 31 | i) * kFrameBytes;
  }
  QueueLocks& locks = control.locks[0];
  // Pointers of libc's list, which a dead holder leaves behind: to nowhere.
  std::memset(&locks.fill, 0x41, sizeof locks.fill);
  std::memset(&locks.completion, 0x41, sizeof locks.completion);
  const uint32_t owner_died = FUTEX_OWNER_DIED;
  std::memcpy(&locks.fill, &owner_died, sizeof owner_died);
  std::memcpy(&locks.completion, &owner_died, sizeof owner_died);
  const int robust_normal = PTHREAD_MUTEX_ROBUST | 0x10 | 0x80;
  std::memcpy(reinterpret_cast<char*>(&locks.fill) + offsetof(pthread_mutex_t, __data.__kind),
              &robust_normal, sizeof robust_normal);
  locks.filling_from = *reinterpret_cast<uint32_t*>(fill + offsets.fr.producer);
  locks.filling_count = kFillRingEntries;
}

void forge_record(Control& control, uint32_t slot, char** octets) {
  ClientSlot& memory = control.client[slot];
  SocketRecord& record = memory.records[0];
  record.protocol = IPPROTO_TCP;
  record.state = 1;
  record.local_port = 1000;
  record.remote_port = 2000;
  for (int i = 0; i < 4; ++i) {
    record.remote_ip[12 + i] = static_cast<uint8_t>(std::atoi(octets[i]));
    record.local_ip[12 + i] = control.addresses[0].ip[12 + i];
  }
  for (int i = 10; i < 12; ++i) record.remote_ip[i] = record.local_ip[i] = 0xff;
  record.in_use = 1;
  memory.records_used = 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const Attached attached = attach(argv[1]);
  auto& control = *map<Control>(attached.fds[kControlFd], sizeof(Control), 0);
  const std::string kind = argv[2];
  std::printf("%u\n", attached.slot);
  if (kind == "numbers") forge_numbers(control);
  if (kind == "notes") forge_notes(control, attached);
  if (kind == "record" && argc == 7) forge_record(control, attached.slot, argv + 3);
  return 0;
}
