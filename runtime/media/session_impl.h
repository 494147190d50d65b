/* The inside of a session, shared by media/session*.c and media/loop.c only.
 *
 *   session.c        birth, commands' way over, events' way back, deadlines, the end
 *   session_in.c     what the wire tells: start, audio, digits, drops
 *   session_play.c   play queue to wire: frames, marks, milliseconds heard, clear
 *   session_owner.c  the owner's functions on the main loop */
#pragma once
#include <stdatomic.h>

#include "beep.h"
#include "dtmf.h"
#include "frame.h"
#include "inflow.h"
#include "monitor.h"
#include "pacer.h"
#include "playq.h"
#include "recorder.h"
#include "session.h"
#include "tap.h"
#include "vad.h"

/* loop.c: a session keeps the main loop alive; main loop only. */
void cxb_media_hold(cxb_media *media);
void cxb_media_unhold(cxb_media *media);

enum {
  CXB_MAX_QUEUED_S = 600,
  CXB_REPLAY_MS = 2000,
  CXB_HANGUP_MS = 2000,      /* our goodbye is answered by then, or the wire is closed by force */
  CXB_CLEAR_ANSWER_MS = 600, /* a wire answers a clear within 500 */
  CXB_GAP_MS = 200,          /* a late frame is no silence yet */
  CXB_MARK_MS = 2000,        /* a mark this late will not come */
  CXB_TRANSFER_MS = 10000,   /* the far end has taken the caller by then */
  CXB_TRANSFER_QUIET_MS = 2000,
  CXB_RECORDING_END_MS = 2000, /* CXB_EV_CLOSED waits for the file this long */
  CXB_DROPS_MAX = 50,
  CXB_DROPS_MS = 10000,
  CXB_FLIGHTS = 64,
};
#define CXB_NEVER INT64_MAX

/* An utterance of which something was sent, until CXB_EV_PLAYED. */
typedef struct cxb_voice {
  struct cxb_voice *next;
  uint32_t id;
  int err;
  bool all_sent, marked;
  int64_t sent_us, heard_us; /* of audio */
  int64_t end_us;            /* all sent: when its last sample is heard, by the pacer's clock */
} cxb_voice;

/* A frame that was sent and is not heard to its end yet. */
typedef struct cxb_flight {
  uint32_t id;
  int64_t start_us, length_us;
} cxb_flight;

typedef struct cxb_cut { /* a clear that has not been told yet */
  bool active;
  cxb_voice *voices;
  const char *by;
  uint32_t epoch;
  int64_t until_us; /* the wire's answer is awaited until then, or CXB_NEVER */
} cxb_cut;

/* The main loop's note of an utterance it may still push to. */
typedef struct cxb_say {
  struct cxb_say *next;
  uint32_t id;
  int rate;
  bool ended, odd; /* odd: half a sample waits in `low` */
  uint8_t low;
} cxb_say;

typedef struct cxb_say_sink cxb_say_sink;

struct cxb_session {
  cxb_media *media;
  cxb_session_config config;
  int64_t born_us;

  /* ---- main loop ---- */
  bool closing, ended; /* cxb_session_close() was called; CXB_EV_CLOSED was delivered */
  bool recording;
  void (*done)(void *arg);
  void *done_arg;
  uint32_t last_id, seen_epoch;
  cxb_say *says;
  cxb_say_sink *sinks;
  cxb_tap *tap;
  cxb_tap *listeners[CXB_LISTENERS];

  /* ---- both loops ---- */
  _Atomic int64_t queued_us; /* audio pushed and not yet played or dropped */
  uv_mutex_t lock;           /* of what follows */
  cxb_session_stats stats;
  cxb_histogram lateness;

  /* ---- media loop ---- */
  const cxb_wire *ops; /* NULL: none attached, or closed */
  cxb_wire wire_ops;
  void *wire;
  bool attached, started, answered, held, stopped, hanging_up, wire_closed, released;
  bool wire_closing, close_requested, closed_told, handles_closing;
  int close_code;
  char close_reason[124];     /* RFC 6455: at most 123 bytes */
  char abort_reason[124];     /* goes with our close */
  int64_t recording_until_us; /* CXB_EV_CLOSED waits for the recording until then */
  uv_timer_t timer;
  int64_t timer_at_us;
  unsigned open_handles;

