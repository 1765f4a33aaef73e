/* overrides.h - what lwIP's headers define without asking lwipopts.h; included first by lwIP's own
 * files */
#ifndef UNDERPASS_LWIP_OVERRIDES_H
#define UNDERPASS_LWIP_OVERRIDES_H

#include "lwip/priv/tcp_priv.h"

#if LWIP_TCP
#undef TCP_FIN_WAIT_TIMEOUT
#define TCP_FIN_WAIT_TIMEOUT 60000 /* net.ipv4.tcp_fin_timeout */
#undef TCP_SYN_RCVD_TIMEOUT
#define TCP_SYN_RCVD_TIMEOUT 2000000000 /* never: prepare_retransmission() counts SYN-ACKs */
#endif

#endif
