/* Redis: connection, its commands and their deadlines. */
#include "redis.h"

#include <netdb.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/time.h"
#include "redis_internal.h"

enum { TIMEOUT_MS = 2000, RETRY_MIN_MS = 50, RETRY_MAX_MS = 2000 };

typedef struct command {
  cxb_redis *redis;
  cxb_redis_reply_cb fn;
  void *arg;
  int64_t deadline_ms;
  struct command *next, *prev;
  char *text; /* until it is sent */
  size_t len;
  char *again; /* a script by its text, for a server that does not know the digest */
  size_t again_len;
} command;

typedef enum { WAITING, RESOLVING, CONNECTING, UP, CLOSED } state;

struct cxb_redis {
  uv_loop_t *loop;
  cxb_redis_address address;
  cxb_redis_options options;
  char *pattern;
  state state;
  redisAsyncContext *ctx;
  uv_getaddrinfo_t resolver;
  uv_timer_t deadline, retry;
  int open_handles; /* timers and the resolver */
  int failures;
  command *first, *last;  /* under way, in order */
  const command *overdue; /* its time was up once */
  char why[160];
  cxb_redis *next_open, *prev_open;
  bool kept; /* its owner may still ask: not freed */
};
static cxb_redis *all;

static void begin(cxb_redis *r);

/* ---- commands ---- */

static void unlink_command(command *c) {
  cxb_redis *r = c->redis;
  if (r->overdue == c)
    r->overdue = NULL;
  *(c->prev ? &c->prev->next : &r->first) = c->next;
  *(c->next ? &c->next->prev : &r->last) = c->prev;
}

static void free_command(command *c) {
  if (c->text)
    redisFreeCommand(c->text);
  if (c->again)
    redisFreeCommand(c->again);
  free(c);
}

static void end_command(command *c, const redisReply *reply, const char *why) {
  unlink_command(c);
  if (c->fn)
    c->fn(c->arg, reply, reply ? 0 : CXB_ECLOSED, reply ? NULL : why);
  free_command(c);
}

static void on_reply(redisAsyncContext *ctx, void *data, void *arg);

static int send_command(command *c) {
  cxb_redis *r = c->redis;
  if (redisAsyncFormattedCommand(r->ctx, on_reply, c, c->text, c->len) != REDIS_OK)
    return CXB_ECLOSED;
  redisFreeCommand(c->text);
  c->text = NULL;
  return 0;
}

static void on_reply(redisAsyncContext *ctx, void *data, void *arg) {
  command *c = arg;
  const redisReply *reply = data;
  if (reply && reply->type == REDIS_REPLY_ERROR && c->again &&
      strncmp(reply->str, "NOSCRIPT", 8) == 0) {
    c->text = c->again;
    c->len = c->again_len;
    c->again = NULL;
    if (c->redis->ctx == ctx && send_command(c) == 0)
      return;
    reply = NULL;
  }
  end_command(c, reply, ctx->errstr && *ctx->errstr ? ctx->errstr : c->redis->why);
}

/* Who is told may give new commands (refused) or close the connection: each time from the start. */
static void fail_unsent(cxb_redis *r) {
  for (command *c = r->first; c;) {
    bool unsent = c->text != NULL;
    command *next = c->next;
    if (unsent)
      end_command(c, NULL, r->why);
    c = unsent ? r->first : next;
  }
}

/* ---- the connection's end ---- */

static void on_retry(uv_timer_t *timer) {
  begin(timer->data);
}

/* Back-off doubles up to its maximum; a little is left to chance, so that many do not come at once.
 */
static void retry_later(cxb_redis *r, const char *why) {
  snprintf(r->why, sizeof r->why, "%s", why);
  if (r->state == CLOSED)
    return;
  r->state = WAITING;
  int64_t ms = RETRY_MIN_MS << (r->failures < 6 ? r->failures : 6);
  ms = ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
  r->failures++;
  uv_timer_start(&r->retry, on_retry, (uint64_t)(ms - rand() % (ms / 4)), 0);
  fail_unsent(r);
}

