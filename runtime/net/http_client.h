/* HTTP client over libcurl's multi interface on the main loop: streaming both ways, Unix sockets,
 * TLS, no redirects unless asked for. Main loop only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"
#include "../base/sink.h"

typedef struct cxb_http_call cxb_http_call;

typedef struct cxb_http_answer {
  int status;          /* 0: no answer */
  const char *headers; /* "name: value\r\n" lines, names in lower case; borrowed */
  const char *body;    /* NULL when it was streamed */
  size_t body_len;
} cxb_http_answer;

/* The value of a header (name in lower case), to be freed; NULL: absent, or no memory. */
char *cxb_http_answer_header(const cxb_http_answer *answer, const char *name);

typedef struct cxb_http_options {
  const char *url;     /* http://, https:// or http+unix:<socket path>:<path> */
  const char *method;  /* NULL: GET */
  const char *headers; /* "Name: value\r\n" lines, NULL: none */
  const void *body;    /* copied */
  size_t body_len;
  int64_t timeout_ms;         /* whole request; 0: 30,000 */
  int64_t connect_timeout_ms; /* 0: 3,000 */
  size_t max_body;            /* 0: 8 MiB */
  int redirects;              /* 0: none is followed */
  bool upload;                /* the body comes by cxb_http_call_send() */
  int64_t upload_len;         /* of it; 0: not known, sent in chunks */
  int64_t stall_ms;           /* ends when no byte moved for so long (whole seconds); 0: off */
  const char *sigv4;          /* signed: "aws:amz:<region>:<service>", with `user`; NULL: not */
  const char *user;           /* "<access key>:<secret key>" */
  /* Not NULL: the URL is somebody else's (guard.h); these are the exceptions, "" for none. No
   * redirect is followed then. */
  const char *public_but;
  /* Streamed answer: pieces of a 2xx body, in order. CXB_EAGAIN: not now, the same piece comes
   * again after cxb_http_call_resume(); anything else but 0 ends the call (CXB_ECANCELED). */
  int (*on_data)(void *arg, const uint8_t *data, size_t len);
  cxb_sink *sink; /* reference taken: the same, in C; its end() is called with the outcome */
  void (*on_bytes)(void *arg, size_t len); /* so many went into the sink; may be NULL */
  /* The upload wants more. */
  void (*on_want)(void *arg);
  /* Once, last. err 0 or CXB_EREFUSED, CXB_ETIMEDOUT, CXB_ENOENT (name), CXB_EPROTO (TLS),
   * CXB_ETOOBIG, CXB_ECLOSED, CXB_EDENIED (guard.h), CXB_EIO; `message` never holds the query,
   * headers or body. */
  void (*on_done)(void *arg, int err, const char *message, const cxb_http_answer *answer);
  void *arg;
} cxb_http_options;

/* CXB_EINVAL: the URL's scheme or form, CXB_EDENIED: the same of a guarded one; nothing is called
 * then. */
int cxb_http_call_start(const cxb_http_options *options, cxb_http_call **out);
/* Drops it without on_done. */
void cxb_http_call_cancel(cxb_http_call *call);
/* The next piece of an upload (copied); len 0 ends it. */
int cxb_http_call_send(cxb_http_call *call, const void *data, size_t len);
/* Goes on with a streamed answer whose reader was full; may call on_data at once. */
void cxb_http_call_resume(cxb_http_call *call);
/* Status and headers (as in cxb_http_answer, borrowed) of the answer whose body arrives. */
int cxb_http_call_head(const cxb_http_call *call, const char **headers);
void cxb_http_client_close(void);
