/* What the files of an S3 upload share. */
#pragma once
#include "../base/buf.h"
#include "../net/http_client.h"
#include "s3.h"

#define CXB_S3_ONE_PUT_MAX (64LL << 20) /* above it: parts */
#define CXB_S3_PART        (16LL << 20)

typedef void (*cxb_s3_then)(cxb_s3_put *put);
typedef void (*cxb_s3_answered)(cxb_s3_put *put, const cxb_http_answer *answer);

struct cxb_s3_put {
  uv_loop_t *loop;
  char *url, *path, *user;
  char sigv4[64];
  cxb_s3_done done;
  void *arg;
  int fd;
  int64_t size;
  bool cancelled;
  /* the request under way */
  cxb_http_call *call;
  cxb_s3_answered answered;
  int64_t from, len; /* the part of the file it sends */
  uint8_t sum[32];   /* of that part */
  /* the job under way, on the thread pool */
  bool busy;
  uv_work_t work;
  cxb_s3_then then;
  int job_err;
  int64_t at; /* read so far */
  char *piece;
  int64_t piece_len;
  /* of an upload in parts */
  char *upload_id; /* percent-encoded */
  int part;
  cxb_buf parts; /* XML of those that are there */
};

/* s3.c */
typedef struct cxb_s3_request {
  const char *method, *query; /* NULL: none */
  const void *body;           /* NULL: `put->len` bytes of the file from `put->from` when `file` */
  size_t body_len;
  bool file;
  cxb_s3_answered answered; /* of a 2xx; anything else ends the upload */
} cxb_s3_request;
void cxb_s3_ask(cxb_s3_put *put, const cxb_s3_request *request);
void cxb_s3_fail(cxb_s3_put *put, int err, const char *detail);
/* Asks for the object's size, erases it if the file was erased meanwhile, and ends. */
void cxb_s3_check(cxb_s3_put *put);
/* The text between <tag> and </tag>, copied to `out`; false: not there or too long. */
bool cxb_s3_xml(const cxb_http_answer *answer, const char *tag, char *out, size_t room);
/* Headers with the payload's hash. */
int cxb_s3_headers(const uint8_t sum[32], cxb_buf *out);

/* s3_file.c */
void cxb_s3_open(cxb_s3_put *put, cxb_s3_then then); /* size */
void cxb_s3_look(cxb_s3_put *put, cxb_s3_then then); /* CXB_ENOENT: it is not there any more */
void cxb_s3_hash(cxb_s3_put *put, cxb_s3_then then); /* sum of from, len */
void cxb_s3_feed(void *put);                         /* on_want: the next piece */
void cxb_s3_free(cxb_s3_put *put);                   /* when no job runs; else when it has ended */

/* s3_parts.c */
void cxb_s3_send_in_parts(cxb_s3_put *put);
void cxb_s3_abort_parts(cxb_s3_put *put); /* tells the store to forget them; nobody waits */
