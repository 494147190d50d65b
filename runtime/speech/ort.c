/* ONNX Runtime by dlopen. Its C API is one table of functions whose order is frozen: later versions
 * only append. So the few entries used here are named by their position in the table, and neither
 * building nor running needs the library's header. */
#include "ort.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"
#include "blocks.h"

enum { ORT_API_VERSION = 16, ORT_SLOTS = 180 };

typedef struct ort_status ort_status;
typedef struct ort_env ort_env;
typedef struct ort_options ort_options;
typedef struct ort_session ort_session;
typedef struct ort_memory_info ort_memory_info;
typedef struct ort_shape ort_shape;
typedef void ort_run_options;

/* The library's interface of an allocator; it looks at no more than the version promises. */
typedef struct ort_allocator ort_allocator;
struct ort_allocator {
  uint32_t version;
  void *(*take)(ort_allocator *allocator, size_t size);
  void (*give_back)(ort_allocator *allocator, void *memory);
  const ort_memory_info *(*info)(const ort_allocator *allocator);
};

/* position, result, name, parameters */
#define ORT_CALLS(X)                                                                               \
  X(2, const char *, get_error_message, (const ort_status *))                                      \
  X(3, ort_status *, create_env, (int level, const char *name, ort_env **))                        \
  X(7, ort_status *, create_session,                                                               \
    (const ort_env *, const char *path, const ort_options *, ort_session **))                      \
  X(8, ort_status *, create_session_from_array,                                                    \
    (const ort_env *, const void *, size_t, const ort_options *, ort_session **))                  \
  X(9, ort_status *, run,                                                                          \
    (ort_session *, const ort_run_options *, const char *const *, const cxb_ort_value *const *,    \
     size_t, const char *const *, size_t, cxb_ort_value **))                                       \
  X(10, ort_status *, create_options, (ort_options **))                                            \
  X(11, ort_status *, set_optimized_path, (ort_options *, const char *path))                       \
  X(17, ort_status *, disable_mem_pattern, (ort_options *))                                        \
  X(19, ort_status *, disable_cpu_arena, (ort_options *))                                          \
  X(23, ort_status *, set_optimization_level, (ort_options *, int))                                \
  X(24, ort_status *, set_intra_threads, (ort_options *, int))                                     \
  X(25, ort_status *, set_inter_threads, (ort_options *, int))                                     \
  X(49, ort_status *, create_tensor,                                                               \
    (const ort_memory_info *, void *, size_t, const int64_t *, size_t, int, cxb_ort_value **))     \
  X(51, ort_status *, tensor_data, (cxb_ort_value *, void **))                                     \
  X(61, ort_status *, dimensions_count, (const ort_shape *, size_t *))                             \
  X(62, ort_status *, dimensions, (const ort_shape *, int64_t *, size_t))                          \
  X(65, ort_status *, tensor_shape, (const cxb_ort_value *, ort_shape **))                         \
  X(69, ort_status *, create_cpu_memory_info, (int allocator, int kind, ort_memory_info **))       \
  X(92, void, release_env, (ort_env *))                                                            \
  X(93, void, release_status, (ort_status *))                                                      \
  X(94, void, release_memory_info, (ort_memory_info *))                                            \
  X(95, void, release_session, (ort_session *))                                                    \
  X(96, void, release_value, (cxb_ort_value *))                                                    \
  X(99, void, release_shape, (ort_shape *))                                                        \
  X(100, void, release_options, (ort_options *))                                                   \
  X(130, ort_status *, add_config, (ort_options *, const char *, const char *))                    \
  X(176, ort_status *, register_allocator, (ort_env *, ort_allocator *))

typedef struct ort_api {
#define X(slot, result, name, parameters) result(*name) parameters;
  ORT_CALLS(X)
#undef X
} ort_api;

typedef struct ort_api_base {
  const void *(*get_api)(uint32_t version);
  const char *(*version)(void);
} ort_api_base;

struct cxb_ort {
  void *library;
  ort_api api;
  ort_env *env;
  ort_memory_info *memory;
  ort_allocator allocator;
};

struct cxb_ort_model {
  cxb_ort *ort;
  ort_session *session;
  void *map; /* of the compact file, NULL when opened from the plain one */
  size_t map_size;
};

static _Thread_local char ort_why[256] = "";

const char *cxb_ort_message(void) {
  return ort_why;
}

static int fail(int err, const char *text) {
  snprintf(ort_why, sizeof ort_why, "%.*s", (int)sizeof ort_why - 1, text ? text : "no message");
  return err;
}

/* 0, or `err` with the library's message kept. Consumes the status. */
static int check(const ort_api *api, ort_status *status, int err) {
  if (!status)
    return 0;
  fail(err, api->get_error_message(status));
  api->release_status(status);
  return err;
}

static void bind_calls(ort_api *api, const void *table) {
  void *const *slots = table;
#define X(slot, result, name, parameters)                                                          \
  _Static_assert((slot) < ORT_SLOTS, "slot");                                                      \
  memcpy(&api->name, &slots[slot], sizeof(void *));
  ORT_CALLS(X)
#undef X
}

