// layout.h - where underpassd and libunderpass.so are, seen from our own binary
//
// Either all three lie in one directory (build/), or where `make install PREFIX=` puts them:
// PREFIX/bin/underpass, PREFIX/sbin/underpassd, PREFIX/lib/underpass/libunderpass.so.
#pragma once

#include <string>

#include "base/result.h"

namespace underpass {

// ENOENT: in none of the places.
Result<std::string> find_broker();
Result<std::string> find_library();
// The directory of our own binary, for messages.
std::string own_directory();

}  // namespace underpass
