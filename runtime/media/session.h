/* One call's media: what arrives from the wire, what is played to it, who interrupts whom, and the
 * recording. A session lives on the media loop; its owner (the script side) lives on the main loop.
 * The owner posts commands and gets events, both through queues; the wire (transport/) calls the
 * `in_` functions and is called through cxb_wire, both on the media loop only.
 *
 * Audio is 16-bit mono at the leg's rate in frames of 20 ms. Times (`t_ms`) are milliseconds of the
 * media clock since the session was created. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../base/sink.h"

typedef struct cxb_media cxb_media; /* the media loop and its thread; one a process */
typedef struct cxb_session cxb_session;

#define CXB_FRAME_MS 20
#define CXB_MAX_RATE 48000

/* ---- the media loop (media/loop.c) ---- */
int cxb_media_new(uv_loop_t *main_loop, cxb_media **out); /* starts the thread */
void cxb_media_close(cxb_media *media);                   /* sessions must be closed; joins */
uv_loop_t *cxb_media_loop(cxb_media *media);              /* for the thread itself only */
/* Runs fn(arg) on the media loop, in order of posting; from any thread. */
void cxb_media_post(cxb_media *media, void (*fn)(void *arg), void *arg);
/* Runs fn(arg) on the main loop, in order; from the media thread. */
void cxb_media_post_main(cxb_media *media, void (*fn)(void *arg), void *arg);

/* ---- the wire below a session (filled by transport/leg.c), media loop only ---- */
typedef struct cxb_transfer {
  const char *to, *type, *reason, *target;
} cxb_transfer;

typedef struct cxb_wire {
  const char *name;   /* transport: "cxb", "twilio" … */
  int lead_ms;        /* how far ahead of real time frames may be sent */
  bool has_marks;     /* in_mark() answers mark() */
  bool answers_clear; /* in_mark("", played_ms, true) follows clear() within 500 ms, always */
  bool can_transfer;
  /* Each may fail with CXB_E*; a failed frame is counted, not retried. `n` samples = one frame. */
  int (*frame)(void *wire, const int16_t *pcm, size_t n);
  int (*clear)(void *wire);
  int (*mark)(void *wire, const char *name);
  int (*transfer)(void *wire, const cxb_transfer *transfer);
  /* Begins our hang-up; ends in cxb_session_in_closed(). */
  int (*hangup)(void *wire);
  /* Transport-level notes to the far end (browser: transcript, state …); JSON text. May be NULL. */
  int (*note)(void *wire, const char *json, size_t len);
  /* Closes by force with a WebSocket close code; ends in cxb_session_in_closed(). */
  void (*close)(void *wire, int code, const char *reason);
  /* The session is finished with the wire; it may be freed. Called exactly once, last. */
  void (*release)(void *wire);
} cxb_wire;

typedef struct cxb_start {
  int rate;       /* Hz of the leg */
  int framing_ms; /* the wire's own chunk, when it is more than a frame; else 0 */
  const char *stream_id;
  const char *caller_id;       /* the customer's number, may be "" */
  const char *did;             /* our number, may be "" */
  const char *from_number;     /* shown on outbound calls, may be NULL */
  const char *direction;       /* "incoming" or "outgoing" */
  const char *connected_event; /* JSON object text, untouched wire fields plus callerId, did … */
} cxb_start;

void cxb_session_attach_wire(cxb_session *s, const cxb_wire *ops, void *wire);
void cxb_session_in_start(cxb_session *s, const cxb_start *start);
void cxb_session_in_answer(cxb_session *s);                              /* the flow may speak */
void cxb_session_in_audio(cxb_session *s, const int16_t *pcm, size_t n); /* any count */
void cxb_session_in_dtmf(cxb_session *s, char digit); /* 0-9 * # A-D; an event of the wire */
/* The far end played (or dropped) up to this mark. played_ms < 0: unknown, else milliseconds played
 * of the utterance the mark ends. Name "" answers clear(): played_ms of the utterance that was cut
 * (what followed the mark before it); CXB_EV_CLEARED of a wire that answers_clear waits for it. */
