/* HTTP server: from bytes to requests. A request's head stays where it was read; its tokens are
 * offsets into the connection's input. */
#include <string.h>
#include <strings.h>

#include "http_internal.h"

/* Bytes of the headers, and of the URL beside them: a call's connected_event travels in one. */
enum { MAX_HEAD = 16384, LARGE_HEAD = 32768, MAX_URL = 32768 };

static cxb_http_handler on_request;
static cxb_http_rule may_be_large;

void cxb_http_set_handler(cxb_http_handler handler) {
  on_request = handler;
}

void cxb_http_set_large_heads(cxb_http_rule allowed) {
  may_be_large = allowed;
}

/* The head lies in one piece, so pieces of one token touch; a folded header line does not and is
 * refused (RFC 9112 §5.2). */
static int extend(cxb_http_conn *c, cxb_http_span *span, bool fresh, const char *at, size_t len) {
  uint32_t offset = (uint32_t)(at - c->in.data);
  if (fresh)
    *span = (cxb_http_span){offset, (uint32_t)len};
  else if (len > 0 && offset != span->at + span->len)
    return -1;
  else
    span->len += (uint32_t)len;
  return 0;
}

static int on_url(http_parser *p, const char *at, size_t len) {
  cxb_http_conn *c = p->data;
  return extend(c, &c->req->url, c->req->url.len == 0, at, len);
}

static int on_field(http_parser *p, const char *at, size_t len) {
  cxb_http_conn *c = p->data;
  cxb_http_request *r = c->req;
  if (r->head_done)
    return 0; /* trailers of a chunked body say nothing to us */
  if (r->header_count == 0 || c->in_value) {
    if (r->header_count == CXB_HTTP_MAX_HEADERS)
      return -1;
    r->header_count++;
    c->in_value = false;
    return extend(c, &r->names[r->header_count - 1], true, at, len);
  }
  return extend(c, &r->names[r->header_count - 1], false, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len) {
  cxb_http_conn *c = p->data;
  if (c->req->head_done)
    return 0;
  cxb_http_span *v = &c->req->values[c->req->header_count - 1];
  bool fresh = !c->in_value;
  c->in_value = true;
  return extend(c, v, fresh, at, len);
}

/* Bytes up to and with the empty line that ends the head. */
static size_t head_end(const cxb_http_conn *c, const cxb_http_request *r) {
  cxb_http_span last = r->header_count ? r->values[r->header_count - 1] : r->url;
  if (r->header_count && last.len == 0) /* an empty value has no place of its own */
    last = r->names[r->header_count - 1];
  const char *p = c->in.data + last.at + last.len, *end = c->in.data + c->in.len;
  for (int line = 0; line < 2 && p; line++) {
    p = memchr(p, '\n', (size_t)(end - p));
    if (p)
      p++;
  }
  return p ? (size_t)(p - c->in.data) : c->in.len;
}

/* Debian's http_parser lets blanks and more into names of headers. A blank before the colon makes
 * another server see another header, so all but RFC 9110's tokens are refused. */
static bool is_token(const char *s, size_t len) {
  static const char marks[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < len; i++)
    if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
          (s[i] >= '0' && s[i] <= '9') || (s[i] && strchr(marks, s[i]))))
      return false;
  return len > 0;
}

static int on_head_done(http_parser *p) {
  cxb_http_conn *c = p->data;
  cxb_http_request *r = c->req;
  for (int i = 0; i < r->header_count; i++)
    if (!is_token(c->in.data + r->names[i].at, r->names[i].len))
      return -1;
  r->head_done = true;
  r->head_len = head_end(c, r);
  r->method = (uint8_t)p->method;
  r->http11 = p->http_major == 1 && p->http_minor >= 1;
  r->upgrade = p->upgrade;
  r->keep_alive = http_should_keep_alive(p) && !r->upgrade && !cxb_http_stopping();
  const char *expect = cxb_http_header(r, "expect");
  r->expect_continue = r->http11 && expect && strcasecmp(expect, "100-continue") == 0;
  cxb_http_conn_expect_body(c);
  return 0;
}

static int on_body_bytes(http_parser *p, const char *at, size_t len) {
  cxb_http_request *r = ((cxb_http_conn *)p->data)->req;
  r->body_total += len;
  return cxb_buf_add(&r->body, at, len) == 0 ? 0 : -1;
}

