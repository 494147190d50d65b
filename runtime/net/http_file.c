/* Files as answers. Reading happens on the thread pool, 64 KiB at a time, no faster than the peer
 * takes it; a peer that leaves stops the reading. */
#include "http_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "../base/err.h"
#include "../host/host.h"
#include "http_internal.h"

enum { PIECE = 65536 };

typedef struct sending {
  uv_work_t work;
  cxb_http_request *req;
  char *path, *headers;
  void (*done)(void *arg, int err);
  void *arg;
  int fd, err;
  struct stat st;
  int64_t at, end; /* next byte to read, byte behind the last */
  ssize_t got;
  char piece[PIECE];
} sending;

/* Digits at *p as a number, CXB_EINVAL when there are none; what no file has bytes for is that. */
static int64_t number(const char **p) {
  int64_t n = 0;
  const char *start = *p;
  for (; **p >= '0' && **p <= '9'; (*p)++)
    n = n < INT64_MAX / 10 ? n * 10 + (**p - '0') : INT64_MAX / 10;
  return *p == start ? CXB_EINVAL : n;
}

cxb_range cxb_http_range(const char *h, int64_t size, int64_t *first, int64_t *last) {
  if (!h || strncmp(h, "bytes=", 6) != 0)
    return CXB_RANGE_WHOLE;
  h += 6;
  int64_t from = number(&h);
  if (*h++ != '-')
    return CXB_RANGE_WHOLE;
  int64_t to = number(&h);
  if (*h != '\0' || (from < 0 && to < 0))
    return CXB_RANGE_WHOLE;
  if (from >= 0 && to >= 0 && to < from)
    return CXB_RANGE_UNSATISFIABLE;
  if (from < 0) { /* the last `to` bytes */
    if (to == 0 || size == 0)
      return CXB_RANGE_UNSATISFIABLE;
    from = to >= size ? 0 : size - to;
    to = size - 1;
  }
  if (from >= size)
    return CXB_RANGE_UNSATISFIABLE;
  *first = from;
  *last = to < 0 || to >= size ? size - 1 : to;
  return CXB_RANGE_PART;
}

static void finish(sending *s, int err) {
  if (s->fd >= 0)
    close(s->fd);
  s->done(s->arg, err);
  cxb_http_request_unref(s->req);
  free(s->path);
  free(s->headers);
  free(s);
}

static void read_next(sending *s);

static void on_writable(cxb_http_request *req, void *arg) {
  (void)req;
  read_next(arg);
}

static void work_read(uv_work_t *w) {
  sending *s = w->data;
  int64_t left = s->end - s->at;
  s->got = pread(s->fd, s->piece, (size_t)(left < PIECE ? left : PIECE), s->at);
  s->err = s->got < 0 ? cxb_err_from_errno(errno) : 0;
}

static void on_read(uv_work_t *w, int status) {
  (void)status;
  sending *s = w->data;
  if (s->err || s->got == 0) { /* shorter than announced: the answer cannot be completed */
    cxb_http_abort(s->req);
    finish(s, s->err ? s->err : CXB_EIO);
    return;
  }
  s->at += s->got;
  int err = cxb_http_write(s->req, s->piece, (size_t)s->got);
  if (err == CXB_EAGAIN)
    cxb_http_wait_writable(s->req, on_writable, s);
  else if (err)
    finish(s, err);
  else
    read_next(s);
}

static void read_next(sending *s) {
  if (!s->req->conn)
    finish(s, CXB_ECLOSED);
  else if (s->at >= s->end)
    finish(s, cxb_http_finish(s->req));
  else
    uv_queue_work(cxb_loop(), &s->work, work_read, on_read);
}

/* The conditional and range headers decide what is sent. */
static void begin(sending *s) {
  char etag[64], head[1024];
  int64_t size = s->st.st_size, first = 0, last = size - 1;
  snprintf(etag, sizeof etag, "\"%llx-%llx%09lx\"", (unsigned long long)size,
           (unsigned long long)s->st.st_mtim.tv_sec, s->st.st_mtim.tv_nsec);
  const char *none_match = cxb_http_header(s->req, "if-none-match");
  const char *if_range = cxb_http_header(s->req, "if-range");
  cxb_range range = CXB_RANGE_WHOLE;
  if (!if_range || strcmp(if_range, etag) == 0)
    range = cxb_http_range(cxb_http_header(s->req, "range"), size, &first, &last);
  int n = snprintf(head, sizeof head, "Accept-Ranges: bytes\r\nETag: %s\r\n%s", etag,
                   s->headers ? s->headers : "");
  if (n < 0 || n + 100 > (int)sizeof head) {
    finish(s, cxb_http_respond(s->req, 500, NULL, NULL, 0));
    return;
  }
  if (none_match && (strcmp(none_match, "*") == 0 || strstr(none_match, etag))) {
    finish(s, cxb_http_respond(s->req, 304, head, NULL, 0));
    return;
  }
  if (range == CXB_RANGE_UNSATISFIABLE) {
    snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes */%lld\r\n", (long long)size);
    finish(s, cxb_http_respond(s->req, 416, head, NULL, 0));
    return;
  }
  if (range == CXB_RANGE_PART)
    snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %lld-%lld/%lld\r\n",
             (long long)first, (long long)last, (long long)size);
  s->at = first;
  s->end = last + 1;
  int err = cxb_http_start(s->req, range == CXB_RANGE_PART ? 206 : 200, head, s->end - s->at);
  if (err)
    finish(s, err);
  else if (s->req->no_body)
    finish(s, cxb_http_finish(s->req));
  else
    read_next(s);
}

static void work_open(uv_work_t *w) {
  sending *s = w->data;
  s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (s->fd < 0 || fstat(s->fd, &s->st) != 0)
    s->err = errno == ELOOP ? CXB_ENOENT : cxb_err_from_errno(errno);
  else if (!S_ISREG(s->st.st_mode))
    s->err = CXB_ENOENT;
}

static void on_open(uv_work_t *w, int status) {
  (void)status;
  sending *s = w->data;
  if (s->err)
    finish(s, s->err);
  else
    begin(s);
}

int cxb_http_send_file(cxb_http_request *req, const char *path, const char *headers,
                       void (*done)(void *arg, int err), void *arg) {
  sending *s = calloc(1, sizeof *s);
  if (!s)
    return CXB_ENOMEM;
  s->fd = -1;
  s->path = strdup(path);
  s->headers = headers ? strdup(headers) : NULL;
  if (!s->path || (headers && !s->headers)) {
    free(s->path);
    free(s);
    return CXB_ENOMEM;
  }
  s->req = req;
  s->done = done;
  s->arg = arg;
  s->work.data = s;
  cxb_http_request_ref(req);
  uv_queue_work(cxb_loop(), &s->work, work_open, on_open);
  return 0;
}
