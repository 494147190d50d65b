/* Interface of the exported model: input [1, 64 + 512] at 16 kHz, state [2, 1, 128], sr → output
 * [1, 1] and stateN. */
#include "silero.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"

struct cxb_silero {
  cxb_ort *ort;
  cxb_ort_model *model;
};

int cxb_silero_open(cxb_ort *ort, const char *dir, cxb_silero **out) {
  char path[4096];
  snprintf(path, sizeof path, "%s/silero_vad.onnx", dir);
  cxb_silero *silero = calloc(1, sizeof *silero);
  if (!silero)
    return CXB_ENOMEM;
  silero->ort = ort;
  int err = cxb_ort_model_open(ort, path, 1, &silero->model);
  if (err) {
    free(silero);
    return err;
  }
  *out = silero;
  return 0;
}

void cxb_silero_close(cxb_silero *silero) {
  if (!silero)
    return;
  cxb_ort_model_close(silero->model);
  free(silero);
}

static int read_outputs(cxb_ort *ort, cxb_ort_value **outputs, cxb_silero_state *state,
                        float *probability) {
  void *output = NULL, *memory = NULL;
  int err = cxb_ort_value_data(ort, outputs[0], &output);
  if (!err)
    err = cxb_ort_value_data(ort, outputs[1], &memory);
  if (err)
    return err;
  memcpy(probability, output, sizeof *probability);
  memcpy(state->memory, memory, sizeof state->memory);
  return 0;
}

int cxb_silero_step(const cxb_silero *silero, cxb_silero_state *state,
                    const float pcm[CXB_SILERO_WINDOW], float *probability) {
  static const char *const in[] = {"input", "state", "sr"}, *const out[] = {"output", "stateN"};
  static const int64_t input_dims[] = {1, CXB_SILERO_CONTEXT + CXB_SILERO_WINDOW};
  static const int64_t state_dims[] = {2, 1, 128};
  float input[CXB_SILERO_CONTEXT + CXB_SILERO_WINDOW];
  int64_t rate = 16000;
  cxb_ort *ort = silero->ort;
  cxb_ort_value *values[3] = {NULL}, *outputs[2] = {NULL};
  memcpy(input, state->context, sizeof state->context);
  memcpy(input + CXB_SILERO_CONTEXT, pcm, CXB_SILERO_WINDOW * sizeof *pcm);
  int err = cxb_ort_value_new(ort, CXB_ORT_FLOAT, input, sizeof input, input_dims, 2, &values[0]);
  if (!err)
    err = cxb_ort_value_new(ort, CXB_ORT_FLOAT, state->memory, sizeof state->memory, state_dims, 3,
                            &values[1]);
  if (!err)
    err = cxb_ort_value_new(ort, CXB_ORT_INT64, &rate, sizeof rate, NULL, 0, &values[2]);
  if (!err) {
    const cxb_ort_value *const inputs[] = {values[0], values[1], values[2]};
    err = cxb_ort_run(silero->model, in, inputs, 3, out, outputs, 2);
  }
  if (!err)
    err = read_outputs(ort, outputs, state, probability);
  if (!err)
    memcpy(state->context, pcm + CXB_SILERO_WINDOW - CXB_SILERO_CONTEXT, sizeof state->context);
  for (size_t i = 0; i < 3; i++)
    cxb_ort_value_release(ort, values[i]);
  for (size_t i = 0; i < 2; i++)
    cxb_ort_value_release(ort, outputs[i]);
  return err;
}
