/* TLS of an outgoing WebSocket: OpenSSL between two memory buffers; knows no socket. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct cxb_ws_tls cxb_ws_tls;
typedef struct ssl_ctx_st cxb_ws_tls_context; /* OpenSSL's SSL_CTX */

/* The system's authorities (SSL_CERT_FILE and SSL_CERT_DIR are obeyed), TLS 1.2 or later. */
int cxb_ws_tls_context_new(cxb_ws_tls_context **out);
void cxb_ws_tls_context_free(cxb_ws_tls_context *context);

/* `host` is what the certificate must name: a DNS name (also sent as SNI) or an address. */
int cxb_ws_tls_new(cxb_ws_tls_context *context, const char *host, cxb_ws_tls **out);
void cxb_ws_tls_free(cxb_ws_tls *tls);

/* Takes bytes of the socket. */
int cxb_ws_tls_push(cxb_ws_tls *tls, const uint8_t *data, size_t len);
/* 1: complete, 0: more bytes are needed, CXB_EPROTO: refused, the sentence is in `why`. */
int cxb_ws_tls_handshake(cxb_ws_tls *tls, char *why, size_t why_len);
/* Plain bytes: > 0, 0 when there are none yet, CXB_ECLOSED at the end or on damage. */
ssize_t cxb_ws_tls_read(cxb_ws_tls *tls, uint8_t *out, size_t size);
int cxb_ws_tls_write(cxb_ws_tls *tls, const void *data, size_t len);
/* What is to be written to the socket: borrowed until cxb_ws_tls_sent(). */
size_t cxb_ws_tls_outgoing(cxb_ws_tls *tls, char **data);
void cxb_ws_tls_sent(cxb_ws_tls *tls);
