/* Addresses of TCP listeners. */
#include "tcp_bind.h"

#include <stdlib.h>
#include <string.h>

int cxb_tcp_bind(uv_tcp_t *tcp, const char *text) {
  char host[64];
  const char *colon = strrchr(text, ':');
  size_t n = colon ? (size_t)(colon - text) : 0;
  if (!colon || n >= sizeof host)
    return UV_EINVAL;
  memcpy(host, text, n);
  host[n] = '\0';
  char *end;
  long port = strtol(colon + 1, &end, 10);
  if (end == colon + 1 || *end || port < 0 || port > 65535)
    return UV_EINVAL;
  struct sockaddr_storage ss;
  int rc = host[0] == '[' && n > 2
               ? (host[n - 1] = '\0', uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)&ss))
               : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&ss);
  return rc ? rc : uv_tcp_bind(tcp, (struct sockaddr *)&ss, 0);
}
