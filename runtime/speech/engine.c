#include "engine.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/err.h"
#include "blocks.h"

/* After a busy time: what the last inferences used goes back to the system. */
static void give_back(void) {
  cxb_blocks_trim();
  malloc_trim(0);
}

static int open_stt(cxb_engine *engine, const cxb_engine_config *config, char *why, size_t size) {
  char path[PATH_MAX];
  int threads = config->threads > 0 ? config->threads : 1;
  snprintf(path, sizeof path, "%s/libonnxruntime.so", config->models);
  int err = cxb_ort_open(path, &engine->ort);
  if (!err)
    err = cxb_silero_open(engine->ort, config->models, &engine->silero);
  if (!err)
    err = cxb_moonshine_open(engine->ort, config->models, threads, &engine->moonshine);
  if (!err)
    err = cxb_pool_new(1, NULL, &engine->listening);
  if (!err)
    err = cxb_pool_new(1, give_back, &engine->recognising);
  if (err)
    snprintf(why, size, "speech to text: %s: %s", cxb_strerror(err), cxb_ort_message());
  return err;
}

static int open_tts(cxb_engine *engine, char *why, size_t size) {
  int err = cxb_flite_open(&engine->flite);
  if (!err)
    err = cxb_pool_new(1, NULL, &engine->speaking);
  if (err)
    snprintf(why, size, "text to speech: flite: %s", cxb_strerror(err));
  return err;
}

int cxb_engine_open(const cxb_engine_config *config, cxb_engine **out, char *why, size_t size) {
  cxb_engine *engine = calloc(1, sizeof *engine);
  if (!engine)
    return CXB_ENOMEM;
  int err = config->stt ? open_stt(engine, config, why, size) : 0;
  if (!err && config->tts)
    err = open_tts(engine, why, size);
  if (err) {
    cxb_engine_close(engine);
    return err;
  }
  give_back();
  *out = engine;
  return 0;
}

void cxb_engine_close(cxb_engine *engine) {
  if (!engine)
    return;
  cxb_pool_close(engine->listening);
  cxb_pool_close(engine->recognising);
  cxb_pool_close(engine->speaking);
  cxb_flite_close(engine->flite);
  cxb_moonshine_close(engine->moonshine);
  cxb_silero_close(engine->silero);
  cxb_ort_close(engine->ort);
  free(engine);
}
