/* Control sockets: one JSON object a line in, one out. {"verb":"status"}, "reload", "drain",
 * "undrain" are built in; other verbs are functions of the service's `control` table. */
#pragma once
#include <stddef.h>

/* addr "unix:/path". 0 or CXB_E* with the cause in `why`. */
int cxb_control_listen(const char *addr, int mode, char *why, size_t why_len);
void cxb_control_close(void);
