/* WebSocket framing, RFC 6455 §5. */
#include <string.h>

#include "../base/err.h"
#include "ws_frame.h"

/* ---- UTF-8 (Unicode 15, table 3-7) ---- */

static bool utf8_lead(cxb_utf8 *u, uint8_t c) {
  u->low = 0x80;
  u->high = 0xBF;
  if (c >= 0xC2 && c <= 0xDF) {
    u->need = 1;
  } else if (c >= 0xE0 && c <= 0xEF) {
    u->need = 2;
    if (c == 0xE0)
      u->low = 0xA0;
    if (c == 0xED)
      u->high = 0x9F;
  } else if (c >= 0xF0 && c <= 0xF4) {
    u->need = 3;
    if (c == 0xF0)
      u->low = 0x90;
    if (c == 0xF4)
      u->high = 0x8F;
  } else {
    return false;
  }
  return true;
}

bool cxb_utf8_push(cxb_utf8 *u, const uint8_t *data, size_t len) {
  size_t i = 0;
  while (i < len) {
    if (u->need == 0) {
      uint64_t eight;
      while (i + 8 <= len) {
        memcpy(&eight, data + i, 8);
        if (eight & 0x8080808080808080u)
          break;
        i += 8;
      }
      if (i == len)
        break;
      uint8_t c = data[i++];
      if (c >= 0x80 && !utf8_lead(u, c))
        return false;
    } else {
      uint8_t c = data[i++];
      if (c < u->low || c > u->high)
        return false;
      u->low = 0x80;
      u->high = 0xBF;
      u->need--;
    }
  }
  return true;
}

/* ---- parser ---- */

void cxb_ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], uint8_t at) {
  size_t i = 0;
  uint8_t turned[8];
  for (size_t k = 0; k < 8; k++)
    turned[k] = mask[(at + k) & 3];
  uint64_t wide, eight;
  memcpy(&wide, turned, 8);
  for (; i + 8 <= len; i += 8) {
    memcpy(&eight, data + i, 8);
    eight ^= wide;
    memcpy(data + i, &eight, 8);
  }
  for (; i < len; i++)
    data[i] ^= turned[i & 7];
}

static size_t header_length(const cxb_ws_parser *p) {
  if (p->head_len < 2)
    return 2;
  int len7 = p->head[1] & 0x7F;
  return (len7 == 127 ? 10 : len7 == 126 ? 4 : 2) + (p->from_server ? 0 : 4);
}

/* The first two bytes say enough to refuse most of what is wrong. */
static int check_start(const cxb_ws_parser *p) {
  int opcode = p->head[0] & 0x0F, len7 = p->head[1] & 0x7F;
  bool fin = p->head[0] & 0x80;
  bool masked = p->head[1] & 0x80;
  if ((p->head[0] & 0x70) || masked == p->from_server)
    return 1002; /* reserved bits; a client's frame that is not masked, a server's that is */
  switch (opcode) {
  case CXB_WS_CONT:
    return p->kind ? 0 : 1002;
  case CXB_WS_TEXT:
  case CXB_WS_BINARY:
    return p->kind ? 1002 : 0;
  case CXB_WS_CLOSE:
  case CXB_WS_PING:
  case CXB_WS_PONG:
    return fin && len7 <= CXB_WS_CONTROL_MAX ? 0 : 1002;
  default:
    return 1002;
  }
}

static int take_header(cxb_ws_parser *p) {
  int len7 = p->head[1] & 0x7F;
  size_t at = 2;
  p->left = (uint64_t)len7;
  if (len7 >= 126) {
    size_t n = len7 == 126 ? 2 : 8;
    for (p->left = 0; n > 0; n--)
      p->left = p->left << 8 | p->head[at++];
    if (p->left >> 63)
      return 1002;
  }
  if (!p->from_server)
    memcpy(p->mask, p->head + at, 4);
  p->mask_at = 0;
  p->opcode = p->head[0] & 0x0F;
  p->fin = p->head[0] & 0x80;
  p->head_len = 0;
  p->in_payload = true;
  if (p->opcode >= CXB_WS_CLOSE) {
    p->control_len = 0;
    return 0;
  }
  if (p->opcode != CXB_WS_CONT) {
    p->kind = p->opcode;
    p->utf8 = (cxb_utf8){0};
  }
  size_t max = p->kind == CXB_WS_TEXT ? p->max_text : p->max_binary;
  return p->left > max || p->message.len + p->left > max ? 1009 : 0;
}

static int end_of_data_frame(cxb_ws_parser *p, const uint8_t *data, size_t len,
                             const cxb_ws_frame_handler *h, void *arg) {
  if (!p->fin)
    return 0;
  bool binary = p->kind == CXB_WS_BINARY;
  if (!binary && !cxb_utf8_complete(&p->utf8))
    return 1007;
  p->kind = 0;
  p->stopped = h->message(arg, binary, data, len);
  if (p->message.cap > 16384)
    cxb_buf_free(&p->message);
  else
    cxb_buf_clear(&p->message);
  return 0;
}