void cxb_session_in_mark(cxb_session *s, const char *name, int64_t played_ms, bool cleared);
void cxb_session_in_text(cxb_session *s, const char *utf8); /* a typed turn (browser) */
void cxb_session_in_transfer(cxb_session *s, bool ok, const char *reason);
/* The far end said goodbye; `by` is what it named ("" if nothing). in_closed() still follows. */
void cxb_session_in_stop(cxb_session *s, const char *by);
/* One bad message was dropped and counted; more than 50 in 10 s end the call "protocol_errors". */
void cxb_session_in_drop(cxb_session *s, const char *reason);
/* The far end wants no more audio for now (`on`), or takes it again: frames wait meanwhile. */
void cxb_session_in_hold(cxb_session *s, bool on);
/* The far end is there although it sends no media (a pong): puts off the media time-out. */
void cxb_session_in_alive(cxb_session *s);
/* The wire gives up for a reason of its own ("slow_peer"): CXB_EV_ERROR; in_closed() follows. */
void cxb_session_in_error(cxb_session *s, const char *error);
/* The handshake failed or the socket is gone. Last call of the wire; code as in net/ws.h. */
void cxb_session_in_closed(cxb_session *s, int code, const char *reason);

/* ---- the owner's side, main loop only ---- */
typedef enum cxb_event_type {
  CXB_EV_START, /* start is set */
  CXB_EV_ANSWER,
  CXB_EV_SPEECH,      /* voice began: t_ms is the onset (before start_ms was reached) */
  CXB_EV_SILENCE,     /* voice ended: t_ms is the last voiced frame */
  CXB_EV_DTMF,        /* digit, de-duplicated between wire events and in-band within 200 ms */
  CXB_EV_BEEP,        /* the tone of a voicemail has ended (beep.h) */
  CXB_EV_TEXT,        /* text: a typed turn */
  CXB_EV_CLEARED,     /* utterance, heard_ms, text = "vad" | "dtmf" | "command" */
  CXB_EV_PLAYED,      /* utterance was heard to its end, or cut: heard_ms; code: err of say_end() */
  CXB_EV_FIRST_FRAME, /* the first frame of `utterance` was given to the wire */
  CXB_EV_TRANSFER,    /* ok, text = reason */
  CXB_EV_STOP,        /* text = who disconnected */
  CXB_EV_ERROR,       /* text = "protocol_errors" | "slow_peer" | "media_timeout" | "call_age" |
                         "recording:<why>" */
  CXB_EV_CLOSED,      /* last event; code. After it only cxb_session_close() is allowed */
} cxb_event_type;

typedef struct cxb_event {
  cxb_event_type type;
  int64_t t_ms;
  uint32_t utterance;
  int64_t heard_ms;
  int code;
  bool ok;
  char digit;
  const char *text;       /* NUL-terminated, borrowed, may be NULL */
  const cxb_start *start; /* CXB_EV_START only, borrowed */
} cxb_event;

typedef struct cxb_session_config {
  void (*on_event)(void *arg, const cxb_event *event); /* main loop, in order */
  void *arg;
  int media_timeout_s; /* 0: 30 */
} cxb_session_config;

int cxb_session_new(cxb_media *media, const cxb_session_config *config, cxb_session **out);
/* Frees it after the wire was released and the recording closed; `done` on the main loop. */
void cxb_session_close(cxb_session *s, void (*done)(void *arg), void *arg);

/* Voice activity: aggressiveness 0–3, milliseconds of voice to call it speech, of silence to end.
 */
void cxb_session_vad(cxb_session *s, int mode, int start_ms, int stop_ms);
/* Frames whose RMS is below `level` of full scale (0–1, spec `vad.min_volume`) are never voice. */
void cxb_session_vad_floor(cxb_session *s, double level);
/* What interrupts while something plays, decided on the media loop: a set bit clears at once. */
enum { CXB_BARGE_NONE = 0, CXB_BARGE_VAD = 1, CXB_BARGE_DTMF = 2 };
void cxb_session_barge(cxb_session *s, unsigned set);