  int rate;
  char *start_text; /* what cxb_start points to */
  cxb_start start;
  cxb_framer framer;
  cxb_inflow inflow;
  cxb_vad *vad;
  int vad_mode, vad_start_ms, vad_stop_ms;
  double vad_floor;
  cxb_beep beep;
  cxb_dtmf *dtmf;
  cxb_dtmf_merge digits;
  unsigned barge;
  int16_t *replay; /* the newest 2 s */
  size_t replay_size, replay_at, replay_n;
  cxb_tap *fed_tap;
  uint32_t fed_say; /* the tap leads into this utterance: no way round by the main loop; 0: no */
  int fed_say_rate, fed_tap_rate;
  int64_t frame_us; /* arrival of the frame in work */
  int64_t alive_us;
  int64_t drop_us[CXB_DROPS_MAX + 1];
  unsigned drop_at;
  bool gave_up; /* protocol_errors or media_timeout told */

  cxb_playq queue;
  cxb_pacer pacer;
  bool has_pacer;
  int16_t *frame; /* being sent */
  uint32_t epoch, fresh_epoch;
  cxb_voice *voices, **voices_tail;
  cxb_flight flights[CXB_FLIGHTS];
  unsigned flight_first, flight_count;
  cxb_cut cut;
  int64_t limit_us;  /* the call's last moment, or CXB_NEVER */
  int64_t hangup_us; /* when it began; 0: not under way */
  bool transferring; /* asked for, not answered by the wire yet */

  cxb_monitor *monitor; /* made for the first listener */
  uv_timer_t monitor_timer;

  cxb_recorder *recorder;
  int pending_fd; /* a recording asked for before the start; -1: none */
  bool record_paused, recorder_closing;
};

int64_t cxb_now_us(void);

/* ---- session.c, media loop ---- */
int64_t cxb_session_ms(const cxb_session *s, int64_t us);
/* Sends an event with a copy of the text. */
void cxb_session_tell(cxb_session *s, cxb_event event);
/* Some deadline may have come nearer. */
void cxb_session_rearm(cxb_session *s);
void cxb_session_close_wire(cxb_session *s, int code);
void cxb_session_start_recorder(cxb_session *s, int fd);
/* The caller's frame into the utterance the tap leads to. Last: it may end the call. */
void cxb_session_feed_say(cxb_session *s, const int16_t *pcm, size_t n);

/* ---- session_owner.c, main loop ---- */
void cxb_session_forget_say(cxb_session *s, uint32_t id);
/* Ends what hears this call: the tap, the listeners. */
void cxb_session_end_taps(cxb_session *s);
/* Says, sinks and taps are let go. */
void cxb_session_forget_owner(cxb_session *s);

/* ---- session_play.c, media loop ---- */
extern const cxb_pacer_ops cxb_session_pacer_ops;
bool cxb_session_playing(const cxb_session *s);
/* Drops all audio. `by` NULL: nobody is told but through CXB_EV_PLAYED (hang-up, lost wire). */
void cxb_session_cut(cxb_session *s, const char *by, bool tell_wire);
void cxb_session_resolve_cut(cxb_session *s, int64_t played_ms);
void cxb_session_say_lost(cxb_session *s, uint32_t id, int err);
/* Tells what was heard to its end by now. */
void cxb_session_heard(cxb_session *s, int64_t now);
int64_t cxb_session_next_heard(const cxb_session *s);

/* ---- session_in.c, media loop ---- */
void cxb_session_poll_inflow(cxb_session *s, int64_t now);
/* When speech ends because no more frames come; CXB_NEVER while nobody speaks. */
int64_t cxb_session_next_gap(const cxb_session *s);
void cxb_session_gap(cxb_session *s, int64_t now);
void cxb_session_end_transfer(cxb_session *s, bool ok, const char *reason);
void cxb_session_replay(cxb_session *s, cxb_tap *tap, int ms);
void cxb_session_free_inputs(cxb_session *s);
