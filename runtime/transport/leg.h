/* A leg: one call's WebSocket on the media loop, translated by one serializer. leg.c owns the
 * socket, limits, liveness and the handshake timers; a serializer (cxb.c, twilio.c, browser.c) only
 * maps messages: wire → start, frame, dtmf, mark, stop and frame, clear, mark, transfer, hangup → wire. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../media/session.h"

typedef struct cxb_leg cxb_leg;

typedef struct cxb_serializer {
  const char *name;
  int lead_ms;
  bool has_marks, can_transfer, answers_clear;
  size_t max_text, max_binary; /* 0: 65,536 */
  const char *subprotocol;     /* echoed when offered; NULL: none */
  size_t state_size;           /* zeroed bytes of its own at cxb_leg_state() */
  /* The upgrade was accepted; `query` raw, may be "". */
  int (*open)(cxb_leg *leg, const char *query);
  /* One message. 0, or: CXB_EINVAL drop and count, CXB_EPROTO close 1002, CXB_EUNSUPPORTED close 1003. */
  int (*text)(cxb_leg *leg, const char *data, size_t len);
  int (*binary)(cxb_leg *leg, const uint8_t *data, size_t len);
  int (*frame)(cxb_leg *leg, const int16_t *pcm, size_t n);
  int (*clear)(cxb_leg *leg);
  int (*mark)(cxb_leg *leg, const char *name);
  int (*transfer)(cxb_leg *leg, const cxb_transfer *transfer);
  int (*hangup)(cxb_leg *leg);
  int (*note)(cxb_leg *leg, const char *json, size_t len);
  void (*closed)(cxb_leg *leg); /* free what the state holds */
} cxb_serializer;

extern const cxb_serializer *const cxb_serializers[]; /* NULL-terminated */
const cxb_serializer *cxb_serializer_find(const char *name);

/* For serializers. */
void *cxb_leg_state(cxb_leg *leg);
cxb_session *cxb_leg_session(cxb_leg *leg);
int cxb_leg_send_text(cxb_leg *leg, const char *data, size_t len);
int cxb_leg_send_binary(cxb_leg *leg, const void *data, size_t len);
void cxb_leg_close(cxb_leg *leg, int code, const char *reason); /* after what is queued */
void cxb_leg_handshake_done(cxb_leg *leg);   /* stops the 10 s timer */
void cxb_leg_expect_answer(cxb_leg *leg, int seconds); /* ringing; 0: answered */
/* Drives a serializer without a socket (unit tests, fuzzing): sends go to `send`. */
typedef int (*cxb_leg_send_cb)(void *arg, bool binary, const void *data, size_t len);
cxb_leg *cxb_leg_new_detached(const cxb_serializer *ser, cxb_session *session,
                              cxb_leg_send_cb send, void *arg);
int cxb_leg_feed(cxb_leg *leg, bool binary, const void *data, size_t len);
void cxb_leg_free_detached(cxb_leg *leg);
