// result.h - a value, or the errno that explains its absence
#pragma once

#include <cassert>
#include <optional>
#include <utility>

namespace underpass {

// A Linux errno value, always positive. There is no private error space.
struct Error {
  int code;
};

// Holds either a T or an Error. Thread-compatible, as a value is.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit by intent
  Result(Error error) : error_(error.code) { assert(error.code > 0); }

  bool ok() const { return error_ == 0; }
  explicit operator bool() const { return ok(); }
  // The errno; zero when there is a value.
  int error() const { return error_; }
  T& value() {
    assert(ok());
    return *value_;
  }
  const T& value() const {
    assert(ok());
    return *value_;
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  int error_ = 0;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(error.code) { assert(error.code > 0); }

  bool ok() const { return error_ == 0; }
  explicit operator bool() const { return ok(); }
  int error() const { return error_; }

 private:
  int error_ = 0;
};

}  // namespace underpass