static int on_complete(http_parser *p) {
  cxb_http_conn *c = p->data;
  c->req->complete = true;
  http_parser_pause(p, 1);
  return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head_done,
    .on_body = on_body_bytes,
    .on_message_complete = on_complete,
};

static bool new_request(cxb_http_conn *c) {
  cxb_http_request *r = cxb_http_request_new(c);
  if (!r)
    return false;
  c->req = r;
  c->in_value = false;
  http_parser_init(&c->parser, HTTP_REQUEST);
  c->parser.data = c;
  return true;
}

static void wake_body(cxb_http_request *r) {
  if (!r->on_body || (r->body.len == 0 && !r->complete))
    return;
  void (*fn)(cxb_http_request *, void *) = r->on_body;
  r->on_body = NULL;
  fn(r, r->on_body_arg);
}

void cxb_http_parse_reject(cxb_http_conn *c, int status, const char *code, const char *message) {
  c->req->keep_alive = false;
  if (c->req->started)
    cxb_http_conn_close(c);
  else
    cxb_http_refuse(c->req, status, code, message, 0);
}

/* Body bytes were copied out; behind the head only what is not parsed stays. */
static void drop_parsed_body(cxb_http_conn *c, size_t head_len) {
  if (c->parsed <= head_len)
    return;
  size_t rest = c->in.len - c->parsed;
  memmove(c->in.data + head_len, c->in.data + c->parsed, rest);
  c->in.len = head_len + rest;
  c->parsed = head_len;
}

static void reject_head(cxb_http_conn *c) {
  cxb_http_parse_reject(c, 431, "headers_too_large", "The headers are too large.");
}

static bool parse_error(cxb_http_conn *c) {
  enum http_errno err = HTTP_PARSER_ERRNO(&c->parser);
  if (err == HPE_OK || err == HPE_PAUSED)
    return false;
  bool too_big = c->req->header_count == CXB_HTTP_MAX_HEADERS || err == HPE_HEADER_OVERFLOW;
  if (too_big)
    reject_head(c);
  else
    cxb_http_parse_reject(c, 400, "bad_request", "This is no HTTP/1.1 request.");
  return true;
}

static bool head_fits(cxb_http_request *r) {
  size_t len = r->head_len - r->url.len;
  return len <= MAX_HEAD || (len <= LARGE_HEAD && may_be_large && may_be_large(r));
}

static void dispatch(cxb_http_conn *c) {
  cxb_http_request *r = c->req;
  r->dispatched = true;
  r->began_ms = cxb_http_clock();
  r->websocket = r->upgrade && cxb_http_valid_upgrade(r);
  cxb_http_count_change(1);
  cxb_http_request_ref(r);
  if (on_request)
    on_request(r);
  else
    cxb_http_refuse(r, 503, "starting", "It is still starting.", 1);
  cxb_http_request_unref(r);
}

/* Feeds what was read to the parser, one request after another, until one has to be waited for. */
void cxb_http_parse(cxb_http_conn *c) {
  while (!c->closing && !c->lingering) {
    if (!c->req && (c->in.len == 0 || !new_request(c)))
      return;
    cxb_http_request *r = c->req;
    if (r->complete && r->dispatched)
      return; /* its answer comes first */
    if (c->parsed < c->in.len && !r->complete) {
      size_t n =
          http_parser_execute(&c->parser, &settings, c->in.data + c->parsed, c->in.len - c->parsed);
      c->parsed += n;
      if (parse_error(c))
        return;
    }
    if (!r->head_done) {
      if (c->in.len > LARGE_HEAD + MAX_URL)
        reject_head(c);
      return;
    }
    if (!r->dispatched && r->url.len > MAX_URL) {
      cxb_http_parse_reject(c, 414, "uri_too_long", "The URL is too long.");
      return;
    }
    if (!r->dispatched && !head_fits(r)) {
      reject_head(c);
      return;
    }
    if (!r->upgrade)
      drop_parsed_body(c, r->head_len);
    if (!r->dispatched)
      dispatch(c);
    else
      wake_body(r);
    if (c->closing || c->req != r)
      continue;
    if (!r->complete && !r->on_body && r->body.len > CXB_HTTP_READ_STOP && c->reading)
      cxb_http_conn_stop_reading(c);
    if (c->parsed >= c->in.len || r->complete)
      return;
  }
}
