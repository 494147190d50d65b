/* An S3 upload in parts: create, the parts one after the other, complete. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "s3_internal.h"

static void next_part(cxb_s3_put *put);

/* ---- the end ---- */

static void on_completed(cxb_s3_put *put, const cxb_http_answer *answer) {
  char code[64];
  if (cxb_s3_xml(answer, "Code", code, sizeof code)) { /* a 200 may still say that it failed */
    cxb_s3_fail(put, CXB_EIO, code);
    return;
  }
  free(put->upload_id);
  put->upload_id = NULL;
  cxb_s3_check(put);
}

static void complete(cxb_s3_put *put) {
  cxb_buf query = {0};
  int err = cxb_buf_str(&put->parts, "</CompleteMultipartUpload>");
  if (!err)
    err = cxb_buf_printf(&query, "uploadId=%s", put->upload_id);
  if (err)
    cxb_s3_fail(put, err, "");
  else
    cxb_s3_ask(put, &(cxb_s3_request){.method = "POST",
                                      .query = query.data,
                                      .body = put->parts.data,
                                      .body_len = put->parts.len,
                                      .answered = on_completed});
  cxb_buf_free(&query);
}

/* ---- the parts ---- */

static void on_part(cxb_s3_put *put, const cxb_http_answer *answer) {
  char *etag = cxb_http_answer_header(answer, "etag");
  int err = etag ? 0 : CXB_EPROTO;
  if (!err)
    err = cxb_buf_printf(&put->parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>",
                         put->part, etag);
  free(etag);
  put->from += put->len;
  if (err)
    cxb_s3_fail(put, err, "");
  else if (put->from < put->size)
    next_part(put);
  else
    complete(put);
}

static void on_hashed(cxb_s3_put *put) {
  cxb_buf query = {0};
  int err = put->job_err
                ? put->job_err
                : cxb_buf_printf(&query, "partNumber=%d&uploadId=%s", ++put->part, put->upload_id);
  if (err)
    cxb_s3_fail(put, err, "the file cannot be read");
  else
    cxb_s3_ask(put, &(cxb_s3_request){
                        .method = "PUT", .query = query.data, .file = true, .answered = on_part});
  cxb_buf_free(&query);
}

static void next_part(cxb_s3_put *put) {
  int64_t left = put->size - put->from;
  put->len = left < CXB_S3_PART ? left : CXB_S3_PART;
  cxb_s3_hash(put, on_hashed);
}

static int encode(const char *text, cxb_buf *out) {
  int err = 0;
  for (; *text && !err; text++) {
    unsigned char c = (unsigned char)*text;
    bool plain = (isalnum(c) && c < 128) || strchr("-._~", c);
    err = plain ? cxb_buf_add(out, text, 1) : cxb_buf_printf(out, "%%%02X", c);
  }
  return err;
}

static void on_created(cxb_s3_put *put, const cxb_http_answer *answer) {
  char id[1024];
  cxb_buf encoded = {0};
  int err = cxb_s3_xml(answer, "UploadId", id, sizeof id) ? encode(id, &encoded) : CXB_EPROTO;
  if (!err)
    err = cxb_buf_str(&put->parts, "<CompleteMultipartUpload>");
  put->upload_id = encoded.data;
  put->from = 0;
  if (err)
    cxb_s3_fail(put, err, "an upload in parts was not begun");
  else
    next_part(put);
}

/* The sign after "uploads" is there for the signature, which knows names with values only. */
void cxb_s3_send_in_parts(cxb_s3_put *put) {
  cxb_s3_ask(put, &(cxb_s3_request){
                      .method = "POST", .query = "uploads=", .body = "", .answered = on_created});
}

/* ---- giving up ---- */

static void on_aborted(void *arg, int err, const char *message, const cxb_http_answer *answer) {
  (void)arg;
  (void)err;
  (void)message;
  (void)answer;
}

void cxb_s3_abort_parts(cxb_s3_put *put) {
  if (!put->upload_id)
    return;
  uint8_t nothing[32];
  cxb_sha256("", 0, nothing);
  cxb_buf url = {0}, headers = {0};
  if (cxb_buf_printf(&url, "%s?uploadId=%s", put->url, put->upload_id) == 0 &&
      cxb_s3_headers(nothing, &headers) == 0)
    cxb_http_call_start(&(cxb_http_options){.url = url.data,
                                            .method = "DELETE",
                                            .headers = headers.data,
                                            .timeout_ms = 5000,
                                            .sigv4 = put->sigv4,
                                            .user = put->user,
                                            .on_done = on_aborted},
                        NULL);
  cxb_buf_free(&url);
  cxb_buf_free(&headers);
}
