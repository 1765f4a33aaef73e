// libc_names.h - the declarations of every name in calls.def
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

// glibc declares these only where they are wanted: in programs built with -D_FORTIFY_SOURCE.
extern "C" {
ssize_t __read_chk(int fd, void* data, size_t size, size_t room);
ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags, sockaddr* address,
                       socklen_t* length);
int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t room);
int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask,
                size_t room);
int __dprintf_chk(int fd, int flag, const char* format, ...);
int __vdprintf_chk(int fd, int flag, const char* format, va_list arguments);
[[noreturn]] void __longjmp_chk(__jmp_buf_tag* environment, int value);
int __sigaction(int number, const struct sigaction* action, struct sigaction* old);
sighandler_t bsd_signal(int number, sighandler_t handler);
}

// The definitions in calls_*.cpp are what the library shows; all else is hidden.
#define UP_EXPORT extern "C" __attribute__((visibility("default")))
