/* FreeSWITCH's audio fork and jambonz' listen: L16 both ways, JSON control (core spec §3.7). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"
#include "../media/resample.h"
#include "wire_audio.h"
#include "wire_json.h"
#include "wire_query.h"
#include "wire_transfer.h"

typedef enum { METADATA, TALKING, OVER } phase; /* what is awaited, then what is */
enum {
  MAX_FAR_RATE = 64000,
  PLAY_MS = 200, /* of one playAudio */
  UNPLAYED = 8,
  FRAMES_MAX = 65536 / 2,
};

typedef struct audio_fork {
  phase phase;
  bool stereo;
  bool play_json; /* audio out as playAudio messages */
  int out_rate;
  int unplayed;            /* of these, on their way */
  cxb_resampler *in, *out; /* NULL: the far end's rate is the leg's */
  cxb_chunker chunk;
  cxb_buf text;
  cxb_wire_transfer transfer;
} audio_fork;

static int send_play(cxb_leg *leg, const void *data, size_t len);
static int send_mark(cxb_leg *leg, const char *name);

static int fork_open(cxb_leg *leg, const char *query) {
  audio_fork *f = cxb_leg_state(leg);
  char text[16];
  f->play_json = cxb_wire_query(query, "play", text, sizeof text) && strcmp(text, "json") == 0;
  if (cxb_wire_query(query, "out_rate", text, sizeof text))
    f->out_rate = atoi(text);
  return 0;
}

/* ---- in ---- */

static bool far_rate_ok(int rate) {
  return rate >= 8000 && rate <= MAX_FAR_RATE && rate % 50 == 0;
}

static int set_rates(audio_fork *f, int in_rate, int *rate) {
  if (!f->out_rate)
    f->out_rate = in_rate;
  if (!far_rate_ok(in_rate) || !far_rate_ok(f->out_rate))
    return CXB_EUNSUPPORTED;
  *rate = in_rate <= CXB_MAX_RATE ? in_rate : CXB_MAX_RATE;
  int r = in_rate == *rate ? 0 : cxb_resampler_new(in_rate, *rate, &f->in);
  if (!r && f->out_rate != *rate)
    r = cxb_resampler_new(*rate, f->out_rate, &f->out);
  int frames = f->play_json ? PLAY_MS / CXB_FRAME_MS : 1;
  f->chunk = (cxb_chunker){.unit = (size_t)(f->out_rate / 50 * 2 * frames),
                           .stall_ms = CXB_CHUNK_STALL_MS,
                           .send = f->play_json ? send_play : cxb_leg_send_binary,
                           .mark = send_mark};
  return r;
}

/* The first text: JSON as the module was told to send it, or whatever it was told. */
static json_t *metadata(const char *data, size_t len) {
  json_t *event = cxb_wire_parse(data, len);
  if (event)
    return event;
  event = json_object();
  json_object_set_new(event, "metadata", json_stringn(data, len));
  return event;
}

static int take_metadata(cxb_leg *leg, const char *data, size_t len) {
  audio_fork *f = cxb_leg_state(leg);
  json_t *event = metadata(data, len);
  const char *mix = cxb_wire_str(event, "mixType", "mono");
  f->stereo = strcasecmp(mix, "stereo") == 0;
  cxb_start s = {.framing_ms = f->play_json ? PLAY_MS : 0};
  int r = f->stereo || strcasecmp(mix, "mono") == 0 ? 0 : CXB_EUNSUPPORTED;
  if (!r)
    r = set_rates(f, cxb_wire_int(event, "sampleRate", 8000), &s.rate);
  if (r < 0) {
    json_decref(event);
    return r;
  }
  char made[CXB_WIRE_ID_LEN];
  cxb_wire_make_id(made);
  s.stream_id = cxb_wire_str(event, "callSid", "");
  if (!*s.stream_id)
    s.stream_id = made;
  cxb_wire_numbers(&s, cxb_wire_str(event, "direction", ""), cxb_wire_str(event, "from", ""),
                   cxb_wire_str(event, "to", ""));
  f->phase = TALKING;
  return cxb_wire_begin(leg, &s, event);
}

static void hold(cxb_leg *leg, int unplayed) {
  audio_fork *f = cxb_leg_state(leg);
  bool was = f->unplayed >= UNPLAYED, is = unplayed >= UNPLAYED;
  f->unplayed = unplayed;
  if (was != is)
    cxb_session_in_hold(cxb_leg_session(leg), is);
}

