/* redis://[user][:password@]host[:port][/db] and the forms of a Unix socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "redis_internal.h"

static int refuse(char *why, size_t len, const char *rule) {
  snprintf(why, len, "%s", rule);
  return CXB_EINVAL;
}

/* Copies `n` bytes with %XX decoded; false: they do not fit, or are not well formed. */
static bool decode(const char *from, size_t n, char *out, size_t size) {
  size_t used = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned c = (unsigned char)from[i];
    if (c == '%') {
      if (i + 2 >= n || sscanf(from + i + 1, "%2x", &c) != 1 || c == 0)
        return false;
      i += 2;
    }
    if (used + 1 >= size)
      return false;
    out[used++] = (char)c;
  }
  out[used] = '\0';
  return true;
}

static bool read_db(const char *text, int *db) {
  char *end;
  long n = strtol(text, &end, 10);
  if (*end || end == text || n < 0 || n > 9999)
    return false;
  *db = (int)n;
  return true;
}

/* The part before '@', when there is one; moves *at behind it. */
static bool read_login(const char **at, const char *end, cxb_redis_address *out) {
  const char *stop = NULL;
  for (const char *p = *at; p < end; p++)
    if (*p == '@')
      stop = p;
  if (!stop)
    return true;
  const char *colon = memchr(*at, ':', (size_t)(stop - *at));
  const char *user_end = colon ? colon : stop;
  if (!decode(*at, (size_t)(user_end - *at), out->user, sizeof out->user))
    return false;
  if (colon && !decode(colon + 1, (size_t)(stop - colon - 1), out->password, sizeof out->password))
    return false;
  *at = stop + 1;
  return true;
}

static int parse_unix(const char *at, cxb_redis_address *out, char *why, size_t why_len) {
  const char *end = strchr(at, '?');
  if (end && (strncmp(end, "?db=", 4) != 0 || !read_db(end + 4, &out->db)))
    return refuse(why, why_len, "after the socket's path only ?db=N may follow");
  if (!end)
    end = at + strlen(at);
  if (!read_login(&at, end, out))
    return refuse(why, why_len, "user and password must be short and %-encoded");
  if (*at != '/' || !decode(at, (size_t)(end - at), out->path, sizeof out->path))
    return refuse(why, why_len, "expected the absolute path of a socket, at most 107 bytes");
  return 0;
}

static int parse_tcp(const char *at, cxb_redis_address *out, char *why, size_t why_len) {
  const char *end = at + strcspn(at, "/?"), *close;
  if (*end == '?' || (*end == '/' && end[1] && !read_db(end + 1, &out->db)))
    return refuse(why, why_len, "after host and port only /db may follow, a number");
  if (!read_login(&at, end, out))
    return refuse(why, why_len, "user and password must be short and %-encoded");
  const char *port = NULL;
  if (*at == '[' && (close = memchr(at, ']', (size_t)(end - at)))) {
    if (!decode(at + 1, (size_t)(close - at - 1), out->host, sizeof out->host))
      return refuse(why, why_len, "the host is too long");
    port = close + 1;
  } else {
    port = memchr(at, ':', (size_t)(end - at));
    if (!port)
      port = end;
    if (!decode(at, (size_t)(port - at), out->host, sizeof out->host))
      return refuse(why, why_len, "the host is too long");
  }
  long n = 6379;
  char *stop;
  if (port < end) {
    n = strtol(port + 1, &stop, 10);
    if (*port != ':' || stop != end || n < 1 || n > 65535)
      return refuse(why, why_len, "the port must be a number from 1 to 65535");
  }
  if (!out->host[0])
    return refuse(why, why_len, "expected redis://host:port");
  snprintf(out->port, sizeof out->port, "%ld", n);
  return 0;
}

int cxb_redis_parse_url(const char *url, cxb_redis_address *out, char *why, size_t why_len) {
  cxb_redis_address address = {0};
  int err;
  if (strncmp(url, "redis://", 8) == 0)
    err = parse_tcp(url + 8, &address, why, why_len);
  else if (strncmp(url, "redis+unix://", 13) == 0)
    err = parse_unix(url + 13, &address, why, why_len);
  else if (strncmp(url, "unix:", 5) == 0)
    err = parse_unix(url + 5, &address, why, why_len);
  else
    err = refuse(why, why_len, "expected redis://host:port or redis+unix:///path");
  if (err == 0)
    *out = address;
  return err;
}
