/* HTTP server: answers. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../base/err.h"
#include "http_internal.h"

static const char *reason_of(int status) {
  switch (status) {
#define X(num, name, string)                                                                       \
  case num:                                                                                        \
    return #string;
    HTTP_STATUS_MAP(X)
#undef X
  default:
    return "Status";
  }
}

static const char *date_line(void) {
  static char line[48];
  static time_t at;
  time_t now = time(NULL);
  if (now != at) {
    struct tm tm;
    at = now;
    gmtime_r(&now, &tm);
    strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
  }
  return line;
}

static bool bodyless(const cxb_http_request *req, int status) {
  return req->method == HTTP_HEAD || status == 204 || status == 304 || status < 200;
}

/* A number that is not negative, and what follows it. Every answer has two: printf() would be felt.
 */
static void put_number(cxb_buf *out, int64_t n, const char *after) {
  char digits[24], *p = digits + sizeof digits;
  do
    *--p = (char)('0' + n % 10);
  while (n /= 10);
  cxb_buf_add(out, p, (size_t)(digits + sizeof digits - p));
  cxb_buf_str(out, after);
}

/* The head of an answer; length < 0 and HTTP/1.1: chunked; HTTP/1.0: until the end of connection.
 */
static void put_head(cxb_http_request *req, int status, const char *headers, int64_t length) {
  cxb_buf *out = &req->conn->out;
  req->started = true;
  req->status = status;
  req->no_body = bodyless(req, status);
  req->chunked = length < 0 && req->http11 && !req->no_body;
  if (length < 0 && !req->http11)
    req->keep_alive = false;
  if (!req->complete) /* the rest of the body is not waited for */
    req->keep_alive = false;
  cxb_buf_str(out, "HTTP/1.1 ");
  put_number(out, status, " ");
  cxb_buf_str(out, reason_of(status));
  cxb_buf_str(out, "\r\n");
  cxb_buf_str(out, date_line());
  if (headers)
    cxb_buf_str(out, headers);
  if (length >= 0 && status != 204 && status >= 200) {
    cxb_buf_str(out, "Content-Length: ");
    put_number(out, length, "\r\n");
  } else if (req->chunked) {
    cxb_buf_str(out, "Transfer-Encoding: chunked\r\n");
  }
  if (!req->keep_alive)
    cxb_buf_str(out, "Connection: close\r\n");
  else if (!req->http11)
    cxb_buf_str(out, "Connection: keep-alive\r\n");
  cxb_buf_str(out, "\r\n");
}

static int done(cxb_http_request *req) {
  cxb_http_conn *c = req->conn;
  if (req->dispatched && !req->finished)
    cxb_http_count_change(-1);
  req->finished = true;
  cxb_http_conn_request_done(c);
  if (!c->closing)
    cxb_http_conn_flush(c);
  return 0;
}

int cxb_http_respond(cxb_http_request *req, int status, const char *headers, const void *body,
                     size_t len) {
  if (req->deserted)
    return CXB_ECLOSED;
  if (req->started || req->finished)
    return CXB_EINVAL;
  if (!req->conn)
    return CXB_ECLOSED;
  put_head(req, status, headers, (int64_t)len);
  if (!req->no_body && cxb_buf_add(&req->conn->out, body, len) != 0)
    return CXB_ENOMEM;
  return done(req);
}

void cxb_http_refuse(cxb_http_request *req, int status, const char *code, const char *message,
                     int retry) {
  cxb_buf headers = {0}, body = {0};
  cxb_buf_str(&headers, "Content-Type: application/json\r\n");
  if (message)
    cxb_buf_printf(&headers,
                   "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                   "Referrer-Policy: no-referrer\r\nX-Request-ID: %s\r\n",
                   cxb_http_request_id(req));
  if (retry > 0)
    cxb_buf_printf(&headers, "Retry-After: %d\r\n", retry);
  cxb_buf_printf(&body, "{\"error\":\"%s\"", code);
  if (message)
    cxb_buf_printf(&body, ",\"message\":\"%s\",\"detail\":\"%s\",\"request_id\":\"%s\"", message,
                   message, cxb_http_request_id(req));
  cxb_buf_str(&body, "}");
  cxb_http_respond(req, status, headers.data, body.data, body.len);
  cxb_buf_free(&headers);
  cxb_buf_free(&body);
}

int cxb_http_start(cxb_http_request *req, int status, const char *headers, int64_t length) {
  if (req->deserted)
    return CXB_ECLOSED;
  if (req->started || req->finished)
    return CXB_EINVAL;
  if (!req->conn)
    return CXB_ECLOSED;
  put_head(req, status, headers, length);
  cxb_http_conn_flush(req->conn);
  return 0;
}

int cxb_http_write(cxb_http_request *req, const void *data, size_t len) {
  cxb_http_conn *c = req->conn;
  if (!c)
    return CXB_ECLOSED;
  if (!req->started || req->finished)
    return CXB_EINVAL;
  if (req->no_body || len == 0)
    return 0;
  if (req->chunked)
    cxb_buf_printf(&c->out, "%zx\r\n", len);
  if (cxb_buf_add(&c->out, data, len) != 0)
    return CXB_ENOMEM;
  if (req->chunked)
    cxb_buf_str(&c->out, "\r\n");
  if (c->out.len > CXB_HTTP_WRITE_HIGH)
    cxb_http_conn_push(c); /* one that writes on without waiting is told so */
  else
    cxb_http_conn_flush(c);
  return c->closing ? CXB_ECLOSED : c->in_flight > CXB_HTTP_WRITE_HIGH ? CXB_EAGAIN : 0;
}

int cxb_http_finish(cxb_http_request *req) {
  if (!req->conn)
    return CXB_ECLOSED;
  if (!req->started || req->finished)
    return CXB_EINVAL;
  if (req->chunked)
    cxb_buf_str(&req->conn->out, "0\r\n\r\n");
  return done(req);
}

void cxb_http_abort(cxb_http_request *req) {
  if (req->conn)
    cxb_http_conn_close(req->conn);
}
