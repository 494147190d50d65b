/* HTTP client: libcurl multi driven by libuv polls and one timer. */
#include "http_client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "../base/err.h"
#include "../host/host.h"
#include "guard.h"

enum { DEFAULT_MS = 30000, CONNECT_MS = 3000, DEFAULT_MAX = 8 << 20, UPLOAD_HIGH = 256 * 1024 };

struct cxb_http_call {
  CURL *easy;
  struct curl_slist *headers;
  cxb_http_options o;
  cxb_buf head, body, upload;
  bool upload_end, upload_paused, download_paused, too_big, refused_by_reader, denied;
  char *exceptions; /* of a guarded call */
  char *origin;     /* scheme and host, for messages */
  cxb_http_call *next, *prev;
};

typedef struct watch {
  uv_poll_t poll;
  curl_socket_t fd;
} watch;

static CURLM *multi;
static uv_timer_t timer;
static cxb_http_call *calls;

static void check_done(void);

/* ---- libcurl on libuv ---- */

static void on_timer(uv_timer_t *t) {
  (void)t;
  int running;
  curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
  check_done();
}

static int on_curl_timer(CURLM *m, long ms, void *arg) {
  (void)m;
  (void)arg;
  if (ms < 0)
    uv_timer_stop(&timer);
  else
    uv_timer_start(&timer, on_timer, (uint64_t)ms, 0);
  return 0;
}

static void on_poll(uv_poll_t *p, int status, int events) {
  watch *w = p->data;
  int flags = 0, running;
  if (status < 0)
    flags = CURL_CSELECT_ERR;
  if (events & UV_READABLE)
    flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE)
    flags |= CURL_CSELECT_OUT;
  curl_multi_socket_action(multi, w->fd, flags, &running);
  check_done();
}

static void on_watch_closed(uv_handle_t *h) {
  free(h->data);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known) {
  (void)easy;
  (void)arg;
  watch *w = known;
  if (what == CURL_POLL_REMOVE) {
    if (w)
      uv_close((uv_handle_t *)&w->poll, on_watch_closed);
    curl_multi_assign(multi, fd, NULL);
    return 0;
  }
  if (!w) {
    w = calloc(1, sizeof *w);
    if (!w)
      return -1;
    w->fd = fd;
    if (uv_poll_init(cxb_loop(), &w->poll, fd) != 0) {
      free(w);
      return -1;
    }
    w->poll.data = w;
    curl_multi_assign(multi, fd, w);
  }
  uv_poll_start(&w->poll,
                (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                on_poll);
  return 0;
}

static int start_multi(void) {
  if (multi)
    return 0;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(multi = curl_multi_init()))
    return CXB_ENOMEM;
  uv_timer_init(cxb_loop(), &timer);
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 32L);
  return 0;
}

/* ---- one call ---- */

static void call_free(cxb_http_call *c) {
  if (c->prev)
    c->prev->next = c->next;
  else if (calls == c)
    calls = c->next;
  if (c->next)
    c->next->prev = c->prev;
  if (c->easy) {
    curl_multi_remove_handle(multi, c->easy);
    curl_easy_cleanup(c->easy);
  }
  curl_slist_free_all(c->headers);
  cxb_buf_free(&c->head);
  cxb_buf_free(&c->body);
  cxb_buf_free(&c->upload);
  if (c->o.sink)
    c->o.sink->release(c->o.sink);
  free(c->origin);
  free(c->exceptions);
  free(c);
}

static int error_of(CURLcode code, const cxb_http_call *c) {
  if (c->too_big)
    return CXB_ETOOBIG;
  if (c->refused_by_reader)
    return CXB_ECANCELED;
  if (code != CURLE_OK && c->denied)
    return CXB_EDENIED;
  switch (code) {
  case CURLE_OK:
    return 0;
  case CURLE_COULDNT_CONNECT:
    return CXB_EREFUSED;
  case CURLE_OPERATION_TIMEDOUT:
    return CXB_ETIMEDOUT;
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY:
    return CXB_ENOENT;
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_TOO_MANY_REDIRECTS:
    return CXB_EPROTO;
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_ERROR:
    return CXB_ECLOSED;
  default:
    return CXB_EIO;
  }
}

