/* hooks.h - what lwIP calls back */
#ifndef UNDERPASS_LWIP_HOOKS_H
#define UNDERPASS_LWIP_HOOKS_H

#include "lwip/ip_addr.h"

#ifdef __cplusplus
extern "C" {
#endif
u32_t underpass_tcp_isn(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                        u16_t remote_port);
/* Every segment of a connection, before its checksum is made. Adds no options. */
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;
u32_t* underpass_segment_out(struct pbuf* segment, struct tcp_hdr* header,
                             const struct tcp_pcb* pcb, u32_t* options);
#ifdef __cplusplus
}
#endif

#endif
