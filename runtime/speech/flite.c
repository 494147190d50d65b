/* flite and each voice are shared libraries of Debian's libflite1. A voice is loaded when it first
 * speaks and then stays: its tables cost memory, and few processes use more than one. */
#include "flite.h"

#include <dlfcn.h>
#include <flite/flite.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

enum { CHUNK_SAMPLES = 800 }; /* 50 ms at 16 kHz */

/* The best sounding first. */
static const char *const voice_names[] = {"slt", "rms", "awb", "kal16"};
enum { VOICES = sizeof voice_names / sizeof *voice_names };

#define FLITE_CALLS(X)                                                                             \
  X(int, flite_init, (void))                                                                       \
  X(cst_utterance *, flite_synth_text, (const char *, cst_voice *))                                \
  X(void, delete_utterance, (cst_utterance *))                                                     \
  X(void, flite_feat_set, (cst_features *, const char *, const cst_val *))                         \
  X(void, flite_feat_set_float, (cst_features *, const char *, float))                             \
  X(cst_audio_streaming_info *, new_audio_streaming_info, (void))                                  \
  X(cst_val *, audio_streaming_info_val, (const cst_audio_streaming_info *))

typedef struct flite_calls {
#define X(result, name, parameters) result(*name) parameters;
  FLITE_CALLS(X)
#undef X
} flite_calls;

struct cxb_flite {
  void *library;
  flite_calls calls;
  bool available[VOICES];
  struct {
    void *library;
    cst_voice *voice;
    cst_audio_streaming_info *streaming; /* owned by the voice's features */
  } loaded[VOICES];
};

/* One cxb_flite_say() in progress. */
typedef struct saying {
  cxb_flite_chunk chunk;
  void *arg;
  bool stopped;
} saying;

static void voice_library(size_t i, char *out, size_t size) {
  snprintf(out, size, "libflite_cmu_us_%s.so.1", voice_names[i]);
}

static int find_calls(cxb_flite *flite) {
#define X(result, name, parameters)                                                                \
  {                                                                                                \
    void *symbol = dlsym(flite->library, #name);                                                   \
    if (!symbol)                                                                                   \
      return CXB_ENOENT;                                                                           \
    memcpy(&flite->calls.name, &symbol, sizeof symbol);                                            \
  }
  FLITE_CALLS(X)
#undef X
  return 0;
}

/* Which voices there are; none is kept loaded. */
static int find_voices(cxb_flite *flite) {
  int err = CXB_ENOENT;
  for (size_t i = 0; i < VOICES; i++) {
    char name[64];
    voice_library(i, name, sizeof name);
    void *library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
      continue;
    flite->available[i] = true;
    err = 0;
    dlclose(library);
  }
  return err;
}

int cxb_flite_open(cxb_flite **out) {
  cxb_flite *flite = calloc(1, sizeof *flite);
  if (!flite)
    return CXB_ENOMEM;
  flite->library = dlopen("libflite.so.1", RTLD_NOW | RTLD_GLOBAL);
  int err = flite->library ? find_calls(flite) : CXB_ENOENT;
  if (!err)
    err = find_voices(flite);
  if (err) {
    cxb_flite_close(flite);
    return err;
  }
  flite->calls.flite_init();
  *out = flite;
  return 0;
}

static void unload_voice(cxb_flite *flite, size_t i) {
  char name[64];
  void (*unregister)(cst_voice *) = NULL;
  snprintf(name, sizeof name, "unregister_cmu_us_%s", voice_names[i]);
  void *symbol = dlsym(flite->loaded[i].library, name);
  memcpy(&unregister, &symbol, sizeof symbol);
  if (unregister)
    unregister(flite->loaded[i].voice);
  dlclose(flite->loaded[i].library);
}

void cxb_flite_close(cxb_flite *flite) {
  if (!flite)
    return;
  for (size_t i = 0; i < VOICES; i++)
    if (flite->loaded[i].library)
      unload_voice(flite, i);
  if (flite->library)
    dlclose(flite->library);
  free(flite);
}

const char *cxb_flite_voice(const cxb_flite *flite, size_t n) {
  for (size_t i = 0; i < VOICES; i++)
    if (flite->available[i] && n-- == 0)
      return voice_names[i];
  return NULL;
}

static int on_audio(const cst_wave *wave, int start, int size, int last,
                    cst_audio_streaming_info *streaming) {
  saying *s = streaming->userdata;
  (void)last;
  if (!s->stopped && size > 0)
    s->stopped = s->chunk(s->arg, wave->samples + start, (size_t)size, wave->sample_rate) != 0;
  return s->stopped ? CST_AUDIO_STREAM_STOP : CST_AUDIO_STREAM_CONT;
}

static int load_voice(cxb_flite *flite, size_t i) {
  char name[64];
  cst_voice *(*registration)(const char *) = NULL;
  voice_library(i, name, sizeof name);
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return CXB_ENOENT;
  snprintf(name, sizeof name, "register_cmu_us_%s", voice_names[i]);
  void *symbol = dlsym(library, name);
  memcpy(&registration, &symbol, sizeof symbol);
  cst_voice *voice = registration ? registration(NULL) : NULL;
  cst_audio_streaming_info *streaming = flite->calls.new_audio_streaming_info();
  if (!voice || !streaming) {
    dlclose(library);
    return CXB_ENOMEM;
  }
  streaming->min_buffsize = CHUNK_SAMPLES;
  streaming->asc = on_audio;
  flite->calls.flite_feat_set(voice->features, "streaming_info",
                              flite->calls.audio_streaming_info_val(streaming));
  flite->loaded[i].library = library;
  flite->loaded[i].voice = voice;
  flite->loaded[i].streaming = streaming;
  return 0;
}

/* Index of the voice, loaded; or CXB_E*. */
static int get_voice(cxb_flite *flite, const char *name) {
  if (!name)
    name = cxb_flite_voice(flite, 0);
  for (size_t i = 0; i < VOICES; i++) {
    if (!flite->available[i] || strcmp(voice_names[i], name) != 0)
      continue;
    int err = flite->loaded[i].library ? 0 : load_voice(flite, i);
    return err ? err : (int)i;
  }
  return CXB_ENOENT;
}

int cxb_flite_say(cxb_flite *flite, const char *voice_name, double speed, const char *text,
                  cxb_flite_chunk chunk, void *arg) {
  if (!(speed >= 0.5 && speed <= 2.0))
    return CXB_EINVAL;
  int i = get_voice(flite, voice_name);
  if (i < 0)
    return i;
  cst_voice *voice = flite->loaded[i].voice;
  saying s = {.chunk = chunk, .arg = arg};
  flite->loaded[i].streaming->userdata = &s;
  flite->calls.flite_feat_set_float(voice->features, "duration_stretch", (float)(1.0 / speed));
  cst_utterance *utterance = flite->calls.flite_synth_text(text, voice);
  flite->loaded[i].streaming->userdata = NULL;
  if (s.stopped) {
    flite->calls.delete_utterance(utterance);
    return CXB_ECANCELED;
  }
  if (!utterance)
    return CXB_ENOMEM;
  flite->calls.delete_utterance(utterance);
  return 0;
}
