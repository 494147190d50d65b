/* Interface of the exported model: encoder input_values [1, samples] → last_hidden_state; merged
 * decoder (input_ids, encoder_hidden_states, 6 layers × {decoder, encoder} × {key, value} caches,
 * use_cache_branch) → logits and the caches of the next step. The first step runs without cache;
 * afterwards the encoder's caches stay as the first step gave them. */
#include "moonshine.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "blocks.h"
#include "vocab.h"

enum {
  LAYERS = 6,
  HEADS = 8,
  HEAD_SIZE = 36,
  CACHES = LAYERS * 4,
  START = 1,
  END = 2,
  MIN_SAMPLES = CXB_STT_RATE / 10,
  MAX_SECONDS = 30,
  TOKENS_PER_SECOND = 7, /* faster speech is a repetition loop */
  SPARE_TOKENS = 6,
  MAX_TOKENS = MAX_SECONDS * TOKENS_PER_SECOND + SPARE_TOKENS,
};

struct cxb_moonshine {
  cxb_ort *ort;
  cxb_ort_model *encoder, *decoder;
  cxb_vocab *vocab;
  char past_names[CACHES][40], present_names[CACHES][32];
};

/* One transcription in progress. */
typedef struct decoding {
  const cxb_moonshine *model;
  const cxb_transcribe_options *options;
  cxb_ort_value *hidden; /* the encoder's answer */
  cxb_ort_value *cache[CACHES];
  int64_t tokens[MAX_TOKENS];
  size_t ntokens;
  bool looped;
  double log_probability;
} decoding;

static bool is_encoder_cache(size_t i) {
  return i % 4 >= 2;
}

static void name_caches(cxb_moonshine *model) {
  static const char *const parts[4] = {"decoder.key", "decoder.value", "encoder.key",
                                       "encoder.value"};
  for (size_t i = 0; i < CACHES; i++) {
    snprintf(model->past_names[i], sizeof *model->past_names, "past_key_values.%zu.%s", i / 4,
             parts[i % 4]);
    snprintf(model->present_names[i], sizeof *model->present_names, "present.%zu.%s", i / 4,
             parts[i % 4]);
  }
}

int cxb_moonshine_open(cxb_ort *ort, const char *dir, int threads, cxb_moonshine **out) {
  cxb_moonshine *model = calloc(1, sizeof *model);
  if (!model)
    return CXB_ENOMEM;
  model->ort = ort;
  name_caches(model);
  char path[4096];
  snprintf(path, sizeof path, "%s/moonshine_encoder.onnx", dir);
  int err = cxb_ort_model_open(ort, path, threads, &model->encoder);
  if (!err) {
    snprintf(path, sizeof path, "%s/moonshine_decoder.onnx", dir);
    err = cxb_ort_model_open(ort, path, threads, &model->decoder);
  }
  if (!err) {
    snprintf(path, sizeof path, "%s/vocab.bin", dir);
    err = cxb_vocab_open(path, &model->vocab);
  }
  if (err) {
    cxb_moonshine_close(model);
    return err;
  }
  *out = model;
  return 0;
}

void cxb_moonshine_close(cxb_moonshine *model) {
  if (!model)
    return;
  cxb_ort_model_close(model->encoder);
  cxb_ort_model_close(model->decoder);
  cxb_vocab_close(model->vocab);
  free(model);
}

static int encode(decoding *d, const float *pcm, size_t n) {
  static const char *const in[] = {"input_values"}, *const out[] = {"last_hidden_state"};
  const int64_t dims[] = {1, (int64_t)n};
  cxb_ort_value *input = NULL;
  /* The library only reads the input; its interface knows no const. */
  int err = cxb_ort_value_new(d->model->ort, CXB_ORT_FLOAT, (void *)(uintptr_t)pcm, n * sizeof *pcm,
                              dims, 2, &input);
  if (err)
    return err;
  const cxb_ort_value *inputs[] = {input};
  err = cxb_ort_run(d->model->encoder, in, inputs, 1, out, &d->hidden, 1);
  cxb_ort_value_release(d->model->ort, input);
  return err;
}

/* The next step's caches replace this one's; the encoder's are made by the first step only. */
static void take_caches(decoding *d, cxb_ort_value **outputs, bool first) {
  for (size_t i = 0; i < CACHES; i++) {
    bool keep = !first && is_encoder_cache(i);
    cxb_ort_value **drop = keep ? &outputs[1 + i] : &d->cache[i];
    cxb_ort_value_release(d->model->ort, *drop);
    *drop = NULL;
    if (!keep) {
      d->cache[i] = outputs[1 + i];
      outputs[1 + i] = NULL;
    }
  }
}

