/* lwipopts.h - lwIP's compile-time options, each with its reason */
#ifndef UNDERPASS_LWIPOPTS_H
#define UNDERPASS_LWIPOPTS_H

/* The raw API, driven by whoever holds the stack mutex. */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_TIMERS 0 /* stack.cpp calls the TCP timers itself */

/* Everything but TCP is the kernel's or our own. */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_TCP 1
#define LWIP_UDP 0
#define LWIP_RAW 0
#define LWIP_ICMP 0
#define LWIP_ICMP6 1 /* never reached; lwIP 2.1.3's ip6.c does not link without it */
#define LWIP_IGMP 0
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_DHCP 0
#define LWIP_DNS 0
#define LWIP_IPV6_SCOPES 0 /* one interface: link-local addresses are its own */
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define IP_REASSEMBLY 0     /* fragments are the kernel's */
#define IP_FRAG 0           /* TCP never sends more than the MTU */
#define LWIP_SINGLE_NETIF 0 /* tests run two stacks */
#define LWIP_NETIF_LOOPBACK 0
#define LWIP_HAVE_LOOPIF 0
#define LWIP_STATS 0
#define LWIP_DEBUG 0

/* Memory is the process's; sizes follow the load. */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define mem_clib_malloc underpass_allocate
#define mem_clib_free underpass_free
#define MEM_ALIGNMENT 16
#define PBUF_LINK_HLEN 16
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_NETIF_TX_SINGLE_PBUF 0
#define LWIP_PBUF_REF_T u16_t

/* TCP as Linux users know it. */
#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND \
  (1024 * 1024) /* a gigabit over 8 ms; a kernel peer's burst still fits in the fill ring */
#define TCP_SND_BUF (1024 * 1024) /* tcp_wmem lets Linux grow to 4 MiB */
/* A window update of its own when the window has doubled (__tcp_select_window() and
 * tcp_cleanup_rbuf() of Linux); lwIP would send one for every four segments that are read. */
#define TCP_WND_UPDATE_THRESHOLD \
  LWIP_MAX(2 * TCP_MSS, LWIP_MIN(TCP_WND / 4, pcb->rcv_ann_right_edge - pcb->rcv_nxt))
#define TCP_SND_QUEUELEN 16384 /* pbufs: many small writes of a TCP_NODELAY socket */
#define TCP_SNDLOWAT 32768     /* only netconn reads it, but init.c wants it to fit 16 bits */
#define TCP_SNDQUEUELOWAT (TCP_SND_QUEUELEN / 3)
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES                                            \
  0 /* the window limits the bytes, Stack::limit_out_of_order the rest \
     */
#define LWIP_TCP_TIMESTAMPS 1
#define LWIP_TCP_SACK_OUT 1
#define TCP_OVERSIZE TCP_MSS
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 0   /* ours: lwIP's has 8 bits */
#define SO_REUSE 0             /* the kernel decides who may bind */
#define TCP_TMR_INTERVAL 10    /* ms; lwIP's 250 ms is a slow delayed ACK and a slow RTO */
#define LWIP_TCP_RTO_TIME 1000 /* RFC 6298 2.1 */
#define TCP_MSL 30000UL        /* LAST_ACK waits 2 MSL, as Linux's TIME_WAIT: 60 s */
/* TCP_FIN_WAIT_TIMEOUT and TCP_SYN_RCVD_TIMEOUT: lwip_port/overrides.h */
/* Reached when Stack::prepare_retransmission() says so. */
#define TCP_MAXRTX 12 /* lwIP's table ends there */
#define TCP_SYNMAXRTX 7
#define TCP_TTL 64 /* net.ipv4.ip_default_ttl */
#define IP_DEFAULT_TTL 64
#define LWIP_HOOK_FILENAME "lwip_port/hooks.h"
/* The stack that called, whatever other netifs there are. */
#define LWIP_HOOK_IP4_ROUTE_SRC(source, destination) netif_default
#define LWIP_HOOK_IP6_ROUTE(source, destination) netif_default
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) \
  underpass_tcp_isn(local_ip, local_port, remote_ip, remote_port)
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, header, pcb, options) \
  underpass_segment_out(p, header, pcb, options)

/* Our demultiplexer has verified every checksum; on the way out software makes them. */
#define CHECKSUM_GEN_IP 1
#define CHECKSUM_GEN_TCP 1
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF 0
#define LWIP_CHKSUM underpass_chksum

#endif
