"""constants.py - names of <sys/socket.h> and its kin, and their numbers on x86-64 Linux"""

import errno
import fcntl
import select
import signal
import socket

# What Python's modules do not name.
_MORE = {
    "AF_UNSPEC": 0, "SOL_SOCKET": 1, "SOL_IP": 0, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41,
    "MSG_PROBE": 0x10, "MSG_FIN": 0x200, "MSG_SYN": 0x400, "MSG_RST": 0x1000, "MSG_WAITFORONE": 0x10000,
    "MSG_BATCH": 0x40000, "MSG_ZEROCOPY": 0x4000000, "MSG_FASTOPEN": 0x20000000, "MSG_UNKNOWN": 0x8000000,
    "SO_PEEK_OFF": 42, "SO_BUSY_POLL": 46, "SO_SNDBUFFORCE": 32, "SO_RCVBUFFORCE": 33, "SO_RXQ_OVFL": 40,
    "SO_WIFI_STATUS": 41, "SO_NOFCS": 43, "SO_LOCK_FILTER": 44, "SO_SELECT_ERR_QUEUE": 45,
    "SO_MAX_PACING_RATE": 47, "SO_ZEROCOPY": 60, "SO_TXTIME": 61, "SO_BINDTOIFINDEX": 62,
    "SO_TIMESTAMP": 29, "SO_TIMESTAMPNS": 35, "SO_TIMESTAMPING": 37, "SO_PRIORITY": 12, "SO_NO_CHECK": 11,
    "SO_PASSCRED": 16, "SO_PEERCRED": 17, "SO_RCVTIMEO": 20, "SO_SNDTIMEO": 21, "SO_RESERVE_MEM": 73,
    "SO_PEERNAME": 28, "IPV6_ADDRFORM": 1, "IPV6_PATHMTU": 61, "SO_BUF_LOCK": 72, "SO_BSDCOMPAT": 14, "SO_UNKNOWN": 250,
    "IP_PKTINFO": 8, "IP_RECVERR": 11, "IP_RECVTTL": 12, "IP_RECVTOS": 13, "IP_MTU": 14,
    "IP_MTU_DISCOVER": 10, "IP_FREEBIND": 15, "IP_TRANSPARENT": 19, "IP_MINTTL": 21,
    "IP_BIND_ADDRESS_NO_PORT": 24, "IP_MULTICAST_ALL": 49, "IP_UNICAST_IF": 50, "IP_LOCAL_PORT_RANGE": 51,
    "IP_RECVORIGDSTADDR": 20, "IP_CHECKSUM": 23, "IP_NODEFRAG": 22, "IP_ROUTER_ALERT": 5,
    "IP_RECVFRAGSIZE": 25, "IP_UNKNOWN": 251,
    "TCP_USER_TIMEOUT": 18, "TCP_FASTOPEN": 23, "TCP_TIMESTAMP": 24, "TCP_NOTSENT_LOWAT": 25,
    "TCP_SAVE_SYN": 27, "TCP_FASTOPEN_CONNECT": 30, "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_INQ": 36,
    "TCP_TX_DELAY": 37, "TCP_THIN_LINEAR_TIMEOUTS": 16, "TCP_THIN_DUPACK": 17, "TCP_ZEROCOPY_RECEIVE": 35,
    "TCP_UNKNOWN": 252, "UDP_CORK": 1, "UDP_ENCAP": 100, "UDP_NO_CHECK6_TX": 101, "UDP_SEGMENT": 103,
    "UDP_GRO": 104, "UDP_UNKNOWN": 253,
    "FIONREAD": 0x541b, "FIONBIO": 0x5421, "FIOASYNC": 0x5452, "TIOCOUTQ": 0x5411, "SIOCATMARK": 0x8905,
    "SIOCOUTQNSD": 0x894b, "FIOGETOWN": 0x8903, "SIOCGPGRP": 0x8904, "TCGETS": 0x5401, "IOCTL_UNKNOWN": 0x89ff,
    "SHUT_RD": 0, "SHUT_WR": 1, "SHUT_RDWR": 2, "O_NONBLOCK": 0o4000, "O_CLOEXEC": 0o2000000,
    "O_RDWR": 2, "O_ASYNC": 0o20000, "O_APPEND": 0o2000, "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2,
    "EPOLL_CTL_MOD": 3, "RWF_HIPRI": 1, "RWF_DSYNC": 2, "RWF_SYNC": 4, "RWF_NOWAIT": 8, "RWF_APPEND": 16,
    "S_IFSOCK": 0o140000, "S_IFREG": 0o100000, "CLOSE_RANGE_CLOEXEC": 4, "SO_PASSSEC": 34, "SO_PEERSEC": 31,
    "SO_LOCK_FILTER": 44, "SO_TXREHASH": 74, "IP_RECVOPTS": 6, "IP_PASSSEC": 18, "IP_MULTICAST_IF": 32, "IP_BLOCK_SOURCE": 38,
    "IP_UNBLOCK_SOURCE": 37, "IP_ADD_SOURCE_MEMBERSHIP": 39, "IP_DROP_SOURCE_MEMBERSHIP": 40,
    "IP_RECVERR_RFC4884": 26, "IPV6_MTU": 24, "IPV6_MTU_DISCOVER": 23, "IPV6_RECVERR": 25, "IPV6_MULTICAST_ALL": 29,
    "IPV6_ROUTER_ALERT": 22, "IPV6_FLOWINFO": 11, "IPV6_FLOWINFO_SEND": 33, "IPV6_RECVERR_RFC4884": 31,
    "IPV6_UNICAST_IF": 76, "IPV6_RECVFRAGSIZE": 77, "IPV6_FREEBIND": 78, "IPV6_AUTOFLOWLABEL": 70,
    "IPV6_MINHOPCOUNT": 73, "IPV6_RECVORIGDSTADDR": 74, "IPV6_TRANSPARENT": 75, "IPV6_ADDR_PREFERENCES": 72,
    "IPV6_HDRINCL": 36, "IPV6_UNKNOWN": 254, "SIOCSPGRP": 0x8902, "FIOSETOWN": 0x8901, "FIOCLEX": 0x5451,
    "FIONCLEX": 0x5450, "F_SETSIG": 10, "F_SETOWN": 8,
    "SPLICE_F_MOVE": 1, "SPLICE_F_NONBLOCK": 2, "SPLICE_F_MORE": 4,
}


