"""option_table.py - the options that sequences set and ask for, and values for them

Left out: what would end the lab's network or the executor itself (TCP_REPAIR, TCP_ULP, filters, encapsulation), and
what answers with times, addresses of memory or counts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    level: str
    name: str
    values: tuple
    # Zero: getsockopt's answer is no two runs' same.
    readable: bool = True


FLAG = ("int:0", "int:1", "int:1", "int:-1", "int:2")
NUMBER = ("int:0", "int:1", "int:5", "int:100", "int:-1", "int:65536", "int:2147483647")
BYTES = ("int:0", "int:1", "int:2048", "int:4096", "int:65536", "int:262144", "int:-1")
BYTE = ("int:0", "int:1", "int:4", "int:16", "int:64", "int:255", "int:256", "int:-1")
# Shorter than what counts as blocked.
TIME = ("time:0,0", "time:0,5000", "time:0,10000", "time:-1,0", "time:0,1000000", "time:0,-1")
LINGER = ("linger:1,0", "linger:1,0", "linger:0,0", "linger:1,1", "linger:0,5", "linger:1,-1")
MEMBERSHIP = ("hex:ef070707" + "00000000", "hex:ef070707" + "0a000001", "hex:0a000001" + "00000000")
SOURCES = tuple(one + "0a000063" for one in MEMBERSHIP[:2])
GROUP_OF_V6 = ("hex:ff020000000000000000000000000077" + "00000000", "hex:ff020000000000000000000000000077" + "ff000000",
               "hex:fd770000000000000000000000000077" + "00000000")


def _options(level, values, *names, readable=True):
    return [Option(level, name, values, readable) for name in names]


COMMON = (
    _options("SOL_SOCKET", FLAG, "SO_REUSEADDR", "SO_REUSEPORT", "SO_KEEPALIVE", "SO_BROADCAST", "SO_OOBINLINE",
             "SO_DONTROUTE", "SO_TIMESTAMP", "SO_TIMESTAMPNS", "SO_NO_CHECK", "SO_RXQ_OVFL", "SO_ZEROCOPY",
             "SO_BSDCOMPAT", "SO_DEBUG", "SO_SELECT_ERR_QUEUE", "SO_PASSCRED")
    + _options("SOL_SOCKET", BYTES, "SO_SNDBUF", "SO_RCVBUF")
    + _options("SOL_SOCKET", NUMBER, "SO_RCVLOWAT", "SO_PRIORITY", "SO_PEEK_OFF", "SO_BUSY_POLL", "SO_MARK",
               "SO_SNDLOWAT", "SO_UNKNOWN", "SO_BUF_LOCK")
    + _options("SOL_SOCKET", TIME, "SO_RCVTIMEO", "SO_SNDTIMEO")
    + _options("SOL_SOCKET", LINGER, "SO_LINGER")
    + _options("SOL_SOCKET", FLAG, "SO_ERROR", "SO_TYPE", "SO_DOMAIN", "SO_PROTOCOL", "SO_ACCEPTCONN")
    + _options("SOL_SOCKET", ("text:up0", "text:lo", "text:none", "text:"), "SO_BINDTODEVICE")
    + _options("IPPROTO_IP", FLAG, "IP_PKTINFO", "IP_RECVTTL", "IP_RECVTOS", "IP_RECVERR", "IP_FREEBIND",
               "IP_BIND_ADDRESS_NO_PORT", "IP_MULTICAST_ALL", "IP_RECVORIGDSTADDR", "IP_MULTICAST_LOOP",
               "IP_RETOPTS", "IP_RECVFRAGSIZE", "IP_TRANSPARENT", "IP_NODEFRAG", "IP_HDRINCL", "IP_RECVOPTS",
               "IP_PASSSEC", "IP_RECVERR_RFC4884")
    + _options("IPPROTO_IP", BYTE, "IP_TTL", "IP_TOS", "IP_MULTICAST_TTL", "IP_MINTTL", "IP_MTU_DISCOVER",
               "IP_UNKNOWN")
    + _options("IPPROTO_IP", FLAG, "IP_MTU")
    + _options("IPPROTO_IP", MEMBERSHIP, "IP_ADD_MEMBERSHIP", "IP_DROP_MEMBERSHIP")
    + _options("IPPROTO_IP", SOURCES, "IP_ADD_SOURCE_MEMBERSHIP", "IP_DROP_SOURCE_MEMBERSHIP", "IP_BLOCK_SOURCE",
               "IP_UNBLOCK_SOURCE")
    + _options("IPPROTO_IP", ("hex:00000000", "hex:0a000001"), "IP_MULTICAST_IF")
    + _options("SOL_SOCKET", FLAG, "SO_PASSSEC", "SO_LOCK_FILTER", "SO_TXREHASH")
    # Of software, for what is received.
    + _options("SOL_SOCKET", ("int:0", "int:24", "int:24", "int:16", "int:8"), "SO_TIMESTAMPING")
)
TCP = (
    _options("IPPROTO_TCP", FLAG, "TCP_NODELAY", "TCP_CORK", "TCP_QUICKACK", "TCP_THIN_LINEAR_TIMEOUTS",
             "TCP_THIN_DUPACK", "TCP_INQ", "TCP_SAVE_SYN", "TCP_FASTOPEN_CONNECT", "TCP_FASTOPEN_NO_COOKIE")
    + _options("IPPROTO_TCP", NUMBER, "TCP_MAXSEG", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_SYNCNT",
               "TCP_LINGER2", "TCP_DEFER_ACCEPT", "TCP_WINDOW_CLAMP", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT",
               "TCP_FASTOPEN", "TCP_UNKNOWN", "TCP_TX_DELAY")
    + _options("IPPROTO_TCP", ("text:reno", "text:cubic", "text:none"), "TCP_CONGESTION")
    + _options("IPPROTO_TCP", FLAG, "TCP_INFO", readable=False)
)
UDP = (
    _options("IPPROTO_UDP", FLAG, "UDP_CORK", "UDP_GRO", "UDP_NO_CHECK6_TX", "UDP_UNKNOWN")
    + _options("IPPROTO_UDP", ("int:0", "int:100", "int:1400", "int:65536", "int:-1"), "UDP_SEGMENT")
)
# Of AF_INET6 alone.
V6 = (
    _options("IPPROTO_IPV6", FLAG, "IPV6_V6ONLY", "IPV6_RECVPKTINFO", "IPV6_RECVHOPLIMIT", "IPV6_RECVTCLASS",
             "IPV6_RECVERR", "IPV6_RECVHOPOPTS", "IPV6_RECVRTHDR", "IPV6_RECVDSTOPTS", "IPV6_RECVPATHMTU",
             "IPV6_MULTICAST_LOOP", "IPV6_MULTICAST_ALL", "IPV6_DONTFRAG", "IPV6_AUTOFLOWLABEL", "IPV6_FREEBIND",
             "IPV6_RECVFRAGSIZE", "IPV6_RECVERR_RFC4884", "IPV6_RECVORIGDSTADDR", "IPV6_FLOWINFO", "IPV6_FLOWINFO_SEND",
             "IPV6_ROUTER_ALERT", "IPV6_HDRINCL")
    + _options("IPPROTO_IPV6", BYTE, "IPV6_UNICAST_HOPS", "IPV6_MULTICAST_HOPS", "IPV6_TCLASS", "IPV6_MTU_DISCOVER",
               "IPV6_MINHOPCOUNT", "IPV6_ADDR_PREFERENCES", "IPV6_UNKNOWN")
    + _options("IPPROTO_IPV6", ("int:0", "int:1280", "int:1400", "int:65536", "int:-1"), "IPV6_MTU")
    + _options("IPPROTO_IPV6", ("int:0", "int:-1", "int:9999"), "IPV6_MULTICAST_IF", "IPV6_UNICAST_IF")
    + _options("IPPROTO_IPV6", GROUP_OF_V6, "IPV6_JOIN_GROUP", "IPV6_LEAVE_GROUP")
)
