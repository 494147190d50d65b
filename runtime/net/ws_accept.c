/* Accepted WebSockets: a socket whose upgrade request the HTTP server has read. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "ws_handshake.h"
#include "ws_internal.h"

static void accepted_start(cxb_ws *ws) {
  cxb_ws_opened(ws);
  if (ws->state != WS_ENDED)
    cxb_ws_stream_begin(ws);
}

static void on_refused(uv_handle_t *handle) {
  cxb_ws *ws = handle->data;
  free(ws->early);
  free(ws);
}

/* Makes the connection on `fd`, which is its own from then on or closed. */
static int accept_new(cxb_ws_context *ctx, int fd, const char *early, size_t early_len,
                      cxb_ws **out) {
  cxb_ws *ws = calloc(1, sizeof *ws);
  char *copy = early_len ? malloc(early_len) : NULL;
  if (!ws || (early_len && !copy)) {
    free(ws);
    free(copy);
    close(fd);
    return CXB_ENOMEM;
  }
  if (copy)
    memcpy(copy, early, early_len);
  ws->early = copy;
  ws->early_len = early_len;
  ws->ctx = ctx;
  int err = cxb_ws_stream_open(ws, fd);
  if (err) {
    close(fd);
    uv_close(&ws->u.handle, on_refused);
    return err;
  }
  *out = ws;
  return 0;
}

int cxb_ws_adopt(cxb_ws_context *ctx, int fd, const char *head, size_t head_len,
                 const char *protocols, const cxb_ws_limits *limits, const cxb_ws_handler *handler,
                 void *user, cxb_ws **out) {
  char answer[512];
  cxb_ws *ws = NULL;
  const char *end = memmem(head, head_len, "\r\n\r\n", 4);
  size_t request = end ? (size_t)(end + 4 - head) : 0;
  size_t n = end ? cxb_ws_answer(head, request, protocols, answer, sizeof answer) : 0;
  if (n == 0 || ctx->closing) {
    close(fd);
    return n == 0 ? CXB_EPROTO : CXB_ECLOSED;
  }
  int err = accept_new(ctx, fd, head + request, head_len - request, &ws);
  if (err)
    return err;
  if (cxb_ws_stream_bytes(ws, answer, n)) {
    uv_close(&ws->u.handle, on_refused);
    return CXB_EIO;
  }
  cxb_ws_init(ws, ctx, accepted_start, limits, handler, user);
  *out = ws;
  return 0;
}
