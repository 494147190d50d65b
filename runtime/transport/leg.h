/* A leg: one call's WebSocket (or TCP stream) on the media loop, translated by one serializer.
 * leg.c owns the socket, limits, liveness and the handshake timers; a serializer (a file a wire)
 * only maps messages: wire → start, frame, dtmf, mark, stop and frame, clear, mark, transfer,
 * hangup → wire. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../media/session.h"

typedef struct cxb_leg cxb_leg;

/* What the call worker says about a leg. */
typedef struct cxb_leg_options {
  int chunk_bytes; /* of a wire that takes its audio in chunks of our choice (exotel); 0: its own */
  /* Our hang-up goes another way (the carrier's REST interface) and comes back as the wire's own
   * end: the serializer is not asked. The session closes by force when it does not come. */
  bool hangup_elsewhere;
} cxb_leg_options;

typedef struct cxb_serializer {
  const char *name;
  int lead_ms;
  bool has_marks, can_transfer, answers_clear;
  size_t max_text, max_binary; /* 0: 65,536 */
  const char *subprotocols;    /* by commas; the first that was offered is echoed; NULL: none */
  size_t state_size;           /* zeroed bytes of its own at cxb_leg_state() */
  /* The upgrade was accepted; `query` raw, may be "". */
  int (*open)(cxb_leg *leg, const char *query);
  /* One message. 0, or: CXB_EINVAL (not JSON) and CXB_ECORRUPT (broken audio) drop and count,
   * CXB_EPROTO close 1002, CXB_EUNSUPPORTED close 1003. `binary` NULL: ignored and counted. */
  int (*text)(cxb_leg *leg, const char *data, size_t len);
  int (*binary)(cxb_leg *leg, const uint8_t *data, size_t len);
  int (*frame)(cxb_leg *leg, const int16_t *pcm, size_t n);
  int (*clear)(cxb_leg *leg);
  int (*mark)(cxb_leg *leg, const char *name);
  int (*transfer)(cxb_leg *leg, const cxb_transfer *transfer);
  int (*hangup)(cxb_leg *leg);
  int (*note)(cxb_leg *leg, const char *json, size_t len);
  void (*timer)(cxb_leg *leg);  /* cxb_leg_timer() ran out; may be NULL */
  void (*closed)(cxb_leg *leg); /* no more messages; free what the state holds */
} cxb_serializer;

extern const cxb_serializer cxb_serializer_cxb, cxb_serializer_exotel, cxb_serializer_twilio,
    cxb_serializer_telnyx, cxb_serializer_plivo, cxb_serializer_vonage, cxb_serializer_asterisk,
    cxb_serializer_audiosocket, cxb_serializer_audiofork, cxb_serializer_browser;
extern const cxb_serializer *const cxb_serializers[]; /* NULL-terminated */
const cxb_serializer *cxb_serializer_find(const char *name);

/* Messages that were not what they should be, by what became of them. Written on the leg's thread,
 * read from any. */
typedef struct cxb_leg_counts {
  _Atomic uint64_t ignored, bad_message, bad_audio;
} cxb_leg_counts;

/* Main loop: hands an upgrade's socket to the media loop, where `session` gets it as its wire; the
 * 101 leaves from there. Takes fd and head (malloc'd), also on failure. When the upgrade cannot be
 * served the session hears cxb_session_in_closed() without a start. `options` NULL: none. `counts`
 * stays the caller's and must outlive the session; NULL: nobody looks. */
int cxb_leg_accept(cxb_media *media, cxb_session *session, const cxb_serializer *ser,
                   const cxb_leg_options *options, int fd, char *head, size_t head_len,
                   cxb_leg_counts *counts);
/* The same for a TCP stream of packets with three bytes of head (AudioSocket): each is a binary
 * message of the serializer, head included. Takes fd, also on failure. */
int cxb_leg_accept_tcp(cxb_media *media, cxb_session *session, const cxb_serializer *ser,
                       const cxb_leg_options *options, int fd, cxb_leg_counts *counts);
/* Main loop, when no leg is left: closes the media loop's WebSocket context; done on the media
 * loop. */
void cxb_leg_shutdown(cxb_media *media, void (*done)(void *arg), void *arg);

/* For serializers. */
void *cxb_leg_state(cxb_leg *leg);
cxb_session *cxb_leg_session(cxb_leg *leg);
const cxb_leg_options *cxb_leg_options_of(const cxb_leg *leg);
int cxb_leg_send_text(cxb_leg *leg, const char *data, size_t len);
int cxb_leg_send_binary(cxb_leg *leg, const void *data, size_t len);
void cxb_leg_close(cxb_leg *leg, int code, const char *reason); /* after what is queued */
void cxb_leg_handshake_done(cxb_leg *leg);                      /* stops the 10 s timer */
void cxb_leg_expect_answer(cxb_leg *leg, int seconds);          /* ringing; 0: answered */
void cxb_leg_timer(cxb_leg *leg, int ms); /* the serializer's one timer; 0 stops it */
int64_t cxb_leg_now(const cxb_leg *leg);  /* ms, monotonic */
int cxb_leg_ignore(cxb_leg *leg);         /* counts a message that was tolerated; 0 */

/* Drives a serializer without a socket (unit tests, fuzzing): sends go to `send`, time passes in
 * cxb_leg_advance() only, and a close takes effect when the function that fed the leg returns. */
typedef int (*cxb_leg_send_cb)(void *arg, bool binary, const void *data, size_t len);
cxb_leg *cxb_leg_new_detached(const cxb_serializer *ser, cxb_session *session,
                              const cxb_leg_options *options, const char *query,
                              cxb_leg_send_cb send, void *arg);
/* One message from the far end; CXB_ECLOSED once the leg has closed. */
int cxb_leg_feed(cxb_leg *leg, bool binary, const void *data, size_t len);
void cxb_leg_advance(cxb_leg *leg, int ms);
void cxb_leg_lost(cxb_leg *leg, int code);  /* the far end's socket is gone */
int cxb_leg_close_code(const cxb_leg *leg); /* 0 while open */
const cxb_leg_counts *cxb_leg_counted(const cxb_leg *leg);
void cxb_leg_free_detached(cxb_leg *leg);
