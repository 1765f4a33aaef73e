// peer.cpp - the other end of the scenarios, on the kernel: peer ADDRESS
#include <unistd.h>

#include <cstdio>

#include "tests/socket/peer.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto net = underpass::test::kernel_net(argv[1]);
  underpass::test::serve(*net);
  for (;;) ::pause();
}
