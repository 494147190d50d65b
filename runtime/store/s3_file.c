/* The file of an S3 upload, on the thread pool. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "s3_internal.h"

enum { PIECE = 128 << 10 };

void cxb_s3_free(cxb_s3_put *put) {
  put->cancelled = true;
  if (put->busy)
    return;
  if (put->fd >= 0)
    close(put->fd);
  cxb_buf_free(&put->parts);
  free(put->piece);
  free(put->upload_id);
  free(put->user);
  free(put->url);
  free(put->path);
  free(put);
}

static void job_done(uv_work_t *work, int status) {
  (void)status;
  cxb_s3_put *put = work->data;
  put->busy = false;
  if (put->cancelled)
    cxb_s3_free(put);
  else
    put->then(put);
}

static void run(cxb_s3_put *put, uv_work_cb job, cxb_s3_then then) {
  put->busy = true;
  put->then = then;
  put->work.data = put;
  uv_queue_work(put->loop, &put->work, job, job_done);
}

static void open_job(uv_work_t *work) {
  cxb_s3_put *put = work->data;
  struct stat st;
  put->job_err = 0;
  put->fd = open(put->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (put->fd < 0 || fstat(put->fd, &st) != 0)
    put->job_err = cxb_err_from_errno(errno);
  else if (!S_ISREG(st.st_mode))
    put->job_err = CXB_ENOENT;
  else
    put->size = st.st_size;
}

void cxb_s3_open(cxb_s3_put *put, cxb_s3_then then) {
  run(put, open_job, then);
}

static void look_job(uv_work_t *work) {
  cxb_s3_put *put = work->data;
  struct stat st;
  put->job_err = lstat(put->path, &st) != 0 && errno == ENOENT ? CXB_ENOENT : 0;
}

void cxb_s3_look(cxb_s3_put *put, cxb_s3_then then) {
  run(put, look_job, then);
}

/* Reads up to PIECE bytes at `at`; CXB_EIO when the file ends before it should. */
static int read_piece(cxb_s3_put *put) {
  int64_t left = put->from + put->len - put->at;
  size_t want = left < PIECE ? (size_t)left : PIECE;
  if (!put->piece && !(put->piece = malloc(PIECE)))
    return CXB_ENOMEM;
  ssize_t n;
  do
    n = pread(put->fd, put->piece, want, put->at);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return cxb_err_from_errno(errno);
  put->piece_len = n;
  put->at += n;
  return n == 0 && want > 0 ? CXB_EIO : 0;
}

static void hash_job(uv_work_t *work) {
  cxb_s3_put *put = work->data;
  cxb_sha256_sum *sum = cxb_sha256_begin();
  put->job_err = sum ? 0 : CXB_ENOMEM;
  put->at = put->from;
  while (!put->job_err && put->at < put->from + put->len) {
    put->job_err = read_piece(put);
    if (!put->job_err)
      cxb_sha256_add(sum, put->piece, (size_t)put->piece_len);
  }
  if (sum)
    cxb_sha256_end(sum, put->sum);
}

void cxb_s3_hash(cxb_s3_put *put, cxb_s3_then then) {
  run(put, hash_job, then);
}

/* ---- sending ---- */

static void piece_job(uv_work_t *work) {
  cxb_s3_put *put = work->data;
  put->job_err = read_piece(put);
}

static void send_piece(cxb_s3_put *put) {
  if (!put->call) /* the store answered before it had all */
    return;
  if (put->job_err) {
    cxb_http_call_cancel(put->call);
    put->call = NULL;
    cxb_s3_fail(put, put->job_err, "the file cannot be read");
  } else {
    cxb_http_call_send(put->call, put->piece, (size_t)put->piece_len);
  }
}

void cxb_s3_feed(void *arg) {
  cxb_s3_put *put = arg;
  if (!put->busy && put->at < put->from + put->len)
    run(put, piece_job, send_piece);
}