static void finish(cxb_http_call *c, CURLcode code) {
  int err = error_of(code, c);
  char message[512];
  snprintf(message, sizeof message, "%s: %s", c->origin,
           err == CXB_ETOOBIG   ? "the answer is larger than allowed"
           : err == CXB_EDENIED ? "leads to an address that is not public"
                                : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
  cxb_http_answer answer = {.status = (int)status,
                            .headers = c->head.data ? c->head.data : "",
                            .body = c->body.data ? c->body.data : "",
                            .body_len = c->body.len};
  if (c->o.sink)
    c->o.sink->end(c->o.sink, err ? err : status >= 300 ? CXB_EIO : 0);
  c->o.on_done(c->o.arg, err, err ? message : NULL, &answer);
  call_free(c);
}

static void check_done(void) {
  CURLMsg *msg;
  int left;
  while (multi && (msg = curl_multi_info_read(multi, &left)))
    if (msg->msg == CURLMSG_DONE) {
      cxb_http_call *c;
      CURLcode code = msg->data.result;
      curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c);
      finish(c, code);
    }
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
  cxb_http_call *c = arg;
  size_t len = size * n;
  if (len > 5 && memcmp(p, "HTTP/", 5) == 0) { /* of a redirect's or a 100's head nothing stays */
    cxb_buf_clear(&c->head);
    return len;
  }
  char *colon = memchr(p, ':', len);
  for (char *q = p; colon && q < colon; q++)
    *q = (char)tolower((unsigned char)*q);
  if (colon && (c->head.len + len > 256 * 1024 || cxb_buf_add(&c->head, p, len) != 0))
    return 0;
  return len;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
  cxb_http_call *c = arg;
  size_t len = size * n;
  long status = 0;
  curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
  bool streamed = (c->o.on_data || c->o.sink) && status >= 200 && status < 300;
  if (streamed) {
    int err = c->o.sink ? c->o.sink->write(c->o.sink, (uint8_t *)p, len)
                        : c->o.on_data(c->o.arg, (uint8_t *)p, len);
    if (err == CXB_EAGAIN && !c->o.sink) {
      c->download_paused = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    if (c->o.sink && !err && c->o.on_bytes)
      c->o.on_bytes(c->o.arg, len);
    c->refused_by_reader = err != 0;
    return err ? 0 : len;
  }
  if (c->body.len + len > c->o.max_body) {
    c->too_big = true;
    return 0;
  }
  return cxb_buf_add(&c->body, p, len) == 0 ? len : 0;
}

static size_t on_upload(char *p, size_t size, size_t n, void *arg) {
  cxb_http_call *c = arg;
  size_t room = size * n, take = c->upload.len < room ? c->upload.len : room;
  if (take == 0 && !c->upload_end) {
    c->upload_paused = true;
    if (c->o.on_want)
      c->o.on_want(c->o.arg);
    return CURL_READFUNC_PAUSE;
  }
  if (take) {
    memcpy(p, c->upload.data, take);
    cxb_buf_consume(&c->upload, take);
  }
  return take;
}

int cxb_http_call_send(cxb_http_call *c, const void *data, size_t len) {
  if (len == 0)
    c->upload_end = true;
  else if (cxb_buf_add(&c->upload, data, len) != 0)
    return CXB_ENOMEM;
  if (c->upload_paused) {
    c->upload_paused = false;
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    uv_timer_start(&timer, on_timer, 0, 0);
  }
  return c->upload.len > UPLOAD_HIGH ? CXB_EAGAIN : 0;
}

void cxb_http_call_resume(cxb_http_call *c) {
  if (!c->download_paused)
    return;
  c->download_paused = false;
  curl_easy_pause(c->easy, CURLPAUSE_CONT);
  uv_timer_start(&timer, on_timer, 0, 0);
}

int cxb_http_call_head(const cxb_http_call *c, const char **headers) {
  long status = 0;
  curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
  *headers = c->head.data ? c->head.data : "";
  return (int)status;
}

/* http+unix:/path/to.sock:/uri → the socket and http://localhost/uri. */
static int set_url(cxb_http_call *c, const char *url) {
  if (strncmp(url, "http+unix:", 10) == 0) {
    const char *path = url + 10, *colon = strchr(path, ':');
    if (*path != '/' || !colon || colon[1] != '/')
      return CXB_EINVAL;
    char socket_path[108];
    size_t len = (size_t)(colon - path);
    if (len >= sizeof socket_path)
      return CXB_EINVAL;
    memcpy(socket_path, path, len);
    socket_path[len] = '\0';
    cxb_buf plain = {0};
    cxb_buf_printf(&plain, "http://localhost%s", colon + 1);
    c->origin = strdup(socket_path);
    curl_easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, socket_path);
    curl_easy_setopt(c->easy, CURLOPT_URL, plain.data);
    cxb_buf_free(&plain);
    return 0;
  }
  if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
    return CXB_EINVAL;
  const char *host = strstr(url, "://") + 3;
  const char *at = memchr(host, '@', strcspn(host, "/?#"));
  const char *start = at ? at + 1 : host; /* credentials stay out of messages */
  cxb_buf origin = {0};
  cxb_buf_printf(&origin, "%.*s%.*s", (int)(host - url), url, (int)strcspn(start, "/?#"), start);
  c->origin = origin.data;
  curl_easy_setopt(c->easy, CURLOPT_URL, url);
  return 0;
}