static void *allocator_take(ort_allocator *allocator, size_t size) {
  (void)allocator;
  return cxb_blocks_take(size);
}

static void allocator_give_back(ort_allocator *allocator, void *memory) {
  (void)allocator;
  cxb_blocks_return(memory);
}

static const ort_memory_info *allocator_info(const ort_allocator *allocator) {
  return ((const cxb_ort *)(const void *)((const char *)allocator - offsetof(cxb_ort, allocator)))
      ->memory;
}

static int load(cxb_ort *ort, const char *path) {
  /* it stays: its C++ globals outlive it badly */
  ort->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!ort->library)
    return fail(CXB_ENOENT, dlerror());
  const ort_api_base *(*base)(void) = NULL;
  void *symbol = dlsym(ort->library, "OrtGetApiBase");
  memcpy(&base, &symbol, sizeof symbol);
  if (!base)
    return fail(CXB_EUNSUPPORTED, "no OrtGetApiBase in the library");
  const void *table = base()->get_api(ORT_API_VERSION);
  if (!table)
    return fail(CXB_EUNSUPPORTED, "the library is too old: API 16 expected");
  bind_calls(&ort->api, table);
  enum { LEVEL_FATAL = 4, DEVICE_ALLOCATOR = 0, MEMORY_DEFAULT = 0 };
  int err = check(&ort->api, ort->api.create_env(LEVEL_FATAL, "cxb", &ort->env), CXB_EIO);
  if (err)
    return err;
  err = check(&ort->api,
              ort->api.create_cpu_memory_info(DEVICE_ALLOCATOR, MEMORY_DEFAULT, &ort->memory),
              CXB_ENOMEM);
  if (err)
    return err;
  ort->allocator =
      (ort_allocator){ORT_API_VERSION, allocator_take, allocator_give_back, allocator_info};
  return check(&ort->api, ort->api.register_allocator(ort->env, &ort->allocator), CXB_ENOMEM);
}

int cxb_ort_open(const char *path, cxb_ort **out) {
  cxb_ort *ort = calloc(1, sizeof *ort);
  if (!ort)
    return fail(CXB_ENOMEM, "out of memory");
  int err = load(ort, path);
  if (err) {
    cxb_ort_close(ort);
    return err;
  }
  *out = ort;
  return 0;
}

void cxb_ort_close(cxb_ort *ort) {
  if (!ort)
    return;
  if (ort->memory)
    ort->api.release_memory_info(ort->memory);
  if (ort->env)
    ort->api.release_env(ort->env);
  if (ort->library)
    dlclose(ort->library);
  free(ort);
}

typedef struct option {
  const char *key, *value;
} option;

/* What keeps the process small: memory from blocks.c, which gives it back, in place of the
 * library's arena and its patterns; no second, packed copy of the weights; no busy waiting. */
static const option common_options[] = {
    {"session.use_env_allocators", "1"},
    {"session.intra_op.allow_spinning", "0"},
    {"session.disable_prepacking", "1"},
    {NULL, NULL},
};
/* The library's own file format, whose weights are used where they lie in the mapped file. */
static const option compact_options[] = {
    {"session.load_model_format", "ORT"},
    {"session.use_ort_model_bytes_directly", "1"},
    {"session.use_ort_model_bytes_for_initializers", "1"},
    {NULL, NULL},
};
static const option convert_options[] = {{"session.save_model_format", "ORT"}, {NULL, NULL}};

static int add_options(const ort_api *api, ort_options *to, const option *list) {
  int err = 0;
  for (; !err && list && list->key; list++)
    err = check(api, api->add_config(to, list->key, list->value), CXB_EINVAL);
  return err;
}

static int new_options(const ort_api *api, int threads, const option *extra, ort_options **out) {
  int err = check(api, api->create_options(out), CXB_ENOMEM);
  if (!err)
    err = check(api, api->set_intra_threads(*out, threads), CXB_EINVAL);
  if (!err)
    err = check(api, api->set_inter_threads(*out, 1), CXB_EINVAL);
  if (!err)
    err = check(api, api->disable_cpu_arena(*out), CXB_EINVAL);
  if (!err)
    err = check(api, api->disable_mem_pattern(*out), CXB_EINVAL);
  if (!err)
    err = add_options(api, *out, common_options);
  return err ? err : add_options(api, *out, extra);
}

