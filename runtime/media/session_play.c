/* From the play queue to the wire: frames, marks, what was heard, and the clear. A wire's function
 * may end the call before it returns (cxb_session_in_closed()), so nothing of a voice is touched
 * after one, and `ops` is asked again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "session_impl.h"

/* ---- voices ---- */
static cxb_voice *voice_find(cxb_voice *list, uint32_t id) {
  while (list && list->id != id)
    list = list->next;
  return list;
}

static cxb_voice *voice_of(cxb_session *s, uint32_t id) {
  cxb_voice *v = voice_find(s->voices, id);
  if (v)
    return v;
  v = calloc(1, sizeof *v);
  if (!v)
    return NULL;
  v->id = id;
  *s->voices_tail = v;
  s->voices_tail = &v->next;
  return v;
}

/* Tells and frees. */
static void voice_played(cxb_session *s, cxb_voice *v) {
  int64_t ms = v->heard_us / 1000;
  uv_mutex_lock(&s->lock);
  s->stats.heard_total_ms += ms;
  uv_mutex_unlock(&s->lock);
  cxb_session_tell(
      s, (cxb_event){.type = CXB_EV_PLAYED, .utterance = v->id, .heard_ms = ms, .code = v->err});
  free(v);
}

static cxb_voice *voice_shift(cxb_session *s) {
  cxb_voice *v = s->voices;
  s->voices = v->next;
  if (!s->voices)
    s->voices_tail = &s->voices;
  return v;
}

void cxb_session_say_lost(cxb_session *s, uint32_t id, int err) {
  cxb_session_tell(s, (cxb_event){.type = CXB_EV_PLAYED, .utterance = id, .code = err});
}

/* ---- heard ---- */
static void flight_landed(cxb_session *s, int64_t heard_us) {
  cxb_flight *f = &s->flights[s->flight_first];
  cxb_voice *v = voice_find(s->voices, f->id);
  if (v && heard_us > 0)
    v->heard_us += heard_us < f->length_us ? heard_us : f->length_us;
  s->flight_first = (s->flight_first + 1) % CXB_FLIGHTS;
  s->flight_count--;
}

static void flight_add(cxb_session *s, cxb_flight flight) {
  if (s->flight_count == CXB_FLIGHTS)
    flight_landed(s, s->flights[s->flight_first].length_us);
  s->flights[(s->flight_first + s->flight_count++) % CXB_FLIGHTS] = flight;
}

void cxb_session_heard(cxb_session *s, int64_t now) {
  while (s->flight_count > 0) {
    const cxb_flight *f = &s->flights[s->flight_first];
    if (f->start_us + f->length_us > now)
      break;
    flight_landed(s, f->length_us);
  }
  for (cxb_voice *v; (v = s->voices) && v->all_sent;) {
    if (now < v->end_us + (v->marked ? (int64_t)CXB_MARK_MS * 1000 : 0))
      break;
    v->heard_us = v->sent_us;
    voice_played(s, voice_shift(s));
  }
}

int64_t cxb_session_next_heard(const cxb_session *s) {
  const cxb_voice *v = s->voices;
  if (!v || !v->all_sent)
    return CXB_NEVER;
  return v->end_us + (v->marked ? (int64_t)CXB_MARK_MS * 1000 : 0);
}

static void forget_flights(cxb_session *s, uint32_t id) {
  while (s->flight_count > 0 && s->flights[s->flight_first].id == id)
    flight_landed(s, 0);
}

/* The mark of one utterance: it and all before it were played, or thrown away by the far end. */
static void marked(cxb_session *s, uint32_t id, int64_t played_ms, bool cleared) {
  const cxb_voice *target = voice_find(s->voices, id);
  if (!target || !target->marked)
    return;
  cxb_session_heard(s, cxb_now_us());
  while (voice_find(s->voices, id)) {
    cxb_voice *v = voice_shift(s);
    forget_flights(s, v->id);
    if (v->id != id || !cleared)
      v->heard_us = v->sent_us;
    else if (played_ms >= 0)
      v->heard_us = played_ms * 1000 < v->sent_us ? played_ms * 1000 : v->sent_us;
    voice_played(s, v);
  }
}

void cxb_session_in_mark(cxb_session *s, const char *name, int64_t played_ms, bool cleared) {
  if (s->wire_closed || !name)
    return;
  s->alive_us = cxb_now_us();
  char *end = NULL;
  if (name[0] == '\0')
    cxb_session_resolve_cut(s, played_ms);
  else if (name[0] == 'u' && name[1] >= '1' && name[1] <= '9') {
    unsigned long id = strtoul(name + 1, &end, 10);
    if (*end == '\0' && id <= UINT32_MAX)
      marked(s, (uint32_t)id, played_ms, cleared);
  }
  cxb_session_rearm(s);
}

/* ---- frames out ---- */
static bool ready(void *arg) {
  const cxb_session *s = arg;
  return s->ops && s->answered && !s->held && !s->stopped && !s->hanging_up &&
         cxb_playq_ready(&s->queue);
}

static void publish(cxb_session *s, bool failed) {
  uv_mutex_lock(&s->lock);
  s->stats.frames_out++;
  s->stats.frame_errors += failed;
  s->stats.underruns = s->pacer.underruns;
  if (s->lateness.total != s->pacer.lateness.total)
    s->lateness = s->pacer.lateness;
  uv_mutex_unlock(&s->lock);
}