/* Runs the decoder on one token; outputs[0] are the logits. */
static int run_decoder(decoding *d, int64_t token, bool first, cxb_ort_value *outputs[1 + CACHES]) {
  const cxb_moonshine *model = d->model;
  const char *in[CACHES + 3] = {"input_ids", "encoder_hidden_states"};
  const char *out[CACHES + 1] = {"logits"};
  const cxb_ort_value *inputs[CACHES + 3] = {NULL, d->hidden};
  bool use_cache = !first;
  const int64_t id_dims[] = {1, 1}, flag_dims[] = {1};
  cxb_ort_value *id = NULL, *flag = NULL;
  for (size_t i = 0; i < CACHES; i++) {
    in[2 + i] = model->past_names[i];
    out[1 + i] = model->present_names[i];
    inputs[2 + i] = d->cache[i];
  }
  in[CACHES + 2] = "use_cache_branch";
  int err = cxb_ort_value_new(model->ort, CXB_ORT_INT64, &token, sizeof token, id_dims, 2, &id);
  if (!err)
    err = cxb_ort_value_new(model->ort, CXB_ORT_BOOL, &use_cache, 1, flag_dims, 1, &flag);
  inputs[0] = id;
  inputs[CACHES + 2] = flag;
  if (!err)
    err = cxb_ort_run(model->decoder, in, inputs, CACHES + 3, out, outputs, CACHES + 1);
  cxb_ort_value_release(model->ort, id);
  cxb_ort_value_release(model->ort, flag);
  return err;
}

/* The token to go on with: the most probable one, or a hint that comes near it. Adds the log
 * probability the model itself gave it. `banned` is never chosen. */
static int choose(decoding *d, cxb_ort_value *logits, int64_t banned, int64_t *token) {
  int64_t dims[3] = {0};
  void *data = NULL;
  int ndims = cxb_ort_value_dims(d->model->ort, logits, dims, 3);
  int err = ndims < 0 ? ndims : cxb_ort_value_data(d->model->ort, logits, &data);
  if (err < 0)
    return err;
  if (ndims != 3 || dims[1] < 1 || dims[2] < 3)
    return CXB_ECORRUPT;
  float *row = (float *)data + (dims[1] - 1) * dims[2];
  size_t n = (size_t)dims[2], best = 0;
  if (banned >= 0)
    row[banned] = -INFINITY;
  for (size_t i = 1; i < n; i++)
    if (row[i] > row[best])
      best = i;
  float sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += expf(row[i] - row[best]);
  int64_t hinted = -1;
  if (d->options->hints)
    hinted = cxb_hints_choose(d->options->hints, d->tokens, d->ntokens, row, n, row[best]);
  *token = hinted >= 0 ? hinted : (int64_t)best;
  d->log_probability += (double)(row[*token] - row[best]) - log((double)sum);
  return 0;
}

/* Tokens without what is said again and again at their end: a group of up to eight tokens that
 * comes three times or more stays once. */
static size_t without_loop(const int64_t *tokens, size_t n) {
  enum { LONGEST_GROUP = 8, LEAST_TIMES = 3 };
  for (size_t group = 1; group <= LONGEST_GROUP; group++) {
    size_t same = 0;
    while (same + group < n && tokens[n - 1 - same] == tokens[n - 1 - same - group])
      same++;
    if (same >= group * (LEAST_TIMES - 1))
      return n - same;
  }
  return n;
}

static int decode(decoding *d, size_t max_tokens) {
  const cxb_transcribe_options *options = d->options;
  int64_t token = START;
  cxb_ort_value *outputs[1 + CACHES];
  for (size_t step = 0; step <= max_tokens; step++) {
    if (options->cancel && atomic_load(options->cancel))
      return CXB_ECANCELED;
    int err = run_decoder(d, token, step == 0, outputs);
    if (err)
      return err;
    take_caches(d, outputs, step == 0);
    err = choose(d, outputs[0], options->insist && step == 0 ? END : -1, &token);
    for (size_t i = 0; i < 1 + CACHES; i++)
      cxb_ort_value_release(d->model->ort, outputs[i]);
    if (err)
      return err;
    if (token == END)
      return 0;
    if (step < max_tokens)
      d->tokens[d->ntokens++] = token;
  }
  d->looped = true;
  d->ntokens = without_loop(d->tokens, d->ntokens);
  return 0;
}

int cxb_moonshine_transcribe(const cxb_moonshine *model, const float *pcm, size_t n,
                             const cxb_transcribe_options *options, cxb_transcript *out) {
  if (n < MIN_SAMPLES || n > (size_t)MAX_SECONDS * CXB_STT_RATE)
    return CXB_EINVAL;
  decoding *d = calloc(1, sizeof *d);
  if (!d)
    return CXB_ENOMEM;
  d->model = model;
  d->options = options;
  int err = encode(d, pcm, n);
  cxb_blocks_trim(); /* the decoder has no use for blocks of the encoder's sizes */
  const int64_t empty[] = {0, HEADS, 1, HEAD_SIZE};
  for (size_t i = 0; !err && i < CACHES; i++)
    err = cxb_ort_value_new(model->ort, CXB_ORT_FLOAT, NULL, 0, empty, 4, &d->cache[i]);
  if (!err)
    err = decode(d, n * TOKENS_PER_SECOND / CXB_STT_RATE + SPARE_TOKENS);
  if (!err) {
    cxb_vocab_text(model->vocab, d->tokens, d->ntokens, out->text, sizeof out->text);
    out->tokens = (int)d->ntokens;
    out->looped = d->looped;
    out->confidence = out->text[0] ? exp(d->log_probability / (double)(d->ntokens + 1)) : 0;
  }
  cxb_ort_value_release(model->ort, d->hidden);
  for (size_t i = 0; i < CACHES; i++)
    cxb_ort_value_release(model->ort, d->cache[i]);
  cxb_blocks_trim();
  free(d);
  return err;
}

const cxb_vocab *cxb_moonshine_vocab(const cxb_moonshine *model) {
  return model->vocab;
}
