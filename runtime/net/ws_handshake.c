/* The HTTP half of a WebSocket, RFC 6455 §4. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <openssl/sha.h>

#include "../base/base64.h"
#include "../base/crypto.h"
#include "../base/err.h"
#include "ws_handshake.h"

size_t cxb_ws_find_header(const char *head, size_t len, const char *name, const char **value) {
  size_t name_len = strlen(name);
  const char *end = head + len, *line = memchr(head, '\n', len);
  while (line && ++line < end) {
    const char *next = memchr(line, '\n', (size_t)(end - line));
    const char *stop = next ? next : end;
    if ((size_t)(stop - line) > name_len && line[name_len] == ':' &&
        strncasecmp(line, name, name_len) == 0) {
      const char *v = line + name_len + 1;
      while (v < stop && (*v == ' ' || *v == '\t'))
        v++;
      while (stop > v && (stop[-1] == '\r' || stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
      *value = v;
      return (size_t)(stop - v);
    }
    line = next;
  }
  return 0;
}

bool cxb_ws_list_has(const char *list, size_t len, const char *word) {
  size_t word_len = strlen(word), i = 0;
  while (i < len) {
    while (i < len && (list[i] == ' ' || list[i] == ','))
      i++;
    size_t from = i;
    while (i < len && list[i] != ',')
      i++;
    size_t to = i;
    while (to > from && list[to - 1] == ' ')
      to--;
    if (to - from == word_len && strncasecmp(list + from, word, word_len) == 0)
      return true;
  }
  return false;
}

static void accept_of_key(const char *key, char out[CXB_WS_ACCEPT_LEN]) {
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  uint8_t both[24 + sizeof guid - 1], digest[SHA_DIGEST_LENGTH];
  memcpy(both, key, 24);
  memcpy(both + 24, guid, sizeof guid - 1);
  SHA1(both, sizeof both, digest);
  out[cxb_base64_encode(out, digest, sizeof digest)] = 0;
}

/* The first of ours that the client offered; "" when there is none. */
static void choose(const char *ours, const char *offered, size_t offered_len, char out[64]) {
  out[0] = '\0';
  for (size_t n; ours && *ours && !out[0]; ours += n + (ours[n] == ',')) {
    n = strcspn(ours, ",");
    if (n >= 64)
      continue;
    memcpy(out, ours, n);
    out[n] = '\0';
    if (!cxb_ws_list_has(offered, offered_len, out))
      out[0] = '\0';
  }
}

size_t cxb_ws_answer(const char *head, size_t len, const char *protocols, char *out, size_t size) {
  const char *key, *version, *offered;
  size_t key_len = cxb_ws_find_header(head, len, "Sec-WebSocket-Key", &key);
  size_t version_len = cxb_ws_find_header(head, len, "Sec-WebSocket-Version", &version);
  if (key_len != CXB_WS_KEY_LEN - 1 || version_len != 2 || memcmp(version, "13", 2) != 0)
    return 0;
  char accept[CXB_WS_ACCEPT_LEN];
  accept_of_key(key, accept);
  size_t offered_len = cxb_ws_find_header(head, len, "Sec-WebSocket-Protocol", &offered);
  char protocol[64];
  choose(protocols, offered, offered_len, protocol);
  int n = snprintf(out, size,
                   "HTTP/1.1 101 Switching Protocols\r\n"
                   "Upgrade: websocket\r\n"
                   "Connection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n"
                   "%s%s%s\r\n",
                   accept, *protocol ? "Sec-WebSocket-Protocol: " : "", protocol,
                   *protocol ? "\r\n" : "");
  return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

int cxb_ws_request(cxb_buf *out, const cxb_ws_url *url, const char *headers, const char *protocol,
                   char key[CXB_WS_KEY_LEN]) {
  uint8_t random[16];
  cxb_random(random, sizeof random);
  key[cxb_base64_encode(key, random, sizeof random)] = 0;
  return cxb_buf_printf(out,
                        "GET %s HTTP/1.1\r\n"
                        "Host: %s\r\n"
                        "Upgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Version: 13\r\n"
                        "%s%s%s%s\r\n",
                        url->path, url->authority, key, protocol ? "Sec-WebSocket-Protocol: " : "",
                        protocol ? protocol : "", protocol ? "\r\n" : "", headers ? headers : "");
}

int cxb_ws_check_answer(const char *head, size_t len, const char *key, const char *protocol) {
  const char *value;
  if (len < 12 || memcmp(head, "HTTP/1.", 7) != 0 || head[8] != ' ')
    return CXB_EPROTO;
  int status = 0;
  for (int i = 9; i < 12; i++) {
    if (head[i] < '0' || head[i] > '9')
      return CXB_EPROTO;
    status = status * 10 + head[i] - '0';
  }
  if (status != 101)
    return status >= 200 ? status : CXB_EPROTO;
  char accept[CXB_WS_ACCEPT_LEN];
  accept_of_key(key, accept);
  size_t n = cxb_ws_find_header(head, len, "Upgrade", &value);
  if (!cxb_ws_list_has(n ? value : "", n, "websocket"))
    return CXB_EPROTO;
  n = cxb_ws_find_header(head, len, "Sec-WebSocket-Accept", &value);
  if (n != CXB_WS_ACCEPT_LEN - 1 || memcmp(value, accept, n) != 0)
    return CXB_EPROTO;
  /* We offer no extension, so none can have been accepted; nor a protocol we did not name. */
  if (cxb_ws_find_header(head, len, "Sec-WebSocket-Extensions", &value))
    return CXB_EPROTO;
  n = cxb_ws_find_header(head, len, "Sec-WebSocket-Protocol", &value);
  char chosen[64];
  if (n >= sizeof chosen)
    return CXB_EPROTO;
  snprintf(chosen, sizeof chosen, "%.*s", (int)n, n ? value : "");
  if (n && !(protocol && cxb_ws_list_has(protocol, strlen(protocol), chosen)))
    return CXB_EPROTO;
  return 101;
}
