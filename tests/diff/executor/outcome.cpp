// outcome.cpp - how results are written
#include "tests/diff/executor/outcome.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace diff {

namespace {

constexpr size_t kShownBytes = 48;

// Letters as they are; a long one by its ends, its length and a sum over all of it.
std::string describe(const std::string& data) {
  std::string text = data.size() <= kShownBytes ? data : data.substr(0, 16);
  if (data.size() > kShownBytes) {
    uint32_t sum = 2166136261U;  // FNV-1a
    for (const char byte : data) sum = (sum ^ static_cast<uint8_t>(byte)) * 16777619U;
    text += "..." + std::to_string(data.size()) + ":" + std::to_string(sum);
  }
  for (char& byte : text) {
    if (byte <= ' ' || byte > '~') byte = '?';
  }
  return text;
}

}  // namespace

std::string hex(const void* data, size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes; ++i) {
    const uint8_t byte = static_cast<const uint8_t*>(data)[i];
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

Outcome::Outcome(long result) : result_(result) {
  const int code = errno;
  words_ = std::to_string(result);
  if (result != -1) return;
  const char* name = strerrorname_np(code);
  words_ += std::string(" ") + (name == nullptr ? "?" : name);
}

Outcome& Outcome::add(const char* name, const std::string& value) {
  words_ += std::string(" ") + name + "=" + value;
  return *this;
}

Outcome& Outcome::add_data(const std::vector<Room>& rooms, size_t bytes) {
  std::string data;
  bool clean = true;
  for (const Room& room : rooms) {
    if (room.memory == nullptr) continue;
    const size_t written = std::min(bytes, room.bytes);
    bytes -= written;
    data.append(reinterpret_cast<const char*>(room.memory->data()), written);
    clean = clean && std::all_of(room.memory->begin() + static_cast<long>(written),
                                 room.memory->end(), [](uint8_t byte) { return byte == 0xee; });
  }
  // A whole run of what `fill` sends is as long as buffers are.
  add("data", describe(data));
  // A call that fails may have written before it noticed.
  if (!clean && result_ >= 0) add("behind", "written");
  return *this;
}

Outcome& Outcome::add_address(const AddressRoom& room) {
  const bool has_length = reinterpret_cast<uintptr_t>(room.length) > 4096;
  const bool has_address = reinterpret_cast<uintptr_t>(room.address) > 4096;
  if (!has_length || !has_address) return *this;
  const socklen_t after = *room.length;
  add("length", after);
  const auto* bytes = reinterpret_cast<const uint8_t*>(room.address);
  // What was written: the memory was filled with 0xee before.
  size_t written = 128;
  while (written > 0 && bytes[written - 1] == 0xee) --written;
  return add("address", "@" + hex(bytes, written));
}

Outcome& Outcome::add_hex(const char* name, const Room& room, size_t bytes) {
  if (room.memory == nullptr) return *this;
  return add(name, "x" + hex(room.data, std::min(bytes, room.bytes)));
}

}  // namespace diff