static void set_headers(cxb_http_call *c, const char *lines) {
  c->headers = curl_slist_append(NULL, "Expect:");
  while (lines && *lines) {
    size_t len = strcspn(lines, "\r\n");
    char *line = strndup(lines, len);
    if (line && *line)
      c->headers = curl_slist_append(c->headers, line);
    free(line);
    lines += len + strspn(lines + len, "\r\n");
  }
  curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
}

static void set_method(cxb_http_call *c) {
  const char *method = c->o.method ? c->o.method : "GET";
  if (strcmp(method, "HEAD") == 0) {
    curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    return;
  }
  if (c->o.upload) {
    curl_easy_setopt(c->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
    if (c->o.upload_len > 0)
      curl_easy_setopt(c->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->o.upload_len);
  } else if (c->o.body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->o.body_len);
    curl_easy_setopt(c->easy, CURLOPT_COPYPOSTFIELDS, c->o.body ? c->o.body : "");
  }
  curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method);
}

/* A process started later must not hold our connections open. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose) {
  (void)arg;
  (void)purpose;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return CURL_SOCKOPT_OK;
}

static void set_rest(cxb_http_call *c) {
  CURL *e = c->easy;
  curl_easy_setopt(e, CURLOPT_PRIVATE, c);
  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
  curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, c->o.redirects > 0 ? 1L : 0L);
  curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)c->o.redirects);
  curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(c->o.timeout_ms ? c->o.timeout_ms : DEFAULT_MS));
  curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                   (long)(c->o.connect_timeout_ms ? c->o.connect_timeout_ms : CONNECT_MS));
  curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
  curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
  curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 16384L);
  curl_easy_setopt(e, CURLOPT_PROXY, "");
  const char *authorities = getenv("SSL_CERT_FILE"); /* as OpenSSL and our WebSockets take it */
  if (authorities && *authorities)
    curl_easy_setopt(e, CURLOPT_CAINFO, authorities);
  curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
  if (c->o.stall_ms) {
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)((c->o.stall_ms + 999) / 1000));
  }
  if (c->o.sigv4) {
    curl_easy_setopt(e, CURLOPT_AWS_SIGV4, c->o.sigv4);
    curl_easy_setopt(e, CURLOPT_USERPWD, c->o.user);
  }
}

