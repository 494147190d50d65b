/* The outbox: what must arrive (results, hand-offs, uploads) in one SQLite file that its process
 * holds for life, delivered until acknowledged, at least once, with the same key each time.
 *
 * A row is in `analysis` (committed, worked on before it is sent), `ready` (due at a time),
 * `sending`, `done` (its key is kept some days) or `dead` (refused, or too old; kept until purged).
 * Rows of one session and stream (result; hand-off and event; upload) go one after the other;
 * sessions and streams do not wait for each other. Everything here belongs to the loop's thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../base/buf.h"
#include "s3.h"

typedef struct cxb_outbox cxb_outbox;

/* ---- the way out ---- */

typedef struct cxb_outbox_attempt {
  const char *url;     /* http://, https:// or http+unix:<socket path>:<path> */
  const char *headers; /* "Name: value\r\n" lines */
  const char *body;
  size_t body_len;
  int connect_ms, total_ms;
} cxb_outbox_attempt;

typedef struct cxb_outbox_reply {
  int err;                 /* 0, or CXB_E* when there was no answer */
  int status;              /* HTTP status when err is 0 */
  const char *retry_after; /* header, NULL: absent */
  const char *detail;      /* more of why it failed, NULL: nothing; no secret, no URL */
  bool hopeless;           /* no other attempt can succeed */
} cxb_outbox_reply;

typedef void (*cxb_outbox_replied)(void *arg, const cxb_outbox_reply *reply);

/* POSTs; the attempt is borrowed for the call. 0: `replied` later, once; else CXB_E*. What can be
 * cancelled until then is left in *flight. */
typedef int (*cxb_outbox_post)(uv_loop_t *loop, const cxb_outbox_attempt *attempt,
                               cxb_outbox_replied replied, void *arg, void **flight);
/* Drops an attempt without `replied`. */
typedef void (*cxb_outbox_cancel)(void *flight);

/* By net's HTTP client (outbox_http.c). */
int cxb_outbox_http_post(uv_loop_t *loop, const cxb_outbox_attempt *attempt,
                         cxb_outbox_replied replied, void *arg, void **flight);
void cxb_outbox_http_cancel(void *flight);

/* ---- the box ---- */

typedef struct cxb_outbox_row {
  int64_t id, n, created_ms, due_ms; /* UTC */
  int attempts;
  const char *kind, *session_id, *state, *url;
  const char *last_error; /* "" when none */
  const char *body;       /* for `headers` and cxb_outbox_get(), else NULL */
  size_t body_len;
} cxb_outbox_row;

typedef struct cxb_outbox_options {
  int retain_days;           /* of the keys of done rows; 0: 7 */
  bool adopted;              /* its process is gone: its rows are counted as adopted */
  cxb_outbox_post post;      /* NULL: cxb_outbox_http_post */
  cxb_outbox_cancel cancel;  /* of `post` */
  const cxb_s3_settings *s3; /* of uploads; copied; NULL: they wait for it */
  int64_t keep_files_ms;     /* an uploaded file stays for so long, then it is deleted */
  int64_t (*utc_ms)(void);   /* NULL: the system's */
  int64_t (*mono_ms)(void);
  double (*chance)(void); /* in [0, 1): how much of a delay is waited; NULL: random */
} cxb_outbox_options;

typedef void (*cxb_outbox_opened)(void *arg, cxb_outbox *box, int err, const char *code,
                                  const char *message);
/* Opens or creates the file and begins to deliver what is in it. The same path is one box in this
 * process, the options are the first opener's. CXB_EBUSY: another process holds it; CXB_ECORRUPT:
 * damaged. 0: `opened` later, once; else CXB_ENOMEM or CXB_EINVAL. */
int cxb_outbox_open(uv_loop_t *loop, const char *path, const cxb_outbox_options *options,
                    cxb_outbox_opened opened, void *arg);
/* Drops a reference. With the last one nothing new is sent; what is under way ends. */
void cxb_outbox_close(cxb_outbox *box);
/* Ends it now, whoever holds it, so that another process can open the file: attempts under way are
 * dropped; that process makes them again. References are still to be closed. */
void cxb_outbox_hand_over(cxb_outbox *box);
void cxb_outbox_close_all(void); /* hands all over, at the process's end */

/* More headers for each attempt, such as a secret that must not be stored or a signature: adds
 * "Name: value\r\n" lines to `out`; negative: the attempt fails and is repeated later. The hook
 * added last is asked; after its removal the one before. */
