/* Inside of the Redis client: what its files share. */
#pragma once
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "redis.h"

/* Where a server is and how to come in. */
typedef struct cxb_redis_address {
  char host[256], port[8]; /* host "" : a Unix socket */
  char path[108];
  char user[128], password[256];
  int db;
} cxb_redis_address;

/* redis_url.c */
int cxb_redis_parse_url(const char *url, cxb_redis_address *out, char *why, size_t why_len);

/* redis_poll.c: the context's socket on the loop, until the context is freed. */
int cxb_redis_attach(redisAsyncContext *ctx, uv_loop_t *loop);
