// buffers.cpp - how much waits where: buffers, windows, low water marks, and what TCP_INFO counts
#include <linux/sockios.h>

#include "scenario.h"

using namespace scenario;

namespace {

constexpr size_t kKiB = 1024;

// How much that is differs.
void read_what_filled(int fd) {
  const auto bytes = static_cast<size_t>(number(peer("filled 1")));
  std::string data(bytes, '\0');
  note("all came: %d", recv(fd, data.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes));
}

// To a peer that takes little. Its buffer is small before anything was announced.
int connected_to_little() {
  const int port = number(peer("listen 0"));
  peer("rcvbuf 0 4096");
  const int fd = tcp();
  Name address = theirs(port);
  must("connect", connect(fd, plain(address), size(address)));
  peer("accept 0 1");
  peer("close 0");
  return fd;
}

void send_buffer() {
  const int fd = connected_to_little();
  set_option(fd, SOL_SOCKET, SO_SNDBUF, 16 * 1024);
  const size_t taken = fill_all(fd);
  note("taken: %s", about(taken, 10 * kKiB, 128 * kKiB));
  said_poll(fd);
  set_option(fd, SOL_SOCKET, SO_SNDBUF, 128 * 1024);
  const size_t more = fill_all(fd);
  note("with a larger one: %s", about(more, 30 * kKiB, 400 * kKiB));
  ask("recv 1 %zu", taken + more);
  await(fd, POLLOUT);
  answer();
  close(fd);
}

void receive_buffer() {
  both_ways([](int fd) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 32 * 1024);
    note("-- set on a connection");
    peer("sndbuf 1 8192");
    // What had been announced before is not taken back.
    peer_said("fillabout 1 10 1500");
  });
  note("-- inherited");
  const int listener = tcp();
  Name address = mine();
  must("bind", bind(listener, plain(address), size(address)));
  set_option(listener, SOL_SOCKET, SO_RCVBUF, 8 * 1024);
  must("listen", listen(listener, 4));
  ask("connect 1 %d", port_of(listener));
  const int fd = must("accept", accept(listener, nullptr, nullptr));
  answer();
  peer("sndbuf 1 8192");
  peer_said("fillabout 1 4 100");
  read_what_filled(fd);
  peer_said("text 1 more");
  receive_exactly(fd, 4);
  close(fd);
  close(listener);
}

void window_clamp() {
  const int fd = tcp();
  set_option(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 16 * 1024);
  Name address = theirs(number(peer("listen 0")));
  must("connect", connect(fd, plain(address), size(address)));
  peer("accept 0 1");
  peer("sndbuf 1 8192");
  peer_said("fillabout 1 4 120");
  read_what_filled(fd);
  ask("send 1 200000");
  receive_exactly(fd, 200000);
  answer_said("send");
  close(fd);
}

void not_sent_low_water() {
  both_ways([](int fd) {
    peer("rcvbuf 1 4096");
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16 * 1024);
    const size_t taken = fill_all(fd);
    int not_sent = 0;
    said("SIOCOUTQNSD", ioctl(fd, SIOCOUTQNSD, &not_sent) * 0);
    note("not sent: %s", about(static_cast<size_t>(not_sent), 16 * kKiB - 1, 160 * kKiB));
    said_poll(fd);
    ask("recv 1 %zu", taken);
    await(fd, POLLOUT);
    answer();
    int queued = -1;
    note("all sent: %d", eventually([&] {
           ioctl(fd, SIOCOUTQNSD, &not_sent);
           ioctl(fd, SIOCOUTQ, &queued);
           return not_sent == 0 && queued == 0;
         }));
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
  });
}

