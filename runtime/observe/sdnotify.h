/* The service manager's notification socket (systemd's sd_notify protocol). */
#pragma once

/* Sends e.g. "READY=1\nSTATUS=idle". 0, also when no manager listens; CXB_EIO: not taken. */
int cxb_sd_notify(const char *state);
/* Microseconds of the manager's watchdog for this process, 0 when there is none. */
unsigned long long cxb_sd_watchdog_us(void);
