/* The HTTP half of a WebSocket, RFC 6455 §4: text in, text out; knows no socket. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "../base/buf.h"
#include "ws_url.h"

#define CXB_WS_KEY_LEN    25 /* base64 of 16 bytes and a NUL */
#define CXB_WS_ACCEPT_LEN 29 /* base64 of a SHA-1 and a NUL */

/* The value of header `name` in a head (first line, header lines): its length, 0 when absent. */
size_t cxb_ws_find_header(const char *head, size_t len, const char *name, const char **value);
/* True when the comma-separated `list` names `word`. */
bool cxb_ws_list_has(const char *list, size_t len, const char *word);

/* Builds the 101 that answers the request `head`; its length, 0 when the head is no upgrade. Of
 * `protocols` (by commas, may be NULL) the first that was offered is echoed. */
size_t cxb_ws_answer(const char *head, size_t len, const char *protocols, char *out, size_t size);

/* Makes a key and adds the request to `out`. `headers`: "Name: value\r\n" lines or NULL. */
int cxb_ws_request(cxb_buf *out, const cxb_ws_url *url, const char *headers, const char *protocol,
                   char key[CXB_WS_KEY_LEN]);
/* Judges the answer's head: 101 when it completes the handshake, another HTTP status when it has
 * one, else CXB_EPROTO. */
int cxb_ws_check_answer(const char *head, size_t len, const char *key, const char *protocol);
