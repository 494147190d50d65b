/* One file into an S3 store: PUT with AWS Signature 4 and the payload's hash, in parts above 64
 * MiB, then HEAD, whose size has to be the file's. A file that was erased meanwhile takes the
 * object with it (DELETE). The file is read and hashed on the thread pool; everything else belongs
 * to the loop's thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

typedef struct cxb_s3_settings {
  const char *region, *access_key, *secret_key;
} cxb_s3_settings;

typedef struct cxb_s3_result {
  int err;                 /* 0, or CXB_E* when there was no answer or no size */
  int status;              /* HTTP status when there was an answer */
  bool gone;               /* the file is not there (any more): no other try will help */
  const char *retry_after; /* header, NULL: absent */
  const char *detail;      /* the store's code or our own words; "" */
} cxb_s3_result;

typedef struct cxb_s3_put cxb_s3_put;
/* `result` is borrowed. err 0 and status 200: the object is there, whole. */
typedef void (*cxb_s3_done)(void *arg, const cxb_s3_result *result);

/* Sends `path` to `url` (endpoint, bucket and key; no query). All is copied. 0: `done` later, once;
 * CXB_ENOMEM. */
int cxb_s3_put_start(uv_loop_t *loop, const cxb_s3_settings *settings, const char *url,
                     const char *path, cxb_s3_done done, void *arg, cxb_s3_put **out);
/* Drops it without `done`. */
void cxb_s3_put_cancel(cxb_s3_put *put);
