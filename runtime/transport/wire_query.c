/* application/x-www-form-urlencoded, as much of it as addresses need. */
#include "wire_query.h"

#include <string.h>

enum { MAX_NAME = 64, MAX_VALUE = 1024 };

static int hex(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A NUL is no character of a value. */
static bool decode(const char *in, size_t len, char *out, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    int c = (unsigned char)in[i];
    if (c == '+') {
      c = ' ';
    } else if (c == '%') {
      if (len - i < 3 || hex(in[i + 1]) < 0 || hex(in[i + 2]) < 0)
        return false;
      c = hex(in[i + 1]) * 16 + hex(in[i + 2]);
      i += 2;
    }
    if (c == 0 || n + 1 >= size)
      return false;
    out[n++] = (char)c;
  }
  out[n] = '\0';
  return true;
}

/* The next "name=value" at *at, which moves on; false: no more. */
static bool next(const char **at, char name[MAX_NAME], const char **value, size_t *len) {
  while (**at) {
    const char *from = *at;
    size_t n = strcspn(from, "&");
    *at = from + n + (from[n] == '&');
    const char *equals = memchr(from, '=', n);
    size_t name_len = equals ? (size_t)(equals - from) : n;
    *value = equals ? equals + 1 : from + n;
    *len = (size_t)(from + n - *value);
    if (n && decode(from, name_len, name, MAX_NAME))
      return true;
  }
  return false;
}

bool cxb_wire_query(const char *query, const char *name, char *out, size_t size) {
  char given[MAX_NAME];
  const char *value;
  size_t len;
  while (next(&query, given, &value, &len))
    if (strcmp(given, name) == 0 && decode(value, len, out, size))
      return true;
  out[0] = '\0';
  return false;
}

json_t *cxb_wire_query_object(const char *query) {
  json_t *all = json_object();
  char name[MAX_NAME], text[MAX_VALUE];
  const char *value;
  size_t len;
  while (next(&query, name, &value, &len))
    if (strcmp(name, "token") != 0 && decode(value, len, text, sizeof text))
      json_object_set_new(all, name, json_string(text)); /* not UTF-8: left out */
  return all;
}
