#include "speaker.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../media/resample.h"
#include "say_text.h"

enum {
  LEADING_LEVEL = 96, /* quieter than this before the first sound is silence, */
  LEADING_KEPT = 320, /* of which so many samples stay */
};

struct cxb_speaker {
  cxb_engine *engine;
  cxb_speaker_config config;
  cxb_pool_job job;
  atomic_int refs;
  pthread_mutex_t lock; /* held while a callback runs */
  bool closed;          /* under lock */
  bool sounding;        /* leading silence is over */
  int err;              /* of on_chunk */
  int rate;             /* of the resampler's input, 0: none yet */
  cxb_resampler *resampler;
  char voice[16];
  char *text, *next;
};

#define OWNER(job_pointer)                                                                         \
  ((cxb_speaker *)(void *)((char *)(job_pointer)-offsetof(cxb_speaker, job)))

static void unref(cxb_speaker *speaker) {
  if (atomic_fetch_sub(&speaker->refs, 1) != 1)
    return;
  cxb_resampler_free(speaker->resampler);
  pthread_mutex_destroy(&speaker->lock);
  free(speaker->text);
  free(speaker);
}

/* False when the owner listens no more. */
static bool give_audio(cxb_speaker *speaker, const int16_t *pcm, size_t n) {
  pthread_mutex_lock(&speaker->lock);
  bool listening = !speaker->closed;
  if (listening && n > 0)
    speaker->config.on_audio(speaker->config.arg, pcm, n);
  pthread_mutex_unlock(&speaker->lock);
  return listening;
}

static void give_end(cxb_speaker *speaker, int err) {
  pthread_mutex_lock(&speaker->lock);
  if (!speaker->closed)
    speaker->config.on_end(speaker->config.arg, err);
  pthread_mutex_unlock(&speaker->lock);
}

/* Drops what is silent before the first sound. */
static void skip_silence(cxb_speaker *speaker, const int16_t **pcm, size_t *n) {
  size_t sound = 0;
  while (sound < *n && abs((*pcm)[sound]) < LEADING_LEVEL)
    sound++;
  speaker->sounding = sound < *n;
  size_t drop = !speaker->sounding ? *n : sound > LEADING_KEPT ? sound - LEADING_KEPT : 0;
  *pcm += drop;
  *n -= drop;
}

static int on_chunk(void *arg, const int16_t *pcm, size_t n, int rate) {
  cxb_speaker *speaker = arg;
  if (!speaker->sounding)
    skip_silence(speaker, &pcm, &n);
  if (!speaker->resampler) {
    speaker->err = cxb_resampler_new(rate, speaker->config.rate, &speaker->resampler);
    speaker->rate = rate;
  }
  if (speaker->err == 0 && rate != speaker->rate)
    speaker->err = CXB_EUNSUPPORTED;
  if (speaker->err)
    return -1;
  int16_t *out = malloc(cxb_resampler_bound(speaker->resampler, n) * sizeof *out);
  if (!out) {
    speaker->err = CXB_ENOMEM;
    return -1;
  }
  size_t made = cxb_resampler_run(speaker->resampler, pcm, n, out);
  bool listening = give_audio(speaker, out, made);
  free(out);
  return listening ? 0 : -1;
}

static int flush(cxb_speaker *speaker) {
  if (!speaker->resampler)
    return 0;
  int16_t *out = malloc((cxb_resampler_tail(speaker->resampler) + 1) * sizeof *out);
  if (!out)
    return CXB_ENOMEM;
  give_audio(speaker, out, cxb_resampler_flush(speaker->resampler, out));
  free(out);
  return 0;
}

static bool pronounceable(const char *text) {
  while (*text && !isalnum((unsigned char)*text))
    text++;
  return *text != 0;
}

/* Speaks the next sentence; CXB_EAGAIN when more follow. */
static int speak_sentence(cxb_speaker *speaker) {
  size_t n = cxb_say_sentence(speaker->next);
  if (n == 0)
    return flush(speaker);
  char after = speaker->next[n];
  speaker->next[n] = 0;
  int err = 0;
  if (pronounceable(speaker->next))
    err = cxb_flite_say(speaker->engine->flite, speaker->voice, speaker->config.speed,
                        speaker->next, on_chunk, speaker);
  speaker->next += n;
  speaker->next[0] = after;
  if (speaker->err)
    return speaker->err;
  if (err)
    return err;
  return after ? CXB_EAGAIN : flush(speaker);
}

static void run(cxb_pool_job *job) {
  cxb_speaker *speaker = OWNER(job);
  int err = give_audio(speaker, NULL, 0) ? speak_sentence(speaker) : CXB_ECANCELED;
  if (err == CXB_EAGAIN) {
    cxb_pool_post(speaker->engine->speaking, job, false);
    return;
  }
  give_end(speaker, err);
  unref(speaker);
}

/* The voice's name, or NULL when there is none such. */
static const char *find_voice(const cxb_engine *engine, const char *wanted) {
  const char *name = cxb_flite_voice(engine->flite, 0);
  for (size_t i = 0; wanted && name && strcmp(name, wanted) != 0;)
    name = cxb_flite_voice(engine->flite, ++i);
  return name;
}

int cxb_speaker_start(cxb_engine *engine, const cxb_speaker_config *config, cxb_speaker **out) {
  double speed = config->speed != 0 ? config->speed : 1;
  if (!engine->flite || !(speed >= 0.5 && speed <= 2.0) || config->rate < 8000 ||
      config->rate > 48000)
    return CXB_EINVAL;
  const char *voice = find_voice(engine, config->voice);
  if (!voice)
    return CXB_ENOENT;
  if (config->len > CXB_SPEAKER_MAX_TEXT)
    return CXB_ETOOBIG;
  cxb_speaker *speaker = calloc(1, sizeof *speaker);
  if (!speaker)
    return CXB_ENOMEM;
  size_t room = config->len * 5 + 16; /* one character may become a word */
  speaker->text = malloc(room);
  if (!speaker->text) {
    free(speaker);
    return CXB_ENOMEM;
  }
  cxb_say_ascii(config->text, config->len, speaker->text, room);
  speaker->next = speaker->text;
  speaker->engine = engine;
  speaker->config = *config;
  speaker->config.speed = speed;
  strncpy(speaker->voice, voice, sizeof speaker->voice - 1);
  speaker->job.run = run;
  atomic_init(&speaker->refs, 2);
  pthread_mutex_init(&speaker->lock, NULL);
  *out = speaker;
  cxb_pool_post(engine->speaking, &speaker->job, false);
  return 0;
}

void cxb_speaker_close(cxb_speaker *speaker) {
  pthread_mutex_lock(&speaker->lock);
  speaker->closed = true;
  pthread_mutex_unlock(&speaker->lock);
  unref(speaker);
}
