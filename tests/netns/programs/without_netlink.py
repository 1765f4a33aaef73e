"""without_netlink.py PROGRAM ARGS... - runs it with socket(AF_NETLINK) refused by seccomp(2)"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7fff0000, 0x00050000
SYS_SOCKET, AF_NETLINK = 41, 16
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06


def statement(code, value, when_true=0, when_false=0):
    return struct.pack("HBBI", code, when_true, when_false, value)


def main():
    program = b"".join((
        statement(LOAD, 0),  # seccomp_data.nr
        statement(JUMP_EQUAL, SYS_SOCKET, 0, 3),
        statement(LOAD, 16),  # args[0]
        statement(JUMP_EQUAL, AF_NETLINK, 0, 1),
        statement(RETURN, SECCOMP_RET_ERRNO | errno.EAFNOSUPPORT),
        statement(RETURN, SECCOMP_RET_ALLOW)))
    text = ctypes.create_string_buffer(program, len(program))
    prog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(prog)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[1], sys.argv[1:])


main()