char *cxb_http_answer_header(const cxb_http_answer *answer, const char *name) {
  size_t n = strlen(name);
  for (const char *line = answer->headers; *line;) {
    size_t len = strcspn(line, "\r\n");
    if (len > n && line[n] == ':' && strncmp(line, name, n) == 0) {
      const char *value = line + n + 1 + strspn(line + n + 1, " ");
      return strndup(value, (size_t)(line + len - value));
    }
    line += len;
    line += strspn(line, "\r\n");
  }
  return NULL;
}

/* ---- guarded calls ---- */

/* Whatever the name resolved to, and whenever: this address is about to be dialled. */
static curl_socket_t on_dial(void *arg, curlsocktype purpose, struct curl_sockaddr *to) {
  cxb_http_call *c = arg;
  if (purpose != CURLSOCKTYPE_IPCXN || !cxb_guard_address(&to->addr, c->exceptions)) {
    c->denied = true;
    return CURL_SOCKET_BAD;
  }
  return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* A connection kept from an unguarded call was not dialled by this one: its address is judged too.
 */
static int on_connection(void *arg, char *ip, char *local_ip, int port, int local_port) {
  (void)local_ip;
  (void)port;
  (void)local_port;
  cxb_http_call *c = arg;
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  const struct sockaddr *address = NULL;
  if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1)
    address = (const struct sockaddr *)&v4;
  else if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1)
    address = (const struct sockaddr *)&v6;
  if (address && cxb_guard_address(address, c->exceptions))
    return CURL_PREREQFUNC_OK;
  c->denied = true;
  return CURL_PREREQFUNC_ABORT;
}

static int set_guard(cxb_http_call *c, const cxb_http_options *options) {
  char host[CXB_GUARD_HOST];
  const char *why;
  if (!options->public_but)
    return 0;
  if (cxb_guard_url(options->url, host, &why) != 0)
    return CXB_EDENIED;
  c->o.redirects = 0;
  if (cxb_guard_host(host, options->public_but))
    return 0;
  c->exceptions = strdup(options->public_but);
  curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_dial);
  curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
  curl_easy_setopt(c->easy, CURLOPT_PREREQFUNCTION, on_connection);
  curl_easy_setopt(c->easy, CURLOPT_PREREQDATA, c);
  return c->exceptions ? 0 : CXB_ENOMEM;
}

int cxb_http_call_start(const cxb_http_options *options, cxb_http_call **out) {
  int err = start_multi();
  cxb_http_call *c = err ? NULL : calloc(1, sizeof *c);
  if (!c)
    return CXB_ENOMEM;
  c->o = *options;
  if (!c->o.max_body)
    c->o.max_body = DEFAULT_MAX;
  c->easy = curl_easy_init();
  cxb_sink *sink = c->o.sink;
  c->o.sink = NULL; /* taken on success only */
  err = c->easy ? set_guard(c, options) : CXB_ENOMEM;
  if (!err)
    err = set_url(c, options->url);
  if (err) {
    call_free(c);
    return err;
  }
  c->o.sink = sink;
  set_rest(c);
  set_method(c);
  set_headers(c, options->headers);
  c->next = calls;
  if (calls)
    calls->prev = c;
  calls = c;
  if (out)
    *out = c;
  curl_multi_add_handle(multi, c->easy);
  return 0;
}

void cxb_http_call_cancel(cxb_http_call *call) {
  if (call->o.sink)
    call->o.sink->end(call->o.sink, CXB_ECANCELED);
  call_free(call);
}

void cxb_http_client_close(void) {
  if (!multi)
    return;
  while (calls)
    cxb_http_call_cancel(calls);
  curl_multi_cleanup(multi);
  multi = NULL;
  uv_close((uv_handle_t *)&timer, NULL);
}