typedef int (*cxb_outbox_headers)(void *arg, const cxb_outbox_row *row, cxb_buf *out);
int cxb_outbox_add_hook(cxb_outbox *box, cxb_outbox_headers headers, void *arg);
void cxb_outbox_remove_hook(cxb_outbox *box, void *arg);

typedef struct cxb_outbox_new {
  const char *kind; /* "result", "handoff", "event" or "upload" */
  const char *session_id, *url;
  const char *headers; /* "Name: value\r\n" lines, stored; NULL: none */
  int64_t n;
  const char *body;
  size_t body_len;
  const char *file; /* of an upload: what is sent to `url`; else NULL */
  const char *work; /* what has to be done before it is sent: state `analysis`; NULL: nothing */
  size_t work_len;
} cxb_outbox_new;

/* `id` of the row when err is 0. */
typedef void (*cxb_outbox_put_done)(void *arg, int64_t id, int err, const char *code,
                                    const char *message);
/* `done` after the COMMIT (synchronous FULL): the row will be delivered whatever happens.
 * CXB_EEXIST: (kind, session_id, n) exists; CXB_ENOSPC, CXB_EIO: it is not stored and may be put
 * again. 0: `done` later, once; else CXB_EINVAL, CXB_ECLOSED, CXB_ENOMEM. */
int cxb_outbox_put(cxb_outbox *box, const cxb_outbox_new *row, cxb_outbox_put_done done, void *arg);

typedef void (*cxb_outbox_done)(void *arg, int64_t count, int err);
/* A row is due now, also a dead one. CXB_ENOENT: no such row, or it is done. */
int cxb_outbox_replay(cxb_outbox *box, int64_t id, cxb_outbox_done done, void *arg);
/* Removes dead rows; `count` of them. */
int cxb_outbox_purge(cxb_outbox *box, cxb_outbox_done done, void *arg);
/* Tries every row now, but those whose receiver asked to wait. `done` when each was tried, or after
 * `ms`. */
int cxb_outbox_flush(cxb_outbox *box, int64_t ms, cxb_outbox_done done, void *arg);

/* Rows in the order of their ids; state NULL: all but done. `rows` are borrowed for the call. */
typedef void (*cxb_outbox_listed)(void *arg, const cxb_outbox_row *rows, int count, int err);
int cxb_outbox_list(cxb_outbox *box, const char *state, int limit, cxb_outbox_listed done,
                    void *arg);
/* One row with its body; NULL with an error. Done rows are not there any more. */
typedef void (*cxb_outbox_got)(void *arg, const cxb_outbox_row *row, int err);
int cxb_outbox_get(cxb_outbox *box, int64_t id, cxb_outbox_got done, void *arg);

/* ---- rows that are worked on before they are sent (outbox_analysis.c) ---- */

typedef struct cxb_outbox_work {
  int64_t id;
  int attempts; /* claims so far, with this one, also by processes that died */
  const char *session_id, *work, *body;
  size_t work_len, body_len;
} cxb_outbox_work;

/* `work` NULL: there is nothing to claim, or `err`. Borrowed for the call. */
typedef void (*cxb_outbox_claimed)(void *arg, const cxb_outbox_work *work, int err);
/* Takes the oldest row in `analysis` that nobody works on. It is the caller's for `lease_ms`; when
 * it was not finished by then it may be claimed again. A row in `analysis` for
 * CXB_OUTBOX_MAX_WORK_MS is sent as it is. */
int cxb_outbox_claim(cxb_outbox *box, int64_t lease_ms, cxb_outbox_claimed done, void *arg);
/* Replaces what has to be done, after a part of it was. CXB_ENOENT: it is no row in `analysis`. */
int cxb_outbox_keep(cxb_outbox *box, int64_t id, const char *work, size_t len, cxb_outbox_done done,
                    void *arg);
/* The row becomes `ready` with this body (NULL: the one it has), in one step. CXB_ENOENT as above.
 */
int cxb_outbox_finish(cxb_outbox *box, int64_t id, const char *body, size_t len,
                      cxb_outbox_done done, void *arg);

typedef struct cxb_outbox_stats {
  int analysis, ready, sending, dead;
  double oldest_age_s; /* of what is not delivered, dead rows aside */
} cxb_outbox_stats;
void cxb_outbox_get_stats(const cxb_outbox *box, cxb_outbox_stats *out);
