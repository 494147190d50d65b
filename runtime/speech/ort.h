/* ONNX Runtime, loaded at run time: only a process that opens it pays for it.
 *
 * A model is opened once and may be run from any thread, by several at once. Values are inputs and
 * outputs of a run; they are made, moved and released by their holder. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_ort cxb_ort;
typedef struct cxb_ort_model cxb_ort_model;
typedef struct cxb_ort_value cxb_ort_value;

typedef enum cxb_ort_type { /* numbered as in the library */
                            CXB_ORT_FLOAT = 1,
                            CXB_ORT_INT32 = 6,
                            CXB_ORT_INT64 = 7,
                            CXB_ORT_BOOL = 9,
} cxb_ort_type;

/* Loads the shared library at `path`. CXB_ENOENT when it cannot be loaded, CXB_EUNSUPPORTED when it
 * is too old. Models must be closed before the runtime is. */
int cxb_ort_open(const char *path, cxb_ort **out);
void cxb_ort_close(cxb_ort *ort);

/* Opens the model file. `threads`: inference threads of one run, ≥ 1. CXB_ENOENT when the file
 * cannot be read, CXB_ECORRUPT when it is no model. The first opening writes an optimised form
 * beside it (`path`.ort), which is mapped instead of read and so needs a fifth of the private
 * memory; where the folder cannot be written, `path` itself is used. */
int cxb_ort_model_open(cxb_ort *ort, const char *path, int threads, cxb_ort_model **out);
void cxb_ort_model_close(cxb_ort_model *model);

/* A tensor over `data`, which is borrowed and must outlive the value. `bytes`: size of the data;
 * `data` may be NULL when it is 0. */
int cxb_ort_value_new(cxb_ort *ort, cxb_ort_type type, void *data, size_t bytes,
                      const int64_t *dims, size_t ndims, cxb_ort_value **out);
void cxb_ort_value_release(cxb_ort *ort, cxb_ort_value *value); /* NULL is ignored */

/* The first element of a value; it lives as long as the value. */
int cxb_ort_value_data(cxb_ort *ort, cxb_ort_value *value, void **data);
/* Fills dims[0 … max-1] and answers the number of dimensions, or CXB_E*. */
int cxb_ort_value_dims(cxb_ort *ort, cxb_ort_value *value, int64_t *dims, size_t max);

/* Runs the model; `outputs` are new values owned by the caller. All outputs are NULL on failure. */
int cxb_ort_run(cxb_ort_model *model, const char *const *input_names,
                const cxb_ort_value *const *inputs, size_t ninputs, const char *const *output_names,
                cxb_ort_value **outputs, size_t noutputs);

/* What the last failed call of this thread said; never NULL. */
const char *cxb_ort_message(void);
