/* One file into an S3 store (contract in s3.h). */
#include "s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "../base/fault.h"
#include "s3_internal.h"

enum { CONNECT_MS = 3000, TOTAL_MS = 15000, STALL_MS = 15000, SLOWEST_BYTES_MS = 32 };

/* ---- the end ---- */

static void end(cxb_s3_put *put, const cxb_s3_result *result) {
  if (result->err || result->status >= 300)
    cxb_s3_abort_parts(put);
  put->done(put->arg, result);
  cxb_s3_free(put);
}

void cxb_s3_fail(cxb_s3_put *put, int err, const char *detail) {
  end(put, &(cxb_s3_result){.err = err, .detail = detail});
}

void cxb_s3_put_cancel(cxb_s3_put *put) {
  if (put->call)
    cxb_http_call_cancel(put->call);
  put->call = NULL;
  cxb_s3_free(put);
}

/* ---- requests ---- */

bool cxb_s3_xml(const cxb_http_answer *answer, const char *tag, char *out, size_t room) {
  char open[40], close[40];
  snprintf(open, sizeof open, "<%s>", tag);
  snprintf(close, sizeof close, "</%s>", tag);
  const char *from =
      answer->body_len ? memmem(answer->body, answer->body_len, open, strlen(open)) : NULL;
  if (!from)
    return false;
  from += strlen(open);
  size_t left = answer->body_len - (size_t)(from - answer->body);
  const char *to = memmem(from, left, close, strlen(close));
  if (!to || (size_t)(to - from) >= room)
    return false;
  memcpy(out, from, (size_t)(to - from));
  out[to - from] = '\0';
  return true;
}

static void on_answer(void *arg, int err, const char *message, const cxb_http_answer *answer) {
  (void)message;
  cxb_s3_put *put = arg;
  put->call = NULL;
  /* A store that refuses early closes while we still send: what it said counts. */
  if (err == CXB_ECLOSED && answer && answer->status >= 300)
    err = 0;
  if (err) {
    cxb_s3_fail(put, err, "");
  } else if (answer->status < 200 || answer->status >= 300) {
    char code[64] = "";
    cxb_s3_xml(answer, "Code", code, sizeof code);
    char *retry_after = cxb_http_answer_header(answer, "retry-after");
    end(put,
        &(cxb_s3_result){.status = answer->status, .retry_after = retry_after, .detail = code});
    free(retry_after);
  } else {
    put->answered(put, answer);
  }
}

int cxb_s3_headers(const uint8_t sum[32], cxb_buf *out) {
  int err = cxb_buf_str(out, "User-Agent: cxbrt/" CXB_VERSION "\r\nx-amz-content-sha256: ");
  for (int i = 0; i < 32 && !err; i++)
    err = cxb_buf_printf(out, "%02x", sum[i]);
  return err ? err : cxb_buf_str(out, "\r\n");
}

void cxb_s3_ask(cxb_s3_put *put, const cxb_s3_request *r) {
  cxb_buf url = {0}, headers = {0};
  uint8_t sum[32];
  if (r->file)
    memcpy(sum, put->sum, sizeof sum);
  else
    cxb_sha256(r->body ? r->body : "", r->body_len, sum);
  int err = cxb_buf_printf(&url, "%s%s%s", put->url, r->query ? "?" : "", r->query ? r->query : "");
  if (!err)
    err = cxb_s3_headers(sum, &headers);
  if (!err && r->file)
    err = cxb_buf_str(&headers, "Content-Type: audio/wav\r\n");
  put->answered = r->answered;
  put->at = put->from;
  bool bytes = r->file && put->len > 0;
  cxb_http_options options = {.url = url.data,
                              .method = r->method,
                              .headers = headers.data,
                              .body = bytes ? NULL : r->body,
                              .body_len = r->body_len,
                              .upload = bytes,
                              .upload_len = put->len,
                              .timeout_ms = TOTAL_MS + (bytes ? put->len / SLOWEST_BYTES_MS : 0),
                              .connect_timeout_ms = CONNECT_MS,
                              .stall_ms = STALL_MS,
                              .sigv4 = put->sigv4,
                              .user = put->user,
                              .on_want = cxb_s3_feed,
                              .on_done = on_answer,
                              .arg = put};
  if (!err)
    err = cxb_http_call_start(&options, &put->call);
  cxb_buf_free(&url);
  cxb_buf_free(&headers);
  if (err)
    cxb_s3_fail(put, err, "");
}

/* ---- the steps ---- */

static void on_erased(cxb_s3_put *put, const cxb_http_answer *answer) {
  (void)answer;
  end(put,
      &(cxb_s3_result){.err = CXB_ENOENT, .gone = true, .detail = "the file was erased meanwhile"});
}

/* Whoever erased the file asked the store before the object was there. */
static void on_looked(cxb_s3_put *put) {
  if (put->job_err)
    cxb_s3_ask(put, &(cxb_s3_request){.method = "DELETE", .answered = on_erased});
  else
    end(put, &(cxb_s3_result){.status = 200, .detail = ""});
}

static void on_checked(cxb_s3_put *put, const cxb_http_answer *answer) {
  char *length = cxb_http_answer_header(answer, "content-length");
  int64_t size = length ? strtoll(length, NULL, 10) : -1;
  free(length);
  if (size == put->size) {
    cxb_s3_look(put, on_looked);
    return;
  }
  char words[80];
  snprintf(words, sizeof words, "the store has %lld of %lld bytes", (long long)size,
           (long long)put->size);
  cxb_s3_fail(put, CXB_EIO, words);
}

void cxb_s3_check(cxb_s3_put *put) {
  cxb_s3_ask(put, &(cxb_s3_request){.method = "HEAD", .answered = on_checked});
}

static void on_sent(cxb_s3_put *put, const cxb_http_answer *answer) {
  (void)answer;
  cxb_fault("upload.sent");
  cxb_s3_check(put);
}

static void on_hashed(cxb_s3_put *put) {
  if (put->job_err)
    cxb_s3_fail(put, put->job_err, "the file cannot be read");
  else
    cxb_s3_ask(put, &(cxb_s3_request){.method = "PUT", .file = true, .answered = on_sent});
}

static void on_opened(cxb_s3_put *put) {
  if (put->job_err) {
    end(put, &(cxb_s3_result){.err = put->job_err,
                              .gone = put->job_err == CXB_ENOENT,
                              .detail = "the file cannot be read"});
  } else if (put->size > CXB_S3_ONE_PUT_MAX) {
    cxb_s3_send_in_parts(put);
  } else {
    put->len = put->size;
    cxb_s3_hash(put, on_hashed);
  }
}

int cxb_s3_put_start(uv_loop_t *loop, const cxb_s3_settings *settings, const char *url,
                     const char *path, cxb_s3_done done, void *arg, cxb_s3_put **out) {
  cxb_s3_put *put = calloc(1, sizeof *put);
  cxb_buf user = {0};
  if (put) {
    put->fd = -1;
    put->url = strdup(url);
    put->path = strdup(path);
  }
  if (!put || !put->url || !put->path ||
      cxb_buf_printf(&user, "%s:%s", settings->access_key, settings->secret_key) != 0) {
    if (put)
      cxb_s3_free(put);
    return CXB_ENOMEM;
  }
  put->user = user.data;
  snprintf(put->sigv4, sizeof put->sigv4, "aws:amz:%.32s:s3", settings->region);
  put->loop = loop;
  put->done = done;
  put->arg = arg;
  *out = put;
  cxb_s3_open(put, on_opened);
  return 0;
}
