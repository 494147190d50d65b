/* Rows that go into a local folder: written beside, synced, renamed, on the thread pool. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/fs.h"
#include "outbox_internal.h"

typedef struct file_write {
  uv_work_t work;
  int err;
  const char *body;
  size_t len;
  cxb_outbox_replied replied;
  void *arg;
  char path[PATH_MAX];
} file_write;

static void write_work(uv_work_t *work) {
  file_write *w = work->data;
  w->err = cxb_fs_write(w->path, w->body, w->len, 0640);
}

static void write_done(uv_work_t *work, int status) {
  (void)status;
  file_write *w = work->data;
  cxb_outbox_reply reply = {.err = w->err, .status = w->err ? 0 : 200};
  w->replied(w->arg, &reply);
  free(w);
}

/* The body is the row's and stays until the reply. */
int cxb_outbox_file_post(uv_loop_t *loop, const char *path, const char *body, size_t len,
                         cxb_outbox_replied replied, void *arg) {
  if (strlen(path) >= PATH_MAX)
    return CXB_EINVAL;
  file_write *w = calloc(1, sizeof *w);
  if (!w)
    return CXB_ENOMEM;
  w->work.data = w;
  w->body = body;
  w->len = len;
  w->replied = replied;
  w->arg = arg;
  strcpy(w->path, path);
  uv_queue_work(loop, &w->work, write_work, write_done);
  return 0;
}