/* Queues speech: begin, push any number of times, end. Utterances play in order of begin.
 * begin: 0 when the rate is not 8,000–48,000 Hz or the call is over. push takes any count of bytes;
 * CXB_ECLOSED when the utterance is ended, played or cleared, CXB_ETOOBIG (nothing taken) when more
 * than 10 minutes would wait. Each utterance that was begun gets one CXB_EV_PLAYED, unless
 * CXB_EV_CLOSED comes first; what was begun before its owner saw CXB_EV_CLEARED (vad, dtmf) is
 * cleared too. */
uint32_t cxb_session_say_begin(cxb_session *s, int rate);
int cxb_session_say_push(cxb_session *s, uint32_t utterance, const void *pcm16le, size_t bytes);
int cxb_session_say_end(cxb_session *s, uint32_t utterance, int err);
/* A sink of raw PCM16 LE at the rate given to say_begin(); end() ends the utterance. */
cxb_sink *cxb_session_say_sink(cxb_session *s, uint32_t utterance);
/* Queue dropped, wire told; CXB_EV_CLEARED (text "command") follows with the milliseconds heard. */
void cxb_session_clear(cxb_session *s);

/* The caller's audio, as PCM16 LE at `rate`, into `sink` (reference taken) until sink NULL. The
 * sink is written on the main loop. `replay_ms`: what was kept of the past (≤ 2,000) comes first.
 * `chunk_ms`: in writes of exactly so much audio (cxb_tap_new), 0: as it comes. */
int cxb_session_tap(cxb_session *s, cxb_sink *sink, int rate, int replay_ms, int chunk_ms);

/* Both channels as they are heard (media/monitor.h) into `sink` (reference taken, written on the
 * main loop): a listener's number from 0, CXB_EBUSY when there are CXB_LISTENERS already,
 * CXB_ECLOSED, CXB_ENOMEM. */
int cxb_session_listen(cxb_session *s, cxb_sink *sink);
void cxb_session_unlisten(cxb_session *s, int listener);

/* Stereo WAV from the call's start on, or from now. CXB_ENOENT (no such folder), CXB_ENOSPC,
 * CXB_EIO; CXB_EBUSY when it is recorded already. CXB_EV_CLOSED comes after the file is complete.
 */
int cxb_session_record(cxb_session *s, const char *path);
void cxb_session_record_pause(cxb_session *s, bool pause);
void cxb_session_note(cxb_session *s, const char *json, size_t len);
void cxb_session_transfer(cxb_session *s, const cxb_transfer *transfer);
/* Idempotent and final: what is queued is dropped, the wire says goodbye, ≤ 2 s later it is closed
 * by force. Let CXB_EV_PLAYED of the last words pass first if they are to be heard. */
void cxb_session_hangup(cxb_session *s);
/* The call may last `ms` from now (< 0: as long as it likes): then CXB_EV_ERROR "call_age" and
 * close code 1011, whatever the main loop does. */
void cxb_session_limit(cxb_session *s, int64_t ms);
void cxb_session_abort(cxb_session *s, int code); /* close the socket now with this code */
/* The same with a reason, a short word for the far end ("unknown_bot"); at most 123 bytes go. */
void cxb_session_abort_for(cxb_session *s, int code, const char *reason);

typedef struct cxb_session_stats {
  uint64_t frames_in, frames_out, underruns, drops, frame_errors;
  uint64_t pacing_count;                                /* frames sent by deadline */
  uint32_t pacing_us_p50, pacing_us_p99, pacing_us_max; /* lateness against the deadline */
  int64_t clock_ms, heard_total_ms;
  int64_t recorded_bytes;
} cxb_session_stats;
/* A snapshot, at most one frame old; from any thread. */
void cxb_session_stats_get(cxb_session *s, cxb_session_stats *out);
