// arguments.h - the words of a step, as the arguments of a call; the memory that they name
//
//   7 -1             a number                    s3            the descriptor of a name
//   d5.20            20 bytes to send, the       f4096         as many '#'
//                    letters from the fifth on
//   b100             room for 100 bytes          null8 bad8    no such memory, 8 bytes long
//   v0a00.4          bytes of an option or       o16 o-1       room for an address, and what its
//                    address and their length                  length says
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "tests/diff/executor/slots.h"

namespace diff {

// Memory that the call writes to. What lies behind what it has written must be untouched.
struct Room {
  void* data = nullptr;
  size_t bytes = 0;
  std::vector<uint8_t>* memory = nullptr;  // null: there is none
};

// Memory that the call reads.
struct Bytes {
  void* data = nullptr;
  size_t bytes = 0;
};

// Room for an address and its length, both or either missing.
struct AddressRoom {
  sockaddr* address = nullptr;
  socklen_t* length = nullptr;
  socklen_t before = 0;
};

struct Pieces {
  iovec* array = nullptr;
  int count = 0;
  std::vector<Room> rooms;
};

class Arguments {
 public:
  Arguments(std::vector<std::string> words, Slots& slots)
      : words_(std::move(words)), slots_(&slots) {}

  bool done() const { return next_ >= words_.size(); }
  std::string word();
  long number();
  int fd();
  Bytes bytes();
  Room room();
  AddressRoom address_room();
  // Words with commas between them, or null2, bad2: no array of two.
  Pieces pieces();
  // A number's own memory, for what the call writes into.
  template <class T>
  T* object(T value) {
    auto& memory = memory_.emplace_back(sizeof(T));
    auto* const made = reinterpret_cast<T*>(memory.data());
    *made = value;
    return made;
  }
  Slots& slots() { return *slots_; }

 private:
  Bytes bytes_of(const std::string& word);
  Room room_of(const std::string& word);

  std::vector<std::string> words_;
  size_t next_ = 0;
  Slots* slots_;
  std::deque<std::vector<uint8_t>> memory_;
};

int fd_of(const Slots& slots, const std::string& word);
std::vector<std::string> split(const std::string& text, char separator);

}  // namespace diff
