/* The parts of a WebSocket address. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct cxb_ws_url {
  bool tls, is_unix;
  int port;
  char host[256];      /* name or address without brackets; for a Unix socket its path */
  char authority[264]; /* for the Host header: with brackets and a port that is not the default */
  const char *path;    /* points into the address given, or at "/" */
} cxb_ws_url;

/* ws://host[:port]/path, wss://… or ws+unix:<socket path>:<uri path>. CXB_EINVAL when malformed. */
int cxb_ws_url_parse(const char *url, cxb_ws_url *out);