/* `n` unmasked payload bytes of a text, binary or continuation frame. */
static int data_bytes(cxb_ws_parser *p, const uint8_t *data, size_t n,
                      const cxb_ws_frame_handler *h, void *arg) {
  if (p->kind == CXB_WS_TEXT && !cxb_utf8_push(&p->utf8, data, n))
    return 1007;
  bool whole = p->left == 0;
  if (whole && p->fin && p->message.len == 0)
    return end_of_data_frame(p, data, n, h, arg);
  if (cxb_buf_add(&p->message, data, n))
    return 1009;
  return whole ? end_of_data_frame(p, (const uint8_t *)p->message.data, p->message.len, h, arg) : 0;
}

static int payload(cxb_ws_parser *p, uint8_t *data, size_t n, const cxb_ws_frame_handler *h,
                   void *arg) {
  if (!p->from_server)
    cxb_ws_mask(data, n, p->mask, p->mask_at);
  p->mask_at = (p->mask_at + n) & 3;
  p->left -= n;
  int code = 0;
  if (p->opcode < CXB_WS_CLOSE) {
    code = data_bytes(p, data, n, h, arg);
  } else {
    memcpy(p->control + p->control_len, data, n);
    p->control_len = (uint8_t)(p->control_len + n);
    if (p->left == 0)
      p->stopped = h->control(arg, p->opcode, p->control, p->control_len);
  }
  if (p->left == 0)
    p->in_payload = false;
  return code;
}

int cxb_ws_parser_push(cxb_ws_parser *p, uint8_t *data, size_t len, const cxb_ws_frame_handler *h,
                       void *arg) {
  int code = 0;
  while (!p->stopped && !code && (len > 0 || (p->in_payload && p->left == 0))) {
    if (p->in_payload) {
      size_t n = p->left < len ? (size_t)p->left : len;
      code = payload(p, data, n, h, arg);
      data += n;
      len -= n;
      continue;
    }
    size_t want = header_length(p) - p->head_len;
    size_t n = want < len ? want : len;
    memcpy(p->head + p->head_len, data, n);
    p->head_len = (uint8_t)(p->head_len + n);
    data += n;
    len -= n;
    if (p->head_len >= 2)
      code = check_start(p);
    if (!code && p->head_len >= 2 && p->head_len == header_length(p))
      code = take_header(p);
  }
  if (code)
    p->stopped = true;
  return code;
}

void cxb_ws_parser_free(cxb_ws_parser *p) {
  cxb_buf_free(&p->message);
}

/* ---- building ---- */

size_t cxb_ws_frame_header(uint8_t out[CXB_WS_HEADER_MAX], int opcode, size_t len,
                           const uint8_t mask[4]) {
  size_t at = 2, n = len < 126 ? 0 : len < 65536 ? 2 : 8;
  out[0] = (uint8_t)(0x80 | opcode);
  out[1] = (uint8_t)((mask ? 0x80 : 0) | (n == 0 ? (uint8_t)len : n == 2 ? 126 : 127));
  for (size_t i = 0; i < n; i++)
    out[at++] = (uint8_t)(len >> (8 * (n - 1 - i)));
  if (!mask)
    return at;
  memcpy(out + at, mask, 4);
  return at + 4;
}

int cxb_ws_close_code(const uint8_t *data, size_t len, char reason[CXB_WS_CONTROL_MAX]) {
  reason[0] = 0;
  if (len == 0)
    return 1005;
  if (len == 1)
    return 0;
  int code = data[0] << 8 | data[1];
  bool known = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
               (code >= 3000 && code <= 4999);
  cxb_utf8 utf8 = {0};
  if (!known || !cxb_utf8_push(&utf8, data + 2, len - 2) || !cxb_utf8_complete(&utf8))
    return 0;
  memcpy(reason, data + 2, len - 2);
  reason[len - 2] = 0;
  return code;
}

size_t cxb_ws_close_payload(uint8_t out[CXB_WS_CONTROL_MAX], int code, const char *reason) {
  if (code == 1005 || code == 1006)
    return 0;
  size_t n = reason ? strlen(reason) : 0;
  if (n > CXB_WS_CONTROL_MAX - 2) {
    n = CXB_WS_CONTROL_MAX - 2;
    while (n > 0 && ((uint8_t)reason[n] & 0xC0) == 0x80)
      n--;
  }
  out[0] = (uint8_t)(code >> 8);
  out[1] = (uint8_t)code;
  if (n)
    memcpy(out + 2, reason, n);
  return n + 2;
}