static void drop(cxb_redis *r, const char *why) {
  redisAsyncContext *ctx = r->ctx;
  r->ctx = NULL;
  retry_later(r, why);
  if (ctx) {
    ctx->data = NULL;
    redisAsyncFree(ctx); /* what is under way fails now, or after the callback we are in */
  }
}

static void on_disconnect(const redisAsyncContext *ctx, int status) {
  (void)status;
  cxb_redis *r = ctx->data;
  if (!r || r->ctx != ctx)
    return;
  r->ctx = NULL;
  retry_later(r, ctx->errstr && *ctx->errstr ? ctx->errstr : "the server closed the connection");
}

static void on_connect(const redisAsyncContext *ctx, int status) {
  cxb_redis *r = ctx->data;
  if (!r || r->ctx != ctx)
    return;
  if (status == REDIS_OK) {
    if (r->address.host[0])
      redisEnableKeepAlive((redisContext *)&ctx->c);
    return;
  }
  r->ctx = NULL;
  retry_later(r, ctx->errstr && *ctx->errstr ? ctx->errstr : "connection refused");
}

/* The first command under way is the oldest: when its time is up the server is taken for gone. But
 * timers come before sockets: what has arrived while we were busy is read first. */
static void on_deadline(uv_timer_t *timer) {
  cxb_redis *r = timer->data;
  if (!r->first)
    return;
  int64_t left = r->first->deadline_ms - cxb_mono_ms();
  if (left > 0) {
    uv_timer_start(timer, on_deadline, (uint64_t)left, 0);
  } else if (r->overdue != r->first) {
    r->overdue = r->first;
    uv_timer_start(timer, on_deadline, 1, 0);
  } else {
    drop(r, "no answer in time");
  }
}

/* ---- a new connection ---- */

static command *new_command(cxb_redis *r, cxb_redis_reply_cb fn, void *arg) {
  command *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->redis = r;
  c->fn = fn;
  c->arg = arg;
  c->deadline_ms = cxb_mono_ms() + r->options.timeout_ms; /* the loop's clock may be behind */
  c->prev = r->last;
  *(r->last ? &r->last->next : &r->first) = c;
  r->last = c;
  if (!uv_is_active((uv_handle_t *)&r->deadline))
    uv_timer_start(&r->deadline, on_deadline, (uint64_t)r->options.timeout_ms, 0);
  return c;
}

/* A refused password or database makes the connection useless. */
static void on_hello(void *arg, const redisReply *reply, int err, const char *why) {
  (void)why;
  cxb_redis *r = arg;
  if (err || r->state == CLOSED)
    return;
  if (reply->type == REDIS_REPLY_ERROR) {
    drop(r, reply->str);
    return;
  }
  if (!reply->str || strcmp(reply->str, "PONG") != 0)
    return;
  r->state = UP;
  r->failures = 0;
  r->why[0] = '\0';
}

static void say(cxb_redis *r, int argc, const char **argv) {
  command *c = new_command(r, on_hello, r);
  if (!c)
    return;
  int len = redisFormatCommandArgv(&c->text, argc, argv, NULL);
  c->len = (size_t)len;
  if (len < 0 || send_command(c) != 0)
    end_command(c, NULL, "out of memory");
}

static void on_published(redisAsyncContext *ctx, void *data, void *arg) {
  cxb_redis *r = arg;
  const redisReply *reply = data;
  if (!reply || r->ctx != ctx || reply->type != REDIS_REPLY_ARRAY)
    return;
  if (reply->elements == 4)
    r->options.on_message(r->options.arg, reply->element[2]->str, reply->element[2]->len,
                          reply->element[3]->str, reply->element[3]->len);
  else if (r->options.on_up)
    r->options.on_up(r->options.arg);
}

