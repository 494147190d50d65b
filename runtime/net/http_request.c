/* HTTP server: what a request says, its body, and the way out of HTTP. */
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "http_internal.h"

void cxb_http_request_ref(cxb_http_request *req) {
  req->refs++;
}

/* Requests that ended wait here for the next, with the memory of their bodies. */
enum { SPARE_REQUESTS = 64, SPARE_BODY = 4096 };
static cxb_http_request *spare;
static int spare_count;

cxb_http_request *cxb_http_request_new(cxb_http_conn *conn) {
  cxb_http_request *req = spare;
  cxb_buf body = {0};
  if (req) {
    spare = req->next_spare;
    spare_count--;
    body = req->body;
  } else {
    req = malloc(sizeof *req);
    if (!req)
      return NULL;
  }
  /* The spans count as far as header_count says. */
  memset(req, 0, offsetof(cxb_http_request, names));
  memset(&req->header_count, 0, sizeof *req - offsetof(cxb_http_request, header_count));
  req->body = body;
  req->conn = conn;
  req->refs = 1;
  return req;
}

void cxb_http_request_unref(cxb_http_request *req) {
  if (--req->refs > 0)
    return;
  if (req->head != req->short_head)
    free(req->head);
  if (req->path != req->short_path)
    free(req->path);
  if (req->body.cap > SPARE_BODY)
    cxb_buf_free(&req->body);
  if (spare_count < SPARE_REQUESTS) {
    cxb_buf_clear(&req->body);
    req->next_spare = spare;
    spare = req;
    spare_count++;
  } else {
    cxb_buf_free(&req->body);
    free(req);
  }
}

void cxb_http_request_free_spare(void) {
  while (spare) {
    cxb_http_request *req = spare;
    spare = req->next_spare;
    cxb_buf_free(&req->body);
    free(req);
  }
  spare_count = 0;
}

const char *cxb_http_span_at(const cxb_http_request *req, cxb_http_span span) {
  const char *base = req->head ? req->head : req->conn ? req->conn->in.data : NULL;
  return base ? base + span.at : "";
}

static void wake(cxb_http_request *req) {
  void (*on_body)(cxb_http_request *, void *) = req->on_body;
  void (*on_writable)(cxb_http_request *, void *) = req->on_writable;
  req->on_body = req->on_writable = NULL;
  if (on_body)
    on_body(req, req->on_body_arg);
  if (on_writable)
    on_writable(req, req->on_writable_arg);
}

/* Ends the counting of a request once: answered, taken, or its peer gone. */
static void settle(cxb_http_request *req) {
  if (!req->dispatched || req->finished)
    return;
  req->finished = true;
  cxb_http_count_change(-1);
}

static void keep_head(cxb_http_request *req) {
  cxb_http_conn *c = req->conn;
  if (req->head || !c || req->refs <= 1)
    return;
  cxb_http_remote(req);
  size_t len = req->head_len && req->head_len < c->in.len ? req->head_len : c->in.len;
  req->head = len < sizeof req->short_head ? req->short_head : malloc(len + 1);
  if (!req->head) { /* then it says nothing any more */
    req->header_count = 0;
    req->url.len = req->query_at = 0;
    return;
  }
  memcpy(req->head, c->in.data, len);
  req->head[len] = '\0';
}

void cxb_http_request_detach(cxb_http_request *req) {
  keep_head(req);
  req->conn = NULL;
  req->deserted = !req->started && !req->finished;
  settle(req);
  wake(req);
  cxb_http_request_unref(req);
}

/* ---- what it says ---- */

const char *cxb_http_method(const cxb_http_request *req) {
  return http_method_str((enum http_method)req->method);
}

