// json.h - writes JSON (RFC 8259) to a string
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace underpass {

// Commas are put where they belong. The caller closes what it opened. Not thread-safe.
class JsonWriter {
 public:
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  // Bytes above 0x7f become U+0080..U+00FF: a process may call itself anything.
  JsonWriter& value(std::string_view text);
  JsonWriter& value(uint64_t number);
  JsonWriter& null();
  template <class T>
  JsonWriter& member(std::string_view name, const T& what) {
    return key(name).value(what);
  }
  const std::string& text() const { return text_; }

 private:
  void separate();
  void append_quoted(std::string_view text);

  std::string text_;
  bool first_ = true;
};

}  // namespace underpass