static void send_mark(cxb_session *s, uint32_t id) {
  char name[16];
  cxb_voice *v = voice_find(s->voices, id);
  if (!v || !s->ops || !s->ops->has_marks || v->sent_us == 0)
    return;
  snprintf(name, sizeof name, "u%u", (unsigned)id);
  v->marked = true;
  if (s->ops->mark(s->wire, name) != 0 && (v = voice_find(s->voices, id)))
    v->marked = false;
}

/* Accounts for the piece before the wire sees it. True when it is the utterance's first frame. */
static bool account(cxb_session *s, const cxb_piece *piece, int64_t play_us) {
  cxb_voice *v = voice_of(s, piece->utterance);
  if (!v)
    return false;
  bool first = v->sent_us == 0 && piece->samples > 0;
  if (piece->samples > 0) {
    int64_t length = (int64_t)piece->samples * 1000000 / s->rate;
    flight_add(s, (cxb_flight){piece->utterance, play_us, length});
    v->sent_us += length;
    v->end_us = play_us + length;
  }
  if (piece->last) {
    v->all_sent = true;
    v->err = piece->err;
  }
  return first;
}

static bool send_next(void *arg, int64_t play_us) {
  cxb_session *s = arg;
  cxb_piece piece;
  bool sent = false;
  cxb_session_heard(s, cxb_now_us());
  while (!sent && s->ops && cxb_playq_pull(&s->queue, s->frame, &piece)) {
    bool first = account(s, &piece, play_us);
    if (piece.samples > 0) {
      int err = s->ops->frame(s->wire, s->frame, s->queue.frame);
      publish(s, err != 0);
      sent = true;
      if (s->ops && s->recorder)
        cxb_recorder_bot(s->recorder, s->frame, s->queue.frame, play_us);
      if (s->ops && s->monitor)
        cxb_monitor_bot(s->monitor, s->frame, s->queue.frame, play_us);
      if (first && s->ops)
        cxb_session_tell(s, (cxb_event){.type = CXB_EV_FIRST_FRAME, .utterance = piece.utterance});
    }
    if (piece.last)
      send_mark(s, piece.utterance);
  }
  if (!s->handles_closing)
    cxb_session_rearm(s);
  return sent;
}

const cxb_pacer_ops cxb_session_pacer_ops = {ready, send_next};

/* ---- clear ---- */
bool cxb_session_playing(const cxb_session *s) {
  return s->voices || s->queue.head;
}

/* Everything that was to be heard, as voices; what is partly out counts by the pacer's clock. */
static cxb_voice *take_all(cxb_session *s, int64_t now) {
  cxb_session_heard(s, now);
  while (s->flight_count > 0)
    flight_landed(s, now - s->flights[s->flight_first].start_us);
  uint32_t id;
  int err;
  while (cxb_playq_drop(&s->queue, &id, &err)) {
    cxb_voice *v = voice_of(s, id);
    if (v)
      v->err = err;
    else
      cxb_session_say_lost(s, id, err);
  }
  cxb_voice *all = s->voices;
  s->voices = NULL;
  s->voices_tail = &s->voices;
  return all;
}

void cxb_session_cut(cxb_session *s, const char *by, bool tell_wire) {
  int64_t now = cxb_now_us();
  if (s->cut.active)
    cxb_session_resolve_cut(s, -1);
  s->cut = (cxb_cut){.active = true, .by = by, .until_us = CXB_NEVER};
  s->cut.voices = take_all(s, now);
  s->cut.epoch = s->epoch;
  if (s->has_pacer)
    cxb_pacer_reset(&s->pacer);
  if (s->recorder)
    cxb_recorder_cut(s->recorder, now);
  if (s->monitor)
    cxb_monitor_cut(s->monitor, now);
  bool asked = tell_wire && s->ops && s->ops->clear(s->wire) == 0;
  if (!s->cut.active) /* the wire closed in clear() and the cut was resolved */
    return;
  bool sent = s->cut.voices && s->cut.voices->sent_us > 0;
  if (asked && sent && s->ops && s->ops->answers_clear) {
    s->cut.until_us = now + (int64_t)CXB_CLEAR_ANSWER_MS * 1000;
    cxb_session_rearm(s);
  } else {
    cxb_session_resolve_cut(s, -1);
  }
}

void cxb_session_resolve_cut(cxb_session *s, int64_t played_ms) {
  if (!s->cut.active)
    return;
  cxb_cut cut = s->cut;
  s->cut = (cxb_cut){.until_us = CXB_NEVER};
  if (played_ms >= 0)
    for (cxb_voice *v = cut.voices; v; v = v->next) {
      int64_t heard = v == cut.voices ? played_ms * 1000 : 0;
      v->heard_us = heard < v->sent_us ? heard : v->sent_us;
    }
  if (cut.by)
    cxb_session_tell(s, (cxb_event){.type = CXB_EV_CLEARED,
                                    .utterance = cut.voices ? cut.voices->id : 0,
                                    .heard_ms = cut.voices ? cut.voices->heard_us / 1000 : 0,
                                    .code = (int)cut.epoch,
                                    .text = cut.by});
  while (cut.voices) {
    cxb_voice *v = cut.voices;
    cut.voices = v->next;
    voice_played(s, v);
  }
}