static int hex_value(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* Percent-decodes `len` bytes; %00 and broken escapes stay as they are. */
static char *decode_path(cxb_http_request *req, const char *p, size_t len) {
  char *out = len < sizeof req->short_path ? req->short_path : malloc(len + 1), *o = out;
  if (!out)
    return NULL;
  for (size_t i = 0; i < len; i++) {
    int hi = p[i] == '%' && i + 2 < len ? hex_value(p[i + 1]) : -1;
    int lo = hi >= 0 ? hex_value(p[i + 2]) : -1;
    if (lo >= 0 && (hi || lo)) {
      *o++ = (char)(hi << 4 | lo);
      i += 2;
    } else {
      *o++ = p[i];
    }
  }
  *o = '\0';
  return out;
}

static void split_url(cxb_http_request *req) {
  const char *url = cxb_http_span_at(req, req->url);
  size_t len = req->url.len;
  if (len > 0 && *url != '/') { /* absolute form: http://host/path */
    const char *scheme = memmem(url, len, "://", 3);
    const char *slash = scheme ? memchr(scheme + 3, '/', len - (size_t)(scheme + 3 - url)) : NULL;
    len = slash ? len - (size_t)(slash - url) : 0;
    url = slash ? slash : url;
  }
  const char *mark = len ? memchr(url, '?', len) : NULL;
  const char *hash = len ? memchr(url, '#', len) : NULL;
  size_t path_len = mark ? (size_t)(mark - url) : hash ? (size_t)(hash - url) : len;
  req->path = decode_path(req, path_len ? url : "/", path_len ? path_len : 1);
  if (mark)
    req->query_at = (uint32_t)(mark + 1 - cxb_http_span_at(req, (cxb_http_span){0, 0}));
}

const char *cxb_http_path(const cxb_http_request *req) {
  if (!req->path)
    split_url((cxb_http_request *)req);
  return req->path ? req->path : "/";
}

const char *cxb_http_query_span(const cxb_http_request *req, size_t *len) {
  cxb_http_path(req);
  *len = 0;
  if (!req->query_at)
    return "";
  *len = req->url.at + req->url.len - req->query_at;
  return cxb_http_span_at(req, (cxb_http_span){req->query_at, 0});
}

const char *cxb_http_query(const cxb_http_request *req) {
  size_t len;
  const char *p = cxb_http_query_span(req, &len);
  static char copy[65536];
  if (len >= sizeof copy)
    return "";
  memcpy(copy, p, len);
  copy[len] = '\0';
  return copy;
}

static bool name_is(const cxb_http_request *req, int i, const char *name, size_t len) {
  return req->names[i].len == len &&
         strncasecmp(cxb_http_span_at(req, req->names[i]), name, len) == 0;
}

bool cxb_http_header_span(const cxb_http_request *req, const char *name, const char **value,
                          size_t *len) {
  size_t name_len = strlen(name);
  for (int i = 0; i < req->header_count; i++)
    if (name_is(req, i, name, name_len)) {
      *value = cxb_http_span_at(req, req->values[i]);
      *len = req->values[i].len;
      return true;
    }
  return false;
}

const char *cxb_http_header(const cxb_http_request *req, const char *name) {
  /* An upgrade's head goes on to the WebSocket code as it came: look, but leave no NUL in it. */
  static char copies[4][8192];
  static unsigned next;
  const char *value;
  size_t len;
  if (!cxb_http_header_span(req, name, &value, &len))
    return NULL;
  char *copy = copies[next++ % 4];
  if (len >= sizeof copies[0])
    len = sizeof copies[0] - 1;
  memcpy(copy, value, len);
  while (len > 0 && (copy[len - 1] == ' ' || copy[len - 1] == '\t'))
    len--;
  copy[len] = '\0';
  return copy;
}

/* Is `token` an element of the comma-separated list? */
static bool has_token(const char *list, const char *token) {
  size_t len = strlen(token);
  for (const char *p = list; p && *p;) {
    p += strspn(p, " \t,");
    size_t n = strcspn(p, ",");
    size_t trimmed = n;
    while (trimmed > 0 && (p[trimmed - 1] == ' ' || p[trimmed - 1] == '\t'))
      trimmed--;
    if (trimmed == len && strncasecmp(p, token, len) == 0)
      return true;
    p += n;
  }
  return false;
}

bool cxb_http_valid_upgrade(const cxb_http_request *req) {
  const char *upgrade = cxb_http_header(req, "upgrade"), *conn = cxb_http_header(req, "connection");
  if (req->method != HTTP_GET || !req->http11 || !has_token(upgrade, "websocket") ||
      !has_token(conn, "upgrade"))
    return false;
  const char *key = cxb_http_header(req, "sec-websocket-key");
  const char *version = cxb_http_header(req, "sec-websocket-version");
  return key && strlen(key) == 24 && version && strcmp(version, "13") == 0;
}

bool cxb_http_is_upgrade(const cxb_http_request *req) {
  return req->websocket;
}

static bool good_id(const char *id, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (!((id[i] >= 'a' && id[i] <= 'z') || (id[i] >= 'A' && id[i] <= 'Z') ||
          (id[i] >= '0' && id[i] <= '9') || id[i] == '_' || id[i] == '-'))
      return false;
  return len >= 8 && len < sizeof((cxb_http_request *)0)->id;
}

const char *cxb_http_request_id(cxb_http_request *req) {
  if (req->id[0])
    return req->id;
  const char *given = cxb_http_header(req, "x-request-id");
  if (given && good_id(given, strlen(given)))
    strcpy(req->id, given);
  else
    cxb_uuid7(req->id);
  return req->id;
}

/* ---- body ---- */

size_t cxb_http_body_ready(cxb_http_request *req, bool *end, bool *gone) {
  *end = req->complete;
  *gone = !req->conn && !req->complete;
  return req->body.len;
}

const char *cxb_http_body_data(const cxb_http_request *req) {
  return req->body.data ? req->body.data : "";
}

void cxb_http_body_drop(cxb_http_request *req) {
  if (req->body.cap > SPARE_BODY)
    cxb_buf_free(&req->body);
  else
    cxb_buf_clear(&req->body);
  if (req->conn && !req->complete)
    cxb_http_conn_resume_reading(req->conn);
}

void cxb_http_wait_body(cxb_http_request *req, void (*fn)(cxb_http_request *, void *), void *arg) {
  req->on_body = fn;
  req->on_body_arg = arg;
  cxb_http_conn *c = req->conn;
  if (c && req->expect_continue && !req->started && req->body_total == 0) {
    req->expect_continue = false;
    cxb_buf_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    cxb_http_conn_flush(c);
  }
  if (req->conn)
    cxb_http_conn_resume_reading(req->conn);
}

void cxb_http_wait_writable(cxb_http_request *req, void (*fn)(cxb_http_request *, void *),
                            void *arg) {
  req->on_writable = fn;
  req->on_writable_arg = arg;
}

/* ---- away from HTTP ---- */

int cxb_http_take_socket(cxb_http_request *req, int *fd, char **head, size_t *head_len) {
  cxb_http_conn *c = req->conn;
  uv_os_fd_t own;
  if (!c || !req->websocket || req->started || req->taken || uv_fileno(&c->handle, &own) != 0)
    return CXB_EINVAL;
  char *copy = malloc(c->in.len + 1);
  int dup_fd = copy ? fcntl(own, F_DUPFD_CLOEXEC, 0) : -1;
  if (dup_fd < 0) {
    free(copy);
    return CXB_ENOMEM;
  }
  memcpy(copy, c->in.data, c->in.len);
  copy[c->in.len] = '\0';
  *fd = dup_fd;
  *head = copy;
  *head_len = c->in.len;
  req->taken = req->started = true;
  req->status = 101;
  cxb_http_conn_close(c); /* closes our descriptor only: the duplicate keeps the socket */
  return 0;
}
