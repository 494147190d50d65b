/* Where a URL that a customer set may lead: to public servers only, but for named exceptions. The
 * form is judged before a request, the address when it is dialled, so that a name which changes its
 * answer wins nothing.
 *
 * Exceptions are hosts and CIDRs, separated by commas or blanks: "crm.internal, 10.1.0.0/16". NULL
 * or "": none. What is no CIDR is a host name; names are compared without regard to case. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { CXB_GUARD_HOST = 256 };

/* http or https, no user name or password, at most 2,048 bytes, port 80, 443 or from 1024 up: 0 and
 * the host's name in `host`. Else CXB_EDENIED and a constant sentence in *why. */
int cxb_guard_url(const char *url, char host[CXB_GUARD_HOST], const char **why);

/* The host is named among the exceptions: its address does not matter. */
bool cxb_guard_host(const char *host, const char *exceptions);

/* Public (not loopback, private, link-local, shared, multicast, reserved, mapped or an address of
 * this machine), or within an exception. Families other than IPv4 and IPv6 never are. */
bool cxb_guard_address(const struct sockaddr *address, const char *exceptions);
