// arguments.cpp - from words to memory
#include "tests/diff/executor/arguments.h"

#include <cstdlib>

namespace diff {

namespace {

constexpr uint8_t kUntouched = 0xee;

// An address that no program can have.
void* bad_address() { return reinterpret_cast<void*>(uintptr_t{16}); }

bool starts_with(const std::string& word, const char* prefix) { return word.rfind(prefix, 0) == 0; }

long number_of(const std::string& text) { return std::strtol(text.c_str(), nullptr, 0); }

// null8 and bad8; false for others.
bool is_nowhere(const std::string& word, void** data, size_t* bytes) {
  if (!starts_with(word, "null") && !starts_with(word, "bad")) return false;
  const bool null = word[0] == 'n';
  *data = null ? nullptr : bad_address();
  *bytes = static_cast<size_t>(number_of(word.substr(null ? 4 : 3)));
  return true;
}

}  // namespace

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  for (size_t end; (end = text.find(separator, at)) != std::string::npos; at = end + 1) {
    if (end > at) parts.push_back(text.substr(at, end - at));
  }
  if (at < text.size()) parts.push_back(text.substr(at));
  return parts;
}

int fd_of(const Slots& slots, const std::string& word) {
  if (word[0] == 's') return slots.at(static_cast<size_t>(number_of(word.substr(1))));
  return static_cast<int>(number_of(word));
}

std::string Arguments::word() { return done() ? "0" : words_[next_++]; }

long Arguments::number() { return number_of(word()); }

int Arguments::fd() { return fd_of(*slots_, word()); }

Bytes Arguments::bytes() { return bytes_of(word()); }

Room Arguments::room() { return room_of(word()); }

Bytes Arguments::bytes_of(const std::string& word) {
  Bytes made;
  if (is_nowhere(word, &made.data, &made.bytes)) return made;
  const auto dot = word.find('.');
  const std::string first = word.substr(1, dot - 1);
  auto& memory = memory_.emplace_back();
  switch (word[0]) {
    case 'd': {
      const auto from = static_cast<size_t>(number_of(first));
      memory.resize(static_cast<size_t>(number_of(word.substr(dot + 1))));
      for (size_t i = 0; i < memory.size(); ++i) {
        memory[i] = static_cast<uint8_t>('a' + (from + i) % 26);
      }
      break;
    }
    case 'f':
      memory.assign(static_cast<size_t>(number_of(first)), '#');
      break;
    case 'v':
      for (size_t i = 0; i + 1 < first.size(); i += 2) {
        memory.push_back(
            static_cast<uint8_t>(std::strtoul(first.substr(i, 2).c_str(), nullptr, 16)));
      }
      break;
    default:
      break;
  }
  made.bytes =
      word[0] == 'v' ? static_cast<size_t>(number_of(word.substr(dot + 1))) : memory.size();
  memory.resize(std::max<size_t>(memory.size(), 256));  // a length that lies reads zeros
  made.data = memory.data();
  return made;
}

Room Arguments::room_of(const std::string& word) {
  Room made;
  if (is_nowhere(word, &made.data, &made.bytes)) return made;
  made.bytes = static_cast<size_t>(number_of(word.substr(1)));
  made.memory = &memory_.emplace_back(made.bytes + 64, kUntouched);
  made.data = made.memory->data();
  return made;
}

AddressRoom Arguments::address_room() {
  const std::string said = word();
  AddressRoom made;
  if (said == "null") return made;
  made.before = static_cast<socklen_t>(number_of(said.substr(said.find_first_of("-0123456789"))));
  if (starts_with(said, "badlength")) {
    made.length = static_cast<socklen_t*>(bad_address());
  } else if (!starts_with(said, "nolength")) {
    made.length = object<socklen_t>(made.before);
  }
  made.address = starts_with(said, "badaddress")
                     ? static_cast<sockaddr*>(bad_address())
                     : reinterpret_cast<sockaddr*>(memory_.emplace_back(256, kUntouched).data());
  return made;
}

Pieces Arguments::pieces() {
  const std::string said = word();
  Pieces made;
  void* nowhere = nullptr;
  size_t count = 0;
  if (said.find(',') == std::string::npos && is_nowhere(said, &nowhere, &count)) {
    made.array = static_cast<iovec*>(nowhere);
    made.count = static_cast<int>(count);
    return made;
  }
  const auto words = split(said, ',');
  auto& memory = memory_.emplace_back(words.size() * sizeof(iovec) + 1);
  made.array = reinterpret_cast<iovec*>(memory.data());
  for (const std::string& one : words) {
    iovec& piece = made.array[made.count++];
    if (one[0] == 'b' && one[1] != 'a') {
      const Room room = room_of(one);
      made.rooms.push_back(room);
      piece = {room.data, room.bytes};
    } else {
      const Bytes bytes = bytes_of(one);
      piece = {bytes.data, bytes.bytes};
      made.rooms.push_back({bytes.data, bytes.bytes, nullptr});
    }
  }
  return made;
}

}  // namespace diff
