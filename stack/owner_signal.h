// owner_signal.h - signals for whoever a program has named by F_SETOWN (fcntl(2))
//
// Owner and signal are the kernel socket's, which the program has set them on.
#pragma once

namespace underpass {

// SIGURG. Nothing where nobody is named.
void raise_urgent(int fd);

}  // namespace underpass