def _collect():
    names = {}
    for module, prefixes in (
            (socket, ("AF_", "SOCK_", "IPPROTO_", "SO_", "MSG_", "TCP_", "IP_", "IPV6_")),
            (select, ("POLL", "EPOLL")), (signal, ("SIG",)), (fcntl, ("F_", "FD_"))):
        for name in dir(module):
            if name.startswith(prefixes) and isinstance(getattr(module, name), int):
                names[name] = int(getattr(module, name))
    return {**names, **_MORE}


CONSTANTS = _collect()
ERRNO = set(errno.errorcode.values())

# In the order of their bits, for what is shown.
POLL_NAMES = [(1, "IN"), (2, "PRI"), (4, "OUT"), (8, "ERR"), (0x10, "HUP"), (0x20, "NVAL"), (0x40, "RDNORM"),
              (0x80, "RDBAND"), (0x100, "WRNORM"), (0x200, "WRBAND"), (0x400, "MSG"), (0x2000, "RDHUP")]


def poll_text(number):
    """IN|OUT; 0 for nothing."""
    names = [name for bit, name in POLL_NAMES if number & bit]
    left = number & ~sum(bit for bit, _ in POLL_NAMES)
    return "|".join(names + ([hex(left)] if left else [])) or "0"


def value_of(word):
    """A number, or names with | between them; None for anything else."""
    total = 0
    for part in word.split("|"):
        if part in CONSTANTS:
            total |= CONSTANTS[part]
        else:
            try:
                total |= int(part, 0)
            except ValueError:
                return None
    return total
