// calls_waiting.cpp - poll, select and epoll
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "tests/diff/executor/calls.h"

namespace diff {

namespace {

constexpr int kNoFd = -1;

// "s1:5,s2:1": each descriptor and what is asked of it.
std::vector<std::pair<std::string, std::string>> pairs_of(const std::string& word) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& one : split(word, ',')) {
    const auto colon = one.find(':');
    if (colon != std::string::npos) pairs.emplace_back(one.substr(0, colon), one.substr(colon + 1));
  }
  return pairs;
}

timespec time_of(long ms) { return {ms / 1000, ms % 1000 * 1000000}; }

template <class Function>
Outcome poll_with(Arguments& arguments, Function function) {
  std::vector<pollfd> files;
  for (const auto& [name, events] : pairs_of(arguments.word())) {
    files.push_back({fd_of(arguments.slots(), name),
                     static_cast<short>(std::strtol(events.c_str(), nullptr, 0)), 0x40});
  }
  const long limit_ms = arguments.number();
  Outcome outcome(function(files, limit_ms));
  for (const pollfd& one : files) outcome.add("revents", one.revents);
  return outcome;
}

Outcome call_poll(Arguments& arguments) {
  return poll_with(arguments, [](std::vector<pollfd>& files, long limit_ms) {
    return ::poll(files.data(), files.size(), static_cast<int>(limit_ms));
  });
}

Outcome call_ppoll(Arguments& arguments) {
  return poll_with(arguments, [](std::vector<pollfd>& files, long limit_ms) {
    timespec limit = time_of(limit_ms);
    return ::ppoll(files.data(), files.size(), limit_ms < 0 ? nullptr : &limit, nullptr);
  });
}

struct Sets {
  fd_set read, write, except;
  int highest = kNoFd;
};

Sets sets_of(Arguments& arguments, const std::vector<std::pair<std::string, std::string>>& pairs) {
  Sets sets;
  FD_ZERO(&sets.read);
  FD_ZERO(&sets.write);
  FD_ZERO(&sets.except);
  for (const auto& [name, wanted] : pairs) {
    const int fd = fd_of(arguments.slots(), name);
    if (fd < 0 || fd >= FD_SETSIZE) continue;
    sets.highest = std::max(sets.highest, fd);
    if (wanted.find('r') != std::string::npos) FD_SET(fd, &sets.read);
    if (wanted.find('w') != std::string::npos) FD_SET(fd, &sets.write);
    if (wanted.find('x') != std::string::npos) FD_SET(fd, &sets.except);
  }
  return sets;
}

template <class Function>
Outcome select_with(Arguments& arguments, Function function) {
  const auto pairs = pairs_of(arguments.word());
  const long limit_ms = arguments.number();
  Sets sets = sets_of(arguments, pairs);
  Outcome outcome(function(sets, limit_ms));
  for (const auto& [name, wanted] : pairs) {
    const int fd = fd_of(arguments.slots(), name);
    if (fd < 0 || fd >= FD_SETSIZE) continue;
    std::string said;
    if (FD_ISSET(fd, &sets.read)) said += 'r';
    if (FD_ISSET(fd, &sets.write)) said += 'w';
    if (FD_ISSET(fd, &sets.except)) said += 'x';
    outcome.add("set", said);
  }
  return outcome;
}

Outcome call_select(Arguments& arguments) {
  return select_with(arguments, [](Sets& sets, long limit_ms) {
    timeval limit{limit_ms / 1000, limit_ms % 1000 * 1000};
    return ::select(sets.highest + 1, &sets.read, &sets.write, &sets.except,
                    limit_ms < 0 ? nullptr : &limit);
  });
}

Outcome call_pselect(Arguments& arguments) {
  return select_with(arguments, [](Sets& sets, long limit_ms) {
    const timespec limit = time_of(limit_ms);
    return ::pselect(sets.highest + 1, &sets.read, &sets.write, &sets.except,
                     limit_ms < 0 ? nullptr : &limit, nullptr);
  });
}

Outcome call_epoll_create1(Arguments& arguments) {
  return Outcome(::epoll_create1(static_cast<int>(arguments.number())));
}

// The set, the operation, the descriptor, the events, and what comes back with them.
Outcome call_epoll_ctl(Arguments& arguments) {
  const int set = arguments.fd();
  const int operation = static_cast<int>(arguments.number());
  const int fd = arguments.fd();
  const std::string events = arguments.word();
  epoll_event event{};
  event.events = static_cast<uint32_t>(std::strtoul(events.c_str(), nullptr, 0));
  event.data.u64 = static_cast<uint64_t>(arguments.number());
  return Outcome(::epoll_ctl(set, operation, fd, events == "null" ? nullptr : &event));
}

// Where there is room for all, their order says nothing.
template <class Function>
Outcome epoll_with(Arguments& arguments, Function function) {
  const int set = arguments.fd();
  const auto room = static_cast<int>(arguments.number());
  const long limit_ms = arguments.number();
  std::vector<epoll_event> events(static_cast<size_t>(std::clamp(room, 1, 64)));
  Outcome outcome(function(set, events.data(), room, limit_ms));
  std::vector<std::string> said;
  for (long i = 0; i < outcome.result(); ++i) {
    const epoll_event& one = events[static_cast<size_t>(i)];
    said.push_back(std::to_string(one.data.u64) + ":" + std::to_string(one.events));
  }
  std::sort(said.begin(), said.end());
  for (const std::string& one : said) outcome.add("event", one);
  return outcome;
}

Outcome call_epoll_wait(Arguments& arguments) {
  return epoll_with(arguments, [](int set, epoll_event* events, int room, long limit_ms) {
    return ::epoll_wait(set, events, room, static_cast<int>(limit_ms));
  });
}

Outcome call_epoll_pwait(Arguments& arguments) {
  return epoll_with(arguments, [](int set, epoll_event* events, int room, long limit_ms) {
    sigset_t none;
    sigemptyset(&none);
    return ::epoll_pwait(set, events, room, static_cast<int>(limit_ms), &none);
  });
}

Outcome call_epoll_pwait2(Arguments& arguments) {
  return epoll_with(arguments, [](int set, epoll_event* events, int room, long limit_ms) {
    const timespec limit = time_of(limit_ms);
    return ::epoll_pwait2(set, events, room, limit_ms < 0 ? nullptr : &limit, nullptr);
  });
}

}  // namespace

void add_waiting_calls(CallTable& table) {
  table.insert({{"poll", call_poll},
                {"ppoll", call_ppoll},
                {"select", call_select},
                {"pselect", call_pselect},
                {"epoll_create1", call_epoll_create1},
                {"epoll_ctl", call_epoll_ctl},
                {"epoll_wait", call_epoll_wait},
                {"epoll_pwait", call_epoll_pwait},
                {"epoll_pwait2", call_epoll_pwait2}});
}

}  // namespace diff