/* Who we are comes first; a PING proves that we are let in. */
static void say_hello(cxb_redis *r) {
  const cxb_redis_address *a = &r->address;
  char db[12];
  snprintf(db, sizeof db, "%d", a->db);
  if (a->user[0])
    say(r, 3, (const char *[]){"AUTH", a->user, a->password});
  else if (a->password[0])
    say(r, 2, (const char *[]){"AUTH", a->password});
  if (a->db)
    say(r, 2, (const char *[]){"SELECT", db});
  say(r, 1, (const char *[]){"PING"});
}

/* Commands that came before there was a connection follow. */
static void use(cxb_redis *r, redisAsyncContext *ctx) {
  if (!ctx || ctx->err || cxb_redis_attach(ctx, r->loop) != 0) {
    retry_later(r, ctx && ctx->err ? ctx->errstr : "out of memory");
    if (ctx)
      redisAsyncFree(ctx);
    return;
  }
  command *waiting = r->first, *next;
  r->ctx = ctx;
  r->state = CONNECTING;
  ctx->data = r;
  redisAsyncSetConnectCallback(ctx, on_connect);
  redisAsyncSetDisconnectCallback(ctx, on_disconnect);
  say_hello(r);
  for (command *c = waiting; c && c->text; c = next) {
    next = c->next;
    if (send_command(c) != 0)
      end_command(c, NULL, "out of memory");
  }
  if (r->pattern)
    redisAsyncCommand(ctx, on_published, r, "PSUBSCRIBE %s", r->pattern);
}

static void handle_gone(cxb_redis *r) {
  if (--r->open_handles > 0 || r->kept)
    return;
  free(r->pattern);
  free(r);
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *list) {
  cxb_redis *r = resolver->data;
  char ip[64] = "";
  if (status == 0 && list)
    uv_ip_name(list->ai_addr, ip, sizeof ip);
  uv_freeaddrinfo(list);
  if (r->state == CLOSED) {
    handle_gone(r);
    return;
  }
  r->open_handles--;
  if (ip[0])
    use(r, redisAsyncConnect(ip, atoi(r->address.port)));
  else
    retry_later(r, "the host name is not known");
}

/* The name is looked up each time, off the loop: the server may have moved. */
static void begin(cxb_redis *r) {
  if (!r->address.host[0]) {
    use(r, redisAsyncConnectUnix(r->address.path));
    return;
  }
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  r->state = RESOLVING;
  r->resolver.data = r;
  if (uv_getaddrinfo(r->loop, &r->resolver, on_resolved, r->address.host, r->address.port,
                     &hints) == 0)
    r->open_handles++;
  else
    retry_later(r, "the host name cannot be looked up");
}

/* ---- public ---- */

int cxb_redis_open(uv_loop_t *loop, const char *url, const cxb_redis_options *options,
                   cxb_redis **out, char *why, size_t why_len) {
  cxb_redis *r = calloc(1, sizeof *r);
  if (!r)
    return CXB_ENOMEM;
  int err = cxb_redis_parse_url(url, &r->address, why, why_len);
  r->pattern = options->pattern ? strdup(options->pattern) : NULL;
  if (err == 0 && options->pattern && !r->pattern)
    err = CXB_ENOMEM;
  if (err) {
    free(r->pattern);
    free(r);
    return err;
  }
  r->loop = loop;
  r->options = *options;
  if (r->options.timeout_ms <= 0)
    r->options.timeout_ms = TIMEOUT_MS;
  uv_timer_init(loop, &r->deadline);
  uv_timer_init(loop, &r->retry);
  r->deadline.data = r->retry.data = r;
  r->open_handles = 2;
  r->next_open = all;
  if (all)
    all->prev_open = r;
  all = r;
  begin(r);
  *out = r;
  return 0;
}

static void on_handle_closed(uv_handle_t *handle) {
  handle_gone(handle->data);
}

