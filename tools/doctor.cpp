// doctor.cpp - `underpass doctor`: will bypass work here, and if not, what is missing
#include <fmt/format.h>

#include "tools/commands.h"
#include "tools/diagnosis.h"

namespace underpass {

namespace {

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kNote:
      return "note";
    case Verdict::kMissing:
      return "missing";
  }
  return "";
}

}  // namespace

int doctor(const std::string& iface) {
  const auto findings = diagnose(iface);
  for (const Finding& finding : findings) {
    fmt::print("{:<8} {}\n", word(finding.verdict), to_string(finding));
  }
  const bool works = first_missing(findings) == nullptr;
  fmt::print("{}\n", works ? "bypass will work" : "bypass will not work");
  return works ? 0 : kExitNo;
}

}  // namespace underpass