static int take_dtmf(cxb_leg *leg, json_t *msg) {
  cxb_wire_dtmf(leg, cxb_wire_str(msg, "dtmf", ""));
  return 0;
}

static int take_mark(cxb_leg *leg, json_t *msg) {
  const json_t *data = cxb_wire_obj(msg, "data");
  const char *name = cxb_wire_str(data, "name", "");
  if (!*name)
    return cxb_leg_ignore(leg);
  bool cleared = strcmp(cxb_wire_str(data, "event", "playout"), "cleared") == 0;
  cxb_session_in_mark(cxb_leg_session(leg), name, -1, cleared);
  return 0;
}

static int take_play_done(cxb_leg *leg, json_t *msg) {
  const audio_fork *f = cxb_leg_state(leg);
  (void)msg;
  if (!f->unplayed)
    return cxb_leg_ignore(leg);
  hold(leg, f->unplayed - 1);
  return 0;
}

static const cxb_wire_taker events[] = {{"dtmf", 1 << TALKING, take_dtmf}};
static const cxb_wire_taker types[] = {{"mark", 1 << TALKING, take_mark},
                                       {"playDone", 1 << TALKING, take_play_done}};

static int fork_text(cxb_leg *leg, const char *data, size_t len) {
  audio_fork *f = cxb_leg_state(leg);
  if (f->phase == METADATA)
    return take_metadata(leg, data, len);
  json_t *msg = cxb_wire_parse(data, len);
  if (!msg)
    return CXB_EINVAL;
  int r =
      cxb_wire_str(msg, "event", NULL)
          ? cxb_wire_dispatch(leg, msg, "event", events, sizeof events / sizeof *events, f->phase)
          : cxb_wire_dispatch(leg, msg, "type", types, sizeof types / sizeof *types, f->phase);
  json_decref(msg);
  return r;
}

/* The caller's channel, at the leg's rate. */
static int hear(cxb_leg *leg, int16_t *pcm, size_t n) {
  audio_fork *f = cxb_leg_state(leg);
  if (f->stereo) {
    n /= 2;
    for (size_t i = 0; i < n; i++)
      pcm[i] = pcm[2 * i];
  }
  if (!f->in)
    return cxb_wire_bytes_in(leg, CXB_CODEC_PCM, pcm, n * 2);
  int16_t *out = malloc(cxb_resampler_bound(f->in, n) * sizeof *out);
  if (!out)
    return CXB_ENOMEM;
  n = cxb_resampler_run(f->in, pcm, n, out);
  if (n)
    cxb_session_in_audio(cxb_leg_session(leg), out, n);
  free(out);
  return 0;
}

static int fork_binary(cxb_leg *leg, const uint8_t *data, size_t len) {
  audio_fork *f = cxb_leg_state(leg);
  int16_t pcm[FRAMES_MAX];
  if (f->phase != TALKING || len == 0)
    return cxb_leg_ignore(leg);
  if (len % (f->stereo ? 4 : 2) || len > sizeof pcm)
    return CXB_ECORRUPT;
  memcpy(pcm, data, len);
  cxb_wire_transfer_media(&f->transfer, leg);
  return hear(leg, pcm, len / 2);
}

/* ---- out ---- */

static int send_text(cxb_leg *leg, const char *text) {
  return cxb_leg_send_text(leg, text, strlen(text));
}

static int send_play(cxb_leg *leg, const void *data, size_t len) {
  audio_fork *f = cxb_leg_state(leg);
  cxb_buf_clear(&f->text);
  int r = cxb_buf_printf(&f->text,
                         "{\"type\":\"playAudio\",\"data\":{\"audioContentType\":\"raw\","
                         "\"sampleRate\":%d,\"audioContent\":\"",
                         f->out_rate);
  if (!r)
    r = cxb_wire_base64_out(&f->text, CXB_CODEC_PCM, data, len / 2);
  if (!r)
    r = cxb_buf_str(&f->text, "\"}}");
  if (r < 0)
    return r;
  hold(leg, f->unplayed + 1);
  return cxb_leg_send_text(leg, f->text.data, f->text.len);
}

static int send_mark(cxb_leg *leg, const char *name) {
  audio_fork *f = cxb_leg_state(leg);
  cxb_buf_clear(&f->text);
  int r = cxb_buf_str(&f->text, "{\"type\":\"mark\",\"data\":{\"name\":");
  if (!r)
    r = cxb_buf_json(&f->text, name, strlen(name));
  if (!r)
    r = cxb_buf_str(&f->text, "}}");
  return r < 0 ? r : cxb_leg_send_text(leg, f->text.data, f->text.len);
}

