/* cc.h - lwIP's words for this compiler and C library */
#ifndef UNDERPASS_LWIP_CC_H
#define UNDERPASS_LWIP_CC_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

#ifdef __cplusplus
extern "C" {
#endif
uint16_t underpass_chksum(const void* data, int bytes);
void underpass_lwip_assert(const char* message);
void* underpass_allocate(size_t bytes);
void underpass_free(void* block);
#ifdef __cplusplus
}
#endif

/* lwIP's own are calls. */
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)

#define LWIP_ERRNO_INCLUDE <errno.h>
#define LWIP_TIMEVAL_PRIVATE 0
/* Our bug or lwIP's: stop where it shows, with its text. */
#define LWIP_PLATFORM_ASSERT(message) underpass_lwip_assert(message)
#define LWIP_PLATFORM_DIAG(arguments)
/* Only for port numbers and the like, which the kernel and RFC 6528 choose here. */
#define LWIP_RAND() ((u32_t)random())

#endif