/* Maps the compact file at `path` and opens it. */
static int open_compact(cxb_ort_model *model, const char *path, int threads) {
  const ort_api *api = &model->ort->api;
  struct stat st;
  ort_options *options = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail(CXB_ENOENT, path);
  int err = fstat(fd, &st) == 0 && st.st_size > 0 ? 0 : fail(CXB_EIO, path);
  if (!err) {
    model->map_size = (size_t)st.st_size;
    model->map = mmap(NULL, model->map_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (model->map == MAP_FAILED) {
      model->map = NULL;
      err = fail(CXB_ENOMEM, path);
    }
  }
  close(fd);
  if (!err)
    err = new_options(api, threads, compact_options, &options);
  if (!err)
    err = check(api,
                api->create_session_from_array(model->ort->env, model->map, model->map_size,
                                               options, &model->session),
                CXB_ECORRUPT);
  if (options)
    api->release_options(options);
  if (err && model->map) {
    munmap(model->map, model->map_size);
    model->map = NULL;
  }
  return err;
}

static int open_plain(cxb_ort_model *model, const char *path, int threads, const char *save_as) {
  enum { PORTABLE_OPTIMIZATIONS = 2 }; /* those that hold on any processor */
  const ort_api *api = &model->ort->api;
  ort_options *options = NULL;
  int err = new_options(api, threads, save_as ? convert_options : NULL, &options);
  if (!err && save_as)
    err = check(api, api->set_optimization_level(options, PORTABLE_OPTIMIZATIONS), CXB_EINVAL);
  if (!err && save_as)
    err = check(api, api->set_optimized_path(options, save_as), CXB_EINVAL);
  if (!err)
    err = check(api, api->create_session(model->ort->env, path, options, &model->session),
                CXB_ECORRUPT);
  if (options)
    api->release_options(options);
  return err;
}

/* Writes the compact form of the model `path` to `compact`: whole or not at all. */
static int convert(cxb_ort *ort, const char *path, const char *compact) {
  char temporary[4200];
  cxb_ort_model model = {.ort = ort};
  snprintf(temporary, sizeof temporary, "%s.%ld", compact, (long)getpid());
  int err = open_plain(&model, path, 1, temporary);
  if (model.session)
    ort->api.release_session(model.session);
  cxb_blocks_trim();
  malloc_trim(0);
  if (!err && rename(temporary, compact) != 0)
    err = fail(CXB_EIO, compact);
  if (err)
    unlink(temporary);
  return err;
}

static int open_model(cxb_ort_model *model, const char *path, int threads) {
  char compact[4100];
  snprintf(compact, sizeof compact, "%s.ort", path);
  bool ready = access(compact, R_OK) == 0 || convert(model->ort, path, compact) == 0;
  if (ready && open_compact(model, compact, threads) == 0)
    return 0;
  return open_plain(model, path, threads, NULL);
}

int cxb_ort_model_open(cxb_ort *ort, const char *path, int threads, cxb_ort_model **out) {
  if (threads < 1)
    return fail(CXB_EINVAL, "threads: at least 1 expected");
  if (strlen(path) > 4000)
    return fail(CXB_EINVAL, "path: at most 4000 bytes expected");
  if (access(path, R_OK) != 0)
    return fail(CXB_ENOENT, path);
  cxb_ort_model *model = calloc(1, sizeof *model);
  if (!model)
    return fail(CXB_ENOMEM, "out of memory");
  model->ort = ort;
  int err = open_model(model, path, threads);
  if (err) {
    free(model);
    return err;
  }
  *out = model;
  return 0;
}

void cxb_ort_model_close(cxb_ort_model *model) {
  if (!model)
    return;
  model->ort->api.release_session(model->session);
  if (model->map)
    munmap(model->map, model->map_size);
  free(model);
}

int cxb_ort_value_new(cxb_ort *ort, cxb_ort_type type, void *data, size_t bytes,
                      const int64_t *dims, size_t ndims, cxb_ort_value **out) {
  static char nothing[8]; /* an empty tensor still wants an address */
  cxb_ort_value *value = NULL;
  int err = check(&ort->api,
                  ort->api.create_tensor(ort->memory, data ? data : nothing, bytes, dims, ndims,
                                         (int)type, &value),
                  CXB_EINVAL);
  if (!err)
    *out = value;
  return err;
}

void cxb_ort_value_release(cxb_ort *ort, cxb_ort_value *value) {
  if (value)
    ort->api.release_value(value);
}

int cxb_ort_value_data(cxb_ort *ort, cxb_ort_value *value, void **data) {
  return check(&ort->api, ort->api.tensor_data(value, data), CXB_EINVAL);
}

int cxb_ort_value_dims(cxb_ort *ort, cxb_ort_value *value, int64_t *dims, size_t max) {
  ort_shape *shape = NULL;
  size_t n = 0;
  int err = check(&ort->api, ort->api.tensor_shape(value, &shape), CXB_EINVAL);
  if (err)
    return err;
  err = check(&ort->api, ort->api.dimensions_count(shape, &n), CXB_EINVAL);
  if (!err)
    err = check(&ort->api, ort->api.dimensions(shape, dims, n < max ? n : max), CXB_EINVAL);
  ort->api.release_shape(shape);
  return err ? err : (int)n;
}

int cxb_ort_run(cxb_ort_model *model, const char *const *input_names,
                const cxb_ort_value *const *inputs, size_t ninputs, const char *const *output_names,
                cxb_ort_value **outputs, size_t noutputs) {
  const ort_api *api = &model->ort->api;
  memset(outputs, 0, noutputs * sizeof *outputs);
  int err = check(
      api,
      api->run(model->session, NULL, input_names, inputs, ninputs, output_names, noutputs, outputs),
      CXB_EIO);
  for (size_t i = 0; err && i < noutputs; i++) {
    cxb_ort_value_release(model->ort, outputs[i]);
    outputs[i] = NULL;
  }
  return err;
}
