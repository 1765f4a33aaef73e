// peer.cpp - the other end of a scenario's connections: does what it is told over a Unix socket
//
//   peer CONTROL_FD MY_ADDRESS PEER_ADDRESS
//
// A command is a line, its answer is a line: a number or an errno's name, mostly. Sockets are named
// by slots. Calls block, so the scenario may ask, act, and read the answer afterwards.
#include <algorithm>

#include "scenario.h"

namespace {

using scenario::errno_name;

constexpr int kSlots = 64;
int slots[kSlots];
size_t sent_bytes[kSlots];

std::string result(long value) {
  return value < 0 ? std::string(errno_name(errno)) : std::to_string(value);
}

void put(int slot, int fd) {
  slots[slot] = fd;
  sent_bytes[slot] = 0;
}

std::string start_listening(int slot, int backlog) {
  const int fd = scenario::listening(scenario::mine(), backlog);
  put(slot, fd);
  return std::to_string(scenario::port_of(fd));
}

// A port on which nothing listens, for as long as nobody takes it.
std::string closed_port(int type) {
  const int fd = scenario::must("socket", socket(scenario::family, type, 0));
  scenario::Name address = scenario::mine();
  scenario::must("bind", bind(fd, scenario::plain(address), scenario::size(address)));
  const int port = scenario::port_of(fd);
  close(fd);
  return std::to_string(port);
}

std::string connect_to(int slot, int port) {
  const int fd = scenario::tcp();
  scenario::Name address = scenario::theirs(port);
  const int done = connect(fd, scenario::plain(address), scenario::size(address));
  if (done == 0) {
    put(slot, fd);
  } else {
    const int code = errno;
    close(fd);
    errno = code;
  }
  return result(done);
}

std::string send_pattern(int slot, size_t bytes) {
  const std::string data = scenario::pattern(bytes, sent_bytes[slot]);
  size_t done = 0;
  while (done < bytes) {
    const ssize_t sent = send(slots[slot], &data[done], bytes - done, MSG_NOSIGNAL);
    if (sent < 0) return std::to_string(done) + " " + errno_name(errno);
    done += static_cast<size_t>(sent);
  }
  sent_bytes[slot] += done;
  return std::to_string(done);
}

// At most `bytes`, to the end of the stream if fewer come.
std::string receive(int slot, size_t bytes) {
  std::string buffer(65536, '\0');
  size_t total = 0;
  uint32_t hash = scenario::digest(nullptr, 0);
  std::string text;
  std::string end;
  while (total < bytes) {
    const ssize_t got = recv(slots[slot], buffer.data(), std::min(buffer.size(), bytes - total), 0);
    if (got <= 0) {
      end = got == 0 ? " EOF" : std::string(" ") + errno_name(errno);
      break;
    }
    hash = scenario::digest(buffer.data(), static_cast<size_t>(got), hash);
    total += static_cast<size_t>(got);
    if (total <= 40) text.append(buffer, 0, static_cast<size_t>(got));
  }
  // The answer is one line.
  std::replace(text.begin(), text.end(), '\n', '/');
  char line[160];
  if (total <= 40) {
    snprintf(line, sizeof line, "%zu '%s'%s", total, text.c_str(), end.c_str());
  } else {
    snprintf(line, sizeof line, "%zu #%08x%s", total, hash, end.c_str());
  }
  return line;
}

std::string peek_all(int slot, int bytes) {
  const bool came = scenario::eventually([&] { return scenario::unread(slots[slot]) >= bytes; });
  return std::to_string(scenario::unread(slots[slot])) + (came ? "" : " (in vain)");
}

std::string reset(int slot) {
  const linger now{1, 0};
  setsockopt(slots[slot], SOL_SOCKET, SO_LINGER, &now, sizeof now);
  return result(close(std::exchange(slots[slot], -1)));
}

std::string open_udp(int slot) {
  const int fd = scenario::udp();
  scenario::Name address = scenario::mine();
  scenario::must("bind", bind(fd, scenario::plain(address), scenario::size(address)));
  // A hang of the scenario must not be ours too.
  scenario::set_timeout(fd, SO_RCVTIMEO, scenario::kLimitMs);
  put(slot, fd);
  return std::to_string(scenario::port_of(fd));
}

std::string connect_udp(int slot, int port) {
  scenario::Name address = scenario::theirs(port);
  return result(connect(slots[slot], scenario::plain(address), scenario::size(address)));
}

std::string send_to(int slot, scenario::Name address, size_t bytes) {
  const std::string data = scenario::pattern(bytes);
  return result(sendto(slots[slot], data.data(), data.size(), MSG_NOSIGNAL,
                       scenario::plain(address), scenario::size(address)));
}

// To the group of multicast.cpp or of ipv6.cpp, out of the interface of the scenarios.
std::string send_to_group(int slot, int port, size_t bytes) {
  if (!scenario::over_v4()) {
    scenario::Name group = scenario::at_text("", "ff02::4321", port);
    group.v6.sin6_scope_id = if_nametoindex("up0");
    return send_to(slot, group, bytes);
  }
  const in_addr own = scenario::to_v4(scenario::my_ip);
  setsockopt(slots[slot], IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof own);
  return send_to(slot, scenario::at(scenario::from_v4(0xe8010203), port), bytes);
}

// One datagram; `from` gets where it comes from.
std::string receive_from(int slot, scenario::Name& from) {
  std::string buffer(70000, '\0');
  socklen_t length = scenario::size(from);
  const ssize_t got =
      recvfrom(slots[slot], buffer.data(), buffer.size(), 0, scenario::plain(from), &length);
  if (got < 0) return errno_name(errno);
  char line[64];
  snprintf(line, sizeof line, "%zd #%08x", got,
           scenario::digest(buffer.data(), static_cast<size_t>(got)));
  return line;
}

std::string echo_datagram(int slot) {
  std::string buffer(70000, '\0');
  scenario::Name from{};
  socklen_t length = scenario::size(from);
  const ssize_t got =
      recvfrom(slots[slot], buffer.data(), buffer.size(), 0, scenario::plain(from), &length);
  if (got < 0) return errno_name(errno);
  return result(sendto(slots[slot], buffer.data(), static_cast<size_t>(got), MSG_NOSIGNAL,
                       scenario::plain(from), length));
}

void forget() {
  for (int& fd : slots) {
    if (fd >= 0) close(std::exchange(fd, -1));
  }
}

std::string set_int(int slot, int level, int name, int value) {
  return result(setsockopt(slots[slot], level, name, &value, sizeof value));
}

scenario::Name source;

size_t filled_bytes = 0;

// As much as is taken without anybody reading: between `from` and `to` KiB?
std::string fill_about(int slot, int from, int to) {
  constexpr size_t kKiB = 1024;
  filled_bytes = scenario::fill_all(slots[slot]);
  return scenario::about(filled_bytes, static_cast<size_t>(from) * kKiB,
                         static_cast<size_t>(to) * kKiB);
}

std::string receive_urgent(int slot) {
  char byte = 0;
  const ssize_t got = recv(slots[slot], &byte, 1, MSG_OOB);
  return got == 1 ? std::string(1, byte) : result(got);
}

std::string urgent_command(const std::string& verb, int slot, const char* text) {
  if (verb == "oob") return result(send(slots[slot], text, strlen(text), MSG_OOB | MSG_NOSIGNAL));
  if (verb == "recvoob") return receive_urgent(slot);
  if (verb == "atmark") return result(sockatmark(slots[slot]));
  if (verb == "awaitpri") {
    const auto came = [&] { return (scenario::poll_now(slots[slot]) & POLLPRI) != 0; };
    return scenario::eventually(came) ? "ok" : "in vain";
  }
  return "unknown command";
}

std::string stream_command(const std::string& verb, int slot, int value, const char* text) {
  if (verb == "listen") return start_listening(slot, value == 0 ? 8 : value);
  if (verb == "closed_port") return closed_port(slot == 0 ? SOCK_STREAM : SOCK_DGRAM);
  if (verb == "connect") return connect_to(slot, value);
  if (verb == "accept") {
    put(value, accept(slots[slot], nullptr, nullptr));
    return slots[value] < 0 ? errno_name(errno) : "ok";
  }
  if (verb == "send") return send_pattern(slot, static_cast<size_t>(value));
  if (verb == "text") return result(send(slots[slot], text, strlen(text), MSG_NOSIGNAL));
  if (verb == "recv") return receive(slot, static_cast<size_t>(value));
  if (verb == "unread") return peek_all(slot, value);
  if (verb == "shut") return result(shutdown(slots[slot], value));
  if (verb == "close") return result(close(std::exchange(slots[slot], -1)));
  if (verb == "reset") return reset(slot);
  if (verb == "peerport") return std::to_string(scenario::peer_port_of(slots[slot]));
  if (verb == "rcvbuf") return set_int(slot, SOL_SOCKET, SO_RCVBUF, value);
  if (verb == "sndbuf") return set_int(slot, SOL_SOCKET, SO_SNDBUF, value);
  if (verb == "nodelay") return set_int(slot, IPPROTO_TCP, TCP_NODELAY, value);
  return urgent_command(verb, slot, text);
  return "unknown command";
}

std::string command(const char* line) {
  char verb[32] = {};
  char text[256] = {};
  int slot = 0;
  int value = 0;
  int more = 0;
  sscanf(line, "%31s %d %d %d", verb, &slot, &value, &more);
  sscanf(line, "%*s %*d %255[^\n]", text);
  const std::string name = verb;
  if (name == "forget") {
    forget();
    return "ok";
  }
  if (name == "udp") return open_udp(slot);
  if (name == "connectudp") return connect_udp(slot, value);
  if (name == "fillabout") return fill_about(slot, value, more);
  if (name == "filled") return std::to_string(filled_bytes);
  const auto bytes = static_cast<size_t>(more);
  if (name == "sendgroup") return send_to_group(slot, value, bytes);
  if (name == "sendto") return send_to(slot, scenario::theirs(value), bytes);
  if (name == "sendtosecond") {
    return send_to(slot, scenario::second_of(scenario::peer_ip, value), bytes);
  }
  if (name == "recvfrom") return receive_from(slot, source);
  if (name == "source") return std::to_string(scenario::port_in(source));
  if (name == "sourceip") return scenario::ip_name(scenario::ip_of(source));
  if (name == "echo") return echo_datagram(slot);
  return stream_command(name, slot, value, text);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 || !scenario::read_hosts(argv[2], argv[3])) return 2;
  for (int& fd : slots) fd = -1;
  FILE* control = fdopen(atoi(argv[1]), "r");
  char line[512];
  while (control != nullptr && fgets(line, sizeof line, control) != nullptr) {
    const std::string said = command(line) + "\n";
    if (write(fileno(control), said.data(), said.size()) < 0) return 1;
  }
  return 0;
}