void queues_by_ioctl() {
  both_ways([](int fd) {
    int queued = -1;
    int not_sent = -1;
    const auto said_queues = [&] {
      ioctl(fd, SIOCOUTQ, &queued);
      ioctl(fd, SIOCOUTQNSD, &not_sent);
      note("SIOCOUTQ %d SIOCOUTQNSD %d", queued, not_sent);
    };
    said_queues();
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    said("send", send(fd, "hello", 5, 0));
    said_queues();
    set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
    peer_said("recv 1 5");
    note("acknowledged %d", eventually([&] { return ioctl(fd, SIOCOUTQ, &queued), queued == 0; }));
    said_queues();
    said("shutdown", shutdown(fd, SHUT_WR));
    note("acknowledged %d", eventually([&] { return ioctl(fd, SIOCOUTQ, &queued), queued == 0; }));
  });
  const int fd = tcp(SOCK_NONBLOCK);
  Name address = nobody();
  said("connect", connect(fd, plain(address), size(address)));
  int queued = -1;
  said("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &queued));
  note("%d", queued);
  said("SIOCOUTQNSD", ioctl(fd, SIOCOUTQNSD, &queued));
  note("%d", queued);
  close(fd);
}

// ---- TCP_DEFER_ACCEPT

void deferred_accept() {
  const int listener = listening(mine(), 8, SOCK_NONBLOCK);
  set_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
  note("peer connects: %s", peer("connect 1 %d", port_of(listener)).c_str());
  usleep(50000);
  said_poll(listener, POLLIN);
  said("accept", accept(listener, nullptr, nullptr));
  peer_said("text 1 hello");
  await(listener, POLLIN);
  const int fd = accept(listener, nullptr, nullptr);
  worked("accept", fd);
  char buffer[16] = {};
  said_data("recv", recv(fd, buffer, sizeof buffer, 0), buffer);
  close(fd);
  note("-- the peer ends it");
  note("peer connects: %s", peer("connect 2 %d", port_of(listener)).c_str());
  peer_said("shut 2 1");
  await(listener, POLLIN);
  const int ended = accept(listener, nullptr, nullptr);
  worked("accept", ended);
  said("recv", recv(ended, buffer, sizeof buffer, 0));
  close(ended);
  note("-- the peer resets it");
  note("peer connects: %s", peer("connect 3 %d", port_of(listener)).c_str());
  peer_said("reset 3");
  usleep(50000);
  said_poll(listener, POLLIN);
  said("accept", accept(listener, nullptr, nullptr));
  note("-- not any more");
  set_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
  note("peer connects: %s", peer("connect 4 %d", port_of(listener)).c_str());
  await(listener, POLLIN);
  worked("accept", accept(listener, nullptr, nullptr));
  close(listener);
}

// ---- TCP_INFO

// As linux/tcp.h has it, which cannot be included beside netinet/tcp.h, whose own ends earlier.
struct TcpInfo : tcp_info {
  uint64_t tcpi_pacing_rate;
  uint64_t tcpi_max_pacing_rate;
  uint64_t tcpi_bytes_acked;
  uint64_t tcpi_bytes_received;
  uint32_t tcpi_segs_out;
  uint32_t tcpi_segs_in;
  uint32_t tcpi_notsent_bytes;
  uint32_t tcpi_min_rtt;
  uint32_t tcpi_data_segs_in;
  uint32_t tcpi_data_segs_out;
  uint64_t tcpi_delivery_rate;
  uint64_t tcpi_busy_time;
  uint64_t tcpi_rwnd_limited;
  uint64_t tcpi_sndbuf_limited;
  uint32_t tcpi_delivered;
  uint32_t tcpi_delivered_ce;
  uint64_t tcpi_bytes_sent;
  uint64_t tcpi_bytes_retrans;
  uint32_t tcpi_dsack_dups;
  uint32_t tcpi_reord_seen;
  uint32_t tcpi_rcv_ooopack;
  uint32_t tcpi_snd_wnd;
};

TcpInfo info_of(int fd) {
  TcpInfo info{};
  socklen_t length = sizeof info;
  must("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
  return info;
}

void said_counts(int fd) {
  const TcpInfo info = info_of(fd);
  note("sent %llu acked %llu received %llu resent %llu not sent %u",
       static_cast<unsigned long long>(info.tcpi_bytes_sent),
       static_cast<unsigned long long>(info.tcpi_bytes_acked),
       static_cast<unsigned long long>(info.tcpi_bytes_received),
       static_cast<unsigned long long>(info.tcpi_bytes_retrans), info.tcpi_notsent_bytes);
  note("data segments out %u in %u, resent %u, delivered %u, early %u", info.tcpi_data_segs_out,
       info.tcpi_data_segs_in, info.tcpi_total_retrans, info.tcpi_delivered, info.tcpi_rcv_ooopack);
  note("unacked %u sacked %u lost %u retrans %u", info.tcpi_unacked, info.tcpi_sacked,
       info.tcpi_lost, info.tcpi_retrans);
}

void counts() {
  both_ways([](int fd) {
    note("-- fresh");
    said_counts(fd);
    said("send", send(fd, "hello", 5, 0));
    peer_said("recv 1 5");
    peer_said("text 1 hi");
    await_unread(fd, 2);
    int queued = -1;
    eventually([&] { return ioctl(fd, SIOCOUTQ, &queued), queued == 0; });
    said_counts(fd);
    const TcpInfo info = info_of(fd);
    note("segments %d %d, reordering %u, pmtu %u, last data sent %d received %d ack %d",
         info.tcpi_segs_out > 0, info.tcpi_segs_in > 0, info.tcpi_reordering, info.tcpi_pmtu,
         info.tcpi_last_data_sent < 5000, info.tcpi_last_data_recv < 5000,
         info.tcpi_last_ack_recv < 5000);
    note("rtt %d min %d rto %d snd_wnd %d ssthresh %x mss %u %u", info.tcpi_rtt > 0,
         info.tcpi_min_rtt > 0, info.tcpi_rto >= 200000, info.tcpi_snd_wnd > 0,
         info.tcpi_snd_ssthresh, info.tcpi_snd_mss, info.tcpi_advmss);
    said("shutdown", shutdown(fd, SHUT_WR));
    peer_said("shut 1 1");
    await(fd, POLLRDHUP);
    usleep(20000);
    said_counts(fd);
  });
}

void length_of_info() {
  both_ways([](int fd) {
    char room[1024] = {};
    socklen_t length = sizeof room;
    said("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, room, &length));
    note("length %u", length);
    length = 3;
    said("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, room, &length));
    note("length %u state %d", length, room[0]);
  });
}

// ---- TCP_QUICKACK

void quick_ack() {
  both_ways([](int fd) {
    for (const int value : {0, 1, 0}) {
      said("TCP_QUICKACK", setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &value, sizeof value));
      peer_said("text 1 hello");
      receive_exactly(fd, 5);
    }
  });
}

constexpr Scenario kScenarios[] = {
    {"send_buffer", Proof::kTcp, send_buffer},
    {"receive_buffer", Proof::kTcp, receive_buffer},
    {"window_clamp", Proof::kTcp, window_clamp},
    {"not_sent_low_water", Proof::kTcp, not_sent_low_water},
    {"queues_by_ioctl", Proof::kTcp, queues_by_ioctl},
    {"deferred_accept", Proof::kTcp, deferred_accept},
    {"info_counts", Proof::kTcp, counts},
    {"info_length", Proof::kTcp, length_of_info},
    {"quick_ack", Proof::kTcp, quick_ack},
};

}  // namespace

int main(int argc, char** argv) { return scenario::main(argc, argv, kScenarios); }
