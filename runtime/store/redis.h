/* A connection to Redis on a libuv loop: commands in order and pipelined, answers by callback,
 * reconnection by itself. What happens to a command is always told: a server that refuses, leaves,
 * or does not answer in time fails everything that was under way; commands given while there is
 * no connection (and none is being made) fail at once. Nothing is sent twice.
 * A connection with a `pattern` listens to the channels it matches and takes no commands. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct cxb_redis cxb_redis;
struct redisReply;

typedef struct cxb_redis_options {
  int64_t timeout_ms;  /* connecting, and the answer to a command; 0: 2,000 */
  const char *pattern; /* channels to listen to; NULL: for commands */
  /* A message of a channel. */
  void (*on_message)(void *arg, const char *channel, size_t channel_len, const char *data,
                     size_t len);
  /* Listening (again): messages before this are lost. */
  void (*on_up)(void *arg);
  void *arg;
} cxb_redis_options;

/* Begins to connect. url: redis://[user][:password@]host[:port][/db], redis+unix://[:password@]path
 * or unix:path with ?db=N. CXB_EINVAL with the rule in `why` for a URL that is none of these. */
int cxb_redis_open(uv_loop_t *loop, const char *url, const cxb_redis_options *options,
                   cxb_redis **out, char *why, size_t why_len);
/* Ends it; what is under way fails before this returns, or right after the callback that it is
 * called from. */
void cxb_redis_close(cxb_redis *r);
/* Ends all of them because the process ends; their owners may still call cxb_redis_close(). */
void cxb_redis_close_all(void);

/* err 0: `reply` (Redis' own errors are replies) is valid during the call. Else NULL and why. */
typedef void (*cxb_redis_reply_cb)(void *arg, const struct redisReply *reply, int err,
                                   const char *why);
/* Sends one command. CXB_ECLOSED: there is no connection (cxb_redis_why()); `fn` is not called. */
int cxb_redis_command(cxb_redis *r, int argc, const char **argv, const size_t *lens,
                      cxb_redis_reply_cb fn, void *arg);
/* Runs a script by its digest, by its text where the server does not have it yet; argv: keys first,
 * then arguments. As cxb_redis_command(). */
int cxb_redis_script(cxb_redis *r, const char *source, size_t source_len, int keys, int argc,
                     const char **argv, const size_t *lens, cxb_redis_reply_cb fn, void *arg);
bool cxb_redis_up(const cxb_redis *r);
const char *cxb_redis_why(const cxb_redis *r); /* the last failure; "" when there was none */
