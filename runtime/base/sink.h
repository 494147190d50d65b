/* A sink: where a stream of bytes goes without passing through a script. A WebSocket, an HTTP
 * answer and a caller's audio can each be piped into any sink. Sinks belong to one thread (the main
 * loop unless said otherwise). */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_sink cxb_sink;
struct cxb_sink {
  /* Takes `len` bytes (borrowed for the call). 0, or CXB_ECLOSED when nobody listens any more. */
  int (*write)(cxb_sink *sink, const uint8_t *data, size_t len);
  /* No more bytes: err is 0 at a regular end, else CXB_E*. Called at most once. */
  void (*end)(cxb_sink *sink, int err);
  /* Drops one reference; the sink may be gone afterwards. */
  void (*release)(cxb_sink *sink);
};

#define CXB_SINK_MT "cxb.sink" /* Lua: full userdata holding one `cxb_sink *`, released by __gc */
