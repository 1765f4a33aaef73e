// can.cpp - can INTERFACE|- BUS send|receive: frames of CAN and CAN FD with the Socket class
//
// `receive` prints a line when it has joined the bus, and one for each of three frames.
#include <linux/can.h>
#include <linux/can/raw.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>

#include "stack/socket.h"

namespace {

using underpass::Address;
using underpass::Socket;

void send_frames(Socket& socket, const std::string& bus) {
  can_frame plain{};
  plain.can_id = 0x123;
  plain.can_dlc = 4;
  std::memcpy(plain.data, "\xde\xad\xbe\xef", 4);
  socket.send({&plain, sizeof plain});
  can_frame extended{};
  extended.can_id = 0x1f334455 | CAN_EFF_FLAG;
  extended.can_dlc = 1;
  extended.data[0] = 0x11;
  socket.sendto({&extended, sizeof extended}, Address(bus));
  canfd_frame longer{};
  longer.can_id = 0x321;
  longer.len = 12;
  std::memset(longer.data, 0xab, longer.len);
  socket.sendall({&longer, sizeof longer});
}

void print_frames(Socket& socket) {
  std::cout << "joined" << std::endl;
  for (int i = 0; i < 3; ++i) {
    canfd_frame frame{};
    const auto [bytes, from] = socket.recvfrom_into({&frame, sizeof frame});
    std::printf("%zu bytes from %s: %x", bytes, from.to_string().c_str(), frame.can_id);
    for (int at = 0; at < frame.len; ++at) std::printf(" %02x", frame.data[at]);
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    std::optional<underpass::Interface> interface;
    if (std::strcmp(argv[1], "-") != 0) interface.emplace(argv[1]);
    Socket socket(AF_CAN, SOCK_RAW);
    socket.bind(Address(argv[2]));
    socket.setsockopt(SOL_CAN_RAW, CAN_RAW_FD_FRAMES, 1);
    if (std::strcmp(argv[3], "send") == 0) {
      send_frames(socket, argv[2]);
    } else {
      print_frames(socket);
    }
  } catch (const underpass::IOError& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
