/* TLS of an outgoing WebSocket. */
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <uv.h>

#include "../base/err.h"
#include "ws_tls.h"

struct cxb_ws_tls {
  SSL *ssl;
  BIO *in, *out; /* owned by ssl */
};

int cxb_ws_tls_context_new(cxb_ws_tls_context **out) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  if (!context)
    return CXB_ENOMEM;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_default_verify_paths(context);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  *out = context;
  return 0;
}

void cxb_ws_tls_context_free(cxb_ws_tls_context *context) {
  SSL_CTX_free(context);
}

static int expect_host(SSL *ssl, const char *host) {
  struct in6_addr address;
  X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (uv_inet_pton(AF_INET, host, &address) == 0 || uv_inet_pton(AF_INET6, host, &address) == 0)
    return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 ? 0 : CXB_EINVAL;
  return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
                 SSL_set_tlsext_host_name(ssl, host) == 1
             ? 0
             : CXB_EINVAL;
}

int cxb_ws_tls_new(cxb_ws_tls_context *context, const char *host, cxb_ws_tls **out) {
  cxb_ws_tls *tls = calloc(1, sizeof *tls);
  SSL *ssl = SSL_new(context);
  BIO *to = BIO_new(BIO_s_mem()), *from = BIO_new(BIO_s_mem());
  if (!tls || !ssl || !to || !from || expect_host(ssl, host)) {
    BIO_free(to);
    BIO_free(from);
    SSL_free(ssl);
    free(tls);
    return CXB_ENOMEM;
  }
  BIO_set_mem_eof_return(to, -1);
  SSL_set_bio(ssl, to, from);
  SSL_set_connect_state(ssl);
  *tls = (cxb_ws_tls){.ssl = ssl, .in = to, .out = from};
  *out = tls;
  return 0;
}

void cxb_ws_tls_free(cxb_ws_tls *tls) {
  if (!tls)
    return;
  SSL_free(tls->ssl);
  free(tls);
}

int cxb_ws_tls_push(cxb_ws_tls *tls, const uint8_t *data, size_t len) {
  return len <= INT_MAX && BIO_write(tls->in, data, (int)len) == (int)len ? 0 : CXB_ENOMEM;
}

int cxb_ws_tls_handshake(cxb_ws_tls *tls, char *why, size_t why_len) {
  ERR_clear_error();
  int r = SSL_do_handshake(tls->ssl);
  if (r == 1)
    return 1;
  if (SSL_get_error(tls->ssl, r) == SSL_ERROR_WANT_READ)
    return 0;
  long verify = SSL_get_verify_result(tls->ssl);
  const char *text = verify != X509_V_OK ? X509_verify_cert_error_string(verify)
                                         : ERR_reason_error_string(ERR_peek_error());
  snprintf(why, why_len, "%s", text ? text : "handshake failed");
  return CXB_EPROTO;
}

ssize_t cxb_ws_tls_read(cxb_ws_tls *tls, uint8_t *out, size_t size) {
  ERR_clear_error();
  int n = SSL_read(tls->ssl, out, size > INT_MAX ? INT_MAX : (int)size);
  if (n > 0)
    return n;
  int err = SSL_get_error(tls->ssl, n);
  return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? 0 : CXB_ECLOSED;
}

int cxb_ws_tls_write(cxb_ws_tls *tls, const void *data, size_t len) {
  ERR_clear_error();
  if (len == 0)
    return 0;
  return len <= INT_MAX && SSL_write(tls->ssl, data, (int)len) == (int)len ? 0 : CXB_ECLOSED;
}

size_t cxb_ws_tls_outgoing(cxb_ws_tls *tls, char **data) {
  long n = BIO_get_mem_data(tls->out, data);
  return n > 0 ? (size_t)n : 0;
}

void cxb_ws_tls_sent(cxb_ws_tls *tls) {
  (void)BIO_reset(tls->out);
}
