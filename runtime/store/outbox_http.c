/* The outbox's way out: net's HTTP client. */
#include <stdlib.h>

#include "../base/err.h"
#include "../net/http_client.h"
#include "outbox.h"

enum { MAX_ANSWER = 64 << 10 };

typedef struct flight {
  cxb_http_call *call;
  cxb_outbox_replied replied;
  void *arg;
} flight;

/* What the receiver says beyond its status is not read: an answer that is too long was one. */
static void on_done(void *arg, int err, const char *message, const cxb_http_answer *answer) {
  (void)message;
  flight *f = arg;
  int status = answer ? answer->status : 0;
  if (err == CXB_ETOOBIG && status >= 200)
    err = 0;
  char *retry_after = err || !answer ? NULL : cxb_http_answer_header(answer, "retry-after");
  cxb_outbox_reply reply = {.err = err, .status = status, .retry_after = retry_after};
  f->replied(f->arg, &reply);
  free(retry_after);
  free(f);
}

int cxb_outbox_http_post(uv_loop_t *loop, const cxb_outbox_attempt *attempt,
                         cxb_outbox_replied replied, void *arg, void **out) {
  (void)loop; /* the client lives on the main loop, as the outbox does */
  flight *f = malloc(sizeof *f);
  if (!f)
    return CXB_ENOMEM;
  *f = (flight){NULL, replied, arg};
  cxb_http_options options = {.url = attempt->url,
                              .method = "POST",
                              .headers = attempt->headers,
                              .body = attempt->body,
                              .body_len = attempt->body_len,
                              .timeout_ms = attempt->total_ms,
                              .connect_timeout_ms = attempt->connect_ms,
                              .max_body = MAX_ANSWER,
                              .on_done = on_done,
                              .arg = f};
  int err = cxb_http_call_start(&options, &f->call);
  if (err)
    free(f);
  else
    *out = f;
  return err;
}

void cxb_outbox_http_cancel(void *arg) {
  flight *f = arg;
  cxb_http_call_cancel(f->call);
  free(f);
}
