/* What one WebSocket message costs the server: connections on a loop of their own echo frames as a
 * call's have them (330 bytes: 160 of audio in base64 within JSON) over socket pairs, as fast as
 * the peer sends. With 20 connections wake-ups are shared; with one, each message has its own.
 * Measured as CPU time of the server's thread, which other work on the machine hardly changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/ws.h"

enum { CONNECTIONS = 20, MESSAGES = 200000, FRAME = 330 };

static const char HEAD[] =
    "GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n";

typedef struct server {
  int fds[CONNECTIONS];
  int count, open;
  long messages;
  double seconds;
} server;

static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_message(cxb_ws *ws, void *user, bool binary, const uint8_t *data, size_t len) {
  ((server *)user)->messages++;
  cxb_ws_send(ws, binary, data, len);
}

static void on_close(cxb_ws *ws, void *user, int code, const char *reason) {
  (void)ws;
  (void)code;
  (void)reason;
  ((server *)user)->open--;
}

static void serve(void *arg) {
  static const cxb_ws_handler handler = {.message = on_message, .close = on_close};
  server *s = arg;
  uv_loop_t loop;
  cxb_ws_context *ctx;
  uv_loop_init(&loop);
  if (cxb_ws_context_new(&loop, &ctx) != 0)
    abort();
  for (int i = 0; i < s->count; i++) {
    cxb_ws *ws;
    if (cxb_ws_adopt(ctx, s->fds[i], HEAD, sizeof HEAD - 1, NULL, NULL, &handler, s, &ws) != 0)
      abort();
    s->open++;
  }
  double began = thread_seconds();
  while (s->open > 0)
    uv_run(&loop, UV_RUN_ONCE);
  s->seconds = thread_seconds() - began;
  cxb_ws_context_close(ctx, NULL, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

static void take(int fd, size_t len) {
  char bytes[4096];
  while (len > 0) {
    ssize_t n = read(fd, bytes, len < sizeof bytes ? len : sizeof bytes);
    if (n <= 0)
      abort();
    len -= (size_t)n;
  }
}

static void take_head(int fd) {
  for (int ends = 0; ends < 4;) {
    char c;
    if (read(fd, &c, 1) != 1)
      abort();
    ends = c == (ends % 2 ? '\n' : '\r') ? ends + 1 : 0;
  }
}

static void measure(int count) {
  server s = {.count = count};
  char frame[8 + FRAME] = {(char)0x81, (char)(0x80 | 126), FRAME >> 8, FRAME & 255, 1, 2, 3, 4};
  for (int i = 0; i < FRAME; i++)
    frame[8 + i] = (char)('a' ^ (1 + (i & 3)));
  int ours[CONNECTIONS];
  for (int i = 0; i < count; i++) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
      abort();
    s.fds[i] = pair[0];
    ours[i] = pair[1];
  }
  uv_thread_t thread;
  uv_thread_create(&thread, serve, &s);
  for (int i = 0; i < count; i++)
    take_head(ours[i]);
  for (int n = 0; n < MESSAGES / count; n++) {
    for (int i = 0; i < count; i++)
      if (write(ours[i], frame, sizeof frame) != (ssize_t)sizeof frame)
        abort();
    for (int i = 0; i < count; i++)
      take(ours[i], 4 + FRAME);
  }
  for (int i = 0; i < count; i++)
    close(ours[i]);
  uv_thread_join(&thread);
  printf(
      "= WebSocket message, in and out, CPU of the server, %d connection%s: %.1f us (aim <= 50)\n",
      count, count == 1 ? "" : "s", s.seconds * 1e6 / (double)s.messages);
}

int main(void) {
  measure(1);
  measure(CONNECTIONS);
  return 0;
}
