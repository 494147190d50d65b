/* Addresses of TCP listeners. */
#pragma once
#include <uv.h>

/* Binds the initialised `tcp` to "HOST:PORT" (an IPv4 address, or IPv6 in brackets; port 0: one the
 * system chooses). 0 or a negative errno; `tcp` is to be closed either way. */
int cxb_tcp_bind(uv_tcp_t *tcp, const char *text);
