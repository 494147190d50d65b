/* WebSocket framing, RFC 6455 §5: pure functions and a push parser; knows no socket. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"

enum {
  CXB_WS_CONT = 0,
  CXB_WS_TEXT = 1,
  CXB_WS_BINARY = 2,
  CXB_WS_CLOSE = 8,
  CXB_WS_PING = 9,
  CXB_WS_PONG = 10
};

#define CXB_WS_HEADER_MAX  14 /* bytes of the longest header, mask included */
#define CXB_WS_CONTROL_MAX 125

/* Incremental UTF-8 check; zero-initialise. */
typedef struct cxb_utf8 {
  uint8_t need, low, high; /* continuation bytes still due; bounds of the next one */
} cxb_utf8;

/* False when `data` cannot be part of UTF-8 text (surrogates and overlong forms included). */
bool cxb_utf8_push(cxb_utf8 *u, const uint8_t *data, size_t len);
static inline bool cxb_utf8_complete(const cxb_utf8 *u) {
  return u->need == 0;
}

/* What a parser finds. A callback that answers true stops the parser for good. */
typedef struct cxb_ws_frame_handler {
  bool (*message)(void *arg, bool binary, const uint8_t *data, size_t len); /* whole, borrowed */
  bool (*control)(void *arg, int opcode, const uint8_t *data, size_t len);  /* ping, pong, close */
} cxb_ws_frame_handler;

/* Zero-initialise, then set the limits and which side sends: a client's frames must be masked, a
 * server's must not. */
typedef struct cxb_ws_parser {
  bool from_server;
  size_t max_text, max_binary;
  uint64_t left;   /* payload bytes of the frame still to come */
  cxb_buf message; /* what has arrived of a message that was not whole in one read */
  cxb_utf8 utf8;
  uint8_t head[CXB_WS_HEADER_MAX], head_len;
  uint8_t mask[4], mask_at;
  uint8_t opcode; /* of the frame */
  uint8_t kind;   /* of the message under way, 0: none */
  bool fin, in_payload, stopped;
  uint8_t control[CXB_WS_CONTROL_MAX], control_len;
} cxb_ws_parser;

/* Takes received bytes; `data` is unmasked in place. 0, or the close code the stream has earned
 * (1002, 1007, 1009); nothing more may be pushed then. Answers 0 at once when stopped. */
int cxb_ws_parser_push(cxb_ws_parser *p, uint8_t *data, size_t len, const cxb_ws_frame_handler *h,
                       void *arg);
void cxb_ws_parser_free(cxb_ws_parser *p);

/* Header of a final frame; its length. `mask` NULL: not masked. */
size_t cxb_ws_frame_header(uint8_t out[CXB_WS_HEADER_MAX], int opcode, size_t payload,
                           const uint8_t mask[4]);
/* XORs with the mask, of which `at` bytes (mod 4) have been used; its own inverse. */
void cxb_ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], uint8_t at);
/* Code of a close frame's payload, 1005 when it has none, 0 when it is malformed. The reason, NUL
 * terminated, goes to `reason`. */
int cxb_ws_close_code(const uint8_t *data, size_t len, char reason[CXB_WS_CONTROL_MAX]);
/* Payload of a close frame; its length. The reason is cut to fit at a character's border. */
size_t cxb_ws_close_payload(uint8_t out[CXB_WS_CONTROL_MAX], int code, const char *reason);