void cxb_redis_close(cxb_redis *r) {
  if (r->state == CLOSED)
    return;
  if (r->state == RESOLVING)
    uv_cancel((uv_req_t *)&r->resolver);
  r->state = CLOSED;
  *(r->prev_open ? &r->prev_open->next_open : &all) = r->next_open;
  if (r->next_open)
    r->next_open->prev_open = r->prev_open;
  redisAsyncContext *ctx = r->ctx;
  r->ctx = NULL;
  snprintf(r->why, sizeof r->why, "closed");
  fail_unsent(r);
  if (ctx) {
    ctx->data = NULL;
    redisAsyncFree(ctx);
  }
  uv_close((uv_handle_t *)&r->deadline, on_handle_closed);
  uv_close((uv_handle_t *)&r->retry, on_handle_closed);
}

void cxb_redis_close_all(void) {
  while (all) {
    all->kept = true;
    cxb_redis_close(all);
  }
}

/* Before the first connection commands wait for it; after a failure nobody waits for the next. */
static bool takes_commands(const cxb_redis *r) {
  bool first = r->failures == 0 && (r->state == RESOLVING || r->state == CONNECTING);
  return !r->pattern && (first || r->state == UP);
}

/* Hands a command with its text over to the connection, or keeps it until there is one. */
static int submit(cxb_redis *r, char *text, int len, char *again, int again_len,
                  cxb_redis_reply_cb fn, void *arg) {
  command *c = len > 0 && again_len >= 0 ? new_command(r, fn, arg) : NULL;
  if (!c) {
    redisFreeCommand(text);
    redisFreeCommand(again);
    return CXB_ENOMEM;
  }
  c->text = text;
  c->len = (size_t)len;
  c->again = again;
  c->again_len = (size_t)again_len;
  if (r->ctx && send_command(c) != 0) {
    unlink_command(c);
    free_command(c);
    return CXB_ECLOSED;
  }
  return 0;
}

int cxb_redis_command(cxb_redis *r, int argc, const char **argv, const size_t *lens,
                      cxb_redis_reply_cb fn, void *arg) {
  if (!takes_commands(r))
    return CXB_ECLOSED;
  char *text = NULL;
  int len = redisFormatCommandArgv(&text, argc, argv, lens);
  return submit(r, text, len, NULL, 0, fn, arg);
}

static void digest(const char *source, size_t len, char out[41]) {
  unsigned char raw[SHA_DIGEST_LENGTH];
  SHA1((const unsigned char *)source, len, raw);
  for (int i = 0; i < SHA_DIGEST_LENGTH; i++)
    snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

int cxb_redis_script(cxb_redis *r, const char *source, size_t source_len, int keys, int argc,
                     const char **argv, const size_t *lens, cxb_redis_reply_cb fn, void *arg) {
  if (!takes_commands(r))
    return CXB_ECLOSED;
  char sha[41], count[12], *text = NULL, *again = NULL;
  digest(source, source_len, sha);
  snprintf(count, sizeof count, "%d", keys);
  const char **words = calloc((size_t)argc + 3, sizeof *words);
  size_t *sizes = calloc((size_t)argc + 3, sizeof *sizes);
  int len = -1, again_len = -1;
  if (words && sizes) {
    words[0] = "EVALSHA", words[1] = sha, words[2] = count;
    sizes[0] = 7, sizes[1] = 40, sizes[2] = strlen(count);
    for (int i = 0; i < argc; i++)
      words[i + 3] = argv[i], sizes[i + 3] = lens[i];
    len = redisFormatCommandArgv(&text, argc + 3, words, sizes);
    words[0] = "EVAL", words[1] = source;
    sizes[0] = 4, sizes[1] = source_len;
    again_len = redisFormatCommandArgv(&again, argc + 3, words, sizes);
  }
  free(words);
  free(sizes);
  return submit(r, text, len, again, again_len, fn, arg);
}

bool cxb_redis_up(const cxb_redis *r) {
  return r->state == UP;
}

const char *cxb_redis_why(const cxb_redis *r) {
  return r->why;
}