/* While a transfer is under way the timer is its judge's. */
static void fork_timer(cxb_leg *leg) {
  audio_fork *f = cxb_leg_state(leg);
  if (!f->transfer.began)
    cxb_chunk_flush(&f->chunk, leg);
  cxb_wire_transfer_look(&f->transfer, leg);
  f->chunk.stall_ms = f->transfer.began ? 0 : CXB_CHUNK_STALL_MS;
}

static int fork_frame(cxb_leg *leg, const int16_t *pcm, size_t n) {
  audio_fork *f = cxb_leg_state(leg);
  int16_t far[MAX_FAR_RATE / 50 * 2];
  if (f->phase != TALKING)
    return CXB_ECLOSED;
  if (f->out) {
    if (cxb_resampler_bound(f->out, n) > sizeof far / sizeof *far)
      return CXB_EINVAL;
    n = cxb_resampler_run(f->out, pcm, n, far);
    pcm = far;
  }
  return cxb_chunk_add(&f->chunk, leg, pcm, n);
}

static int fork_clear(cxb_leg *leg) {
  audio_fork *f = cxb_leg_state(leg);
  if (f->phase != TALKING)
    return CXB_ECLOSED;
  cxb_chunk_drop(&f->chunk, leg);
  hold(leg, 0);
  int r = send_text(leg, "{\"type\":\"killAudio\"}");
  return r < 0 ? r : send_text(leg, "{\"type\":\"clearMarks\"}");
}

static int fork_mark(cxb_leg *leg, const char *name) {
  audio_fork *f = cxb_leg_state(leg);
  return f->phase == TALKING ? cxb_chunk_mark(&f->chunk, leg, name) : CXB_ECLOSED;
}

static int fork_transfer(cxb_leg *leg, const cxb_transfer *t) {
  audio_fork *f = cxb_leg_state(leg);
  if (f->phase != TALKING)
    return CXB_ECLOSED;
  if (f->transfer.began)
    return CXB_EBUSY;
  const char *to = t->to ? t->to : "", *reason = t->reason ? t->reason : "";
  int r = cxb_chunk_flush(&f->chunk, leg);
  cxb_buf_clear(&f->text);
  if (!r)
    r = cxb_buf_str(&f->text, "{\"type\":\"transfer\",\"data\":{\"transferTo\":");
  if (!r)
    r = cxb_buf_json(&f->text, to, strlen(to));
  if (!r)
    r = cxb_buf_str(&f->text, ",\"reason\":");
  if (!r)
    r = cxb_buf_json(&f->text, reason, strlen(reason));
  if (!r)
    r = cxb_buf_str(&f->text, "}}");
  if (!r)
    r = cxb_leg_send_text(leg, f->text.data, f->text.len);
  if (r < 0)
    return r;
  f->chunk.stall_ms = 0;
  cxb_wire_transfer_begin(&f->transfer, leg);
  return 0;
}

/* The far end closes the socket; the session does when it does not. */
static int fork_hangup(cxb_leg *leg) {
  audio_fork *f = cxb_leg_state(leg);
  if (f->phase != TALKING)
    return CXB_ECLOSED;
  cxb_wire_transfer_end(&f->transfer, leg, false, "hangup");
  f->phase = OVER;
  cxb_leg_timer(leg, 0);
  return send_text(leg, "{\"type\":\"disconnect\"}");
}

static void fork_closed(cxb_leg *leg) {
  audio_fork *f = cxb_leg_state(leg);
  cxb_wire_transfer_end(&f->transfer, leg, true, "closed");
  cxb_resampler_free(f->in);
  cxb_resampler_free(f->out);
  cxb_chunk_free(&f->chunk);
  cxb_buf_free(&f->text);
}

const cxb_serializer cxb_serializer_audiofork = {
    .name = "audiofork",
    .lead_ms = 200,
    .has_marks = true,
    .can_transfer = true,
    .subprotocols = "audio.jambonz.org,audio.drachtio.org",
    .state_size = sizeof(audio_fork),
    .open = fork_open,
    .text = fork_text,
    .binary = fork_binary,
    .frame = fork_frame,
    .clear = fork_clear,
    .mark = fork_mark,
    .transfer = fork_transfer,
    .hangup = fork_hangup,
    .timer = fork_timer,
    .closed = fork_closed,
};
