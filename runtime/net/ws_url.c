/* The parts of a WebSocket address. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "ws_url.h"

static int parse_unix(const char *rest, cxb_ws_url *out) {
  const char *colon = strrchr(rest, ':');
  size_t len = colon ? (size_t)(colon - rest) : strlen(rest);
  if (len == 0 || len > 107) /* sun_path */
    return CXB_EINVAL;
  memcpy(out->host, rest, len);
  out->host[len] = 0;
  strcpy(out->authority, "localhost");
  out->is_unix = true;
  out->path = colon && colon[1] == '/' ? colon + 1 : "/";
  return colon && colon[1] && colon[1] != '/' ? CXB_EINVAL : 0;
}

/* Control characters and blanks would let an address smuggle headers into the request. */
static bool plain(const char *s) {
  for (; *s; s++)
    if ((unsigned char)*s <= ' ' || *s == 0x7F)
      return false;
  return true;
}

int cxb_ws_url_parse(const char *url, cxb_ws_url *out) {
  cxb_ws_url u = {0};
  if (!plain(url))
    return CXB_EINVAL;
  if (strncmp(url, "ws+unix:", 8) == 0) {
    int err = parse_unix(url + 8, &u);
    if (!err)
      *out = u;
    return err;
  }
  u.tls = strncmp(url, "wss://", 6) == 0;
  if (!u.tls && strncmp(url, "ws://", 5) != 0)
    return CXB_EINVAL;
  const char *host = url + (u.tls ? 6 : 5);
  size_t all = strcspn(host, "/?#");
  bool brackets = *host == '[';
  const char *bracket = brackets ? memchr(host, ']', all) : NULL;
  if ((brackets && !bracket) || memchr(host, '@', all))
    return CXB_EINVAL;
  const char *colon = bracket ? (bracket[1] == ':' ? bracket + 1 : NULL) : memchr(host, ':', all);
  size_t len = bracket ? (size_t)(bracket - host - 1) : (colon ? (size_t)(colon - host) : all);
  if (len == 0 || len >= sizeof u.host)
    return CXB_EINVAL;
  memcpy(u.host, host + (brackets ? 1 : 0), len);
  u.port = u.tls ? 443 : 80;
  if (colon) {
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (port < 1 || port > 65535 || end != host + all)
      return CXB_EINVAL;
    u.port = (int)port;
  }
  snprintf(u.authority, sizeof u.authority, "%.*s", (int)all, host);
  u.path = host[all] == '/' ? host + all : "/";
  *out = u;
  return 0;
}
