// leaver.cpp - leaver INTERFACE PEER PORT exit|return: sends a lot and ends, with a socket still
// open
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "stack/socket.h"

namespace {
constexpr size_t kBytes = 3'000'000;
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    const underpass::Interface interface(argv[1]);
    // Outlives what std::atexit() was told when the interface was attached.
    static underpass::Socket lasting;
    lasting.connect({argv[2], std::stoi(argv[3])});
    lasting.sendall(std::string(kBytes, 'l'));
    underpass::Socket socket;
    socket.connect({argv[2], std::stoi(argv[3])});
    socket.sendall(std::string(kBytes, 's'));
    if (std::strcmp(argv[4], "exit") == 0) std::exit(0);
  } catch (const underpass::IOError& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
