/* Uploads: rows whose file goes into an S3 store, and what becomes of the file afterwards. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "../base/time.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "outbox_internal.h"

enum { LOOK_MS = 60000, FILES_AT_A_TIME = 50 };

/* ---- settings ---- */

struct outbox_s3 {
  cxb_s3_settings settings;
  char text[];
};

struct outbox_s3 *cxb_outbox_s3_copy(const cxb_s3_settings *from) {
  size_t r = strlen(from->region) + 1, a = strlen(from->access_key) + 1,
         s = strlen(from->secret_key) + 1;
  struct outbox_s3 *copy = malloc(sizeof *copy + r + a + s);
  if (copy)
    copy->settings =
        (cxb_s3_settings){.region = memcpy(copy->text, from->region, r),
                          .access_key = memcpy(copy->text + r, from->access_key, a),
                          .secret_key = memcpy(copy->text + r + a, from->secret_key, s)};
  return copy;
}

/* ---- sending ---- */

typedef struct upload {
  cxb_s3_put *put;
  cxb_outbox_replied replied;
  void *arg;
  int64_t began;
} upload;

static void on_put(void *arg, const cxb_s3_result *result) {
  upload *u = arg;
  cxb_fault("upload.checked");
  cxb_outbox_reply reply = {.err = result->err,
                            .status = result->status,
                            .retry_after = result->retry_after,
                            .detail = result->detail,
                            .hopeless = result->gone};
  if (!result->err && result->status < 300)
    cxb_metric_observe("cxb_recording_upload_seconds", "",
                       (double)(cxb_mono_ms() - u->began) / 1000);
  u->replied(u->arg, &reply);
  free(u);
}

static void cancel(void *flight) {
  upload *u = flight;
  cxb_s3_put_cancel(u->put);
  free(u);
}

int cxb_outbox_upload_post(outbox_row *row, const char *file, cxb_outbox_replied replied) {
  cxb_outbox *box = row->box;
  if (!box->s3)
    return CXB_EUNSUPPORTED;
  upload *u = malloc(sizeof *u);
  if (!u)
    return CXB_ENOMEM;
  *u = (upload){NULL, replied, row, cxb_mono_ms()};
  int err = cxb_s3_put_start(box->loop, &box->s3->settings, row->url, file, on_put, u, &u->put);
  if (err) {
    free(u);
    return err;
  }
  row->flight = u;
  row->cancel = cancel;
  cxb_fault("upload.begun");
  return 0;
}

/* ---- files that have been uploaded ---- */

typedef struct sweep {
  uv_work_t work;
  cxb_outbox *box;
  cxb_sql *rows; /* id, file */
  char ids[FILES_AT_A_TIME * 22];
} sweep;

static void end_sweep(sweep *s) {
  cxb_outbox *box = s->box;
  cxb_sql_free(s->rows);
  free(s);
  cxb_outbox_answered(box);
}

static void on_forgotten(void *arg, cxb_sql *sql) {
  sweep *s = arg;
  cxb_sql_free(sql);
  end_sweep(s);
}

static void remove_files(uv_work_t *work) {
  sweep *s = work->data;
  size_t at = 0;
  for (size_t i = 0; i < s->rows->list[0].rows; i++)
    if (unlink(cxb_sql_cell(s->rows, 0, i, 1)->s) == 0 || errno == ENOENT)
      at += (size_t)snprintf(s->ids + at, sizeof s->ids - at, "%s%lld", at ? "," : "",
                             (long long)cxb_sql_cell(s->rows, 0, i, 0)->i);
}

static void on_removed(uv_work_t *work, int status) {
  (void)status;
  sweep *s = work->data;
  char text[sizeof s->ids + 80];
  snprintf(text, sizeof text, "UPDATE outbox SET file=NULL WHERE id IN (%s)", s->ids);
  if (!s->ids[0] || cxb_outbox_ask(s->box, cxb_outbox_sql(text), on_forgotten, s) != 0)
    end_sweep(s);
  else
    s->box->asked--; /* the sweep counts as one request from its beginning to its end */
}

static void on_old_files(void *arg, cxb_sql *sql) {
  cxb_outbox *box = arg;
  sweep *s = sql->err || sql->list[0].rows == 0 || box->closing ? NULL : calloc(1, sizeof *s);
  if (!s) {
    cxb_sql_free(sql);
    cxb_outbox_answered(box);
    return;
  }
  s->work.data = s;
  s->box = box;
  s->rows = sql;
  uv_queue_work(box->loop, &s->work, remove_files, on_removed);
}

void cxb_outbox_sweep_files(cxb_outbox *box, int64_t now) {
  if (!box->s3 || now < box->sweep_at)
    return;
  box->sweep_at = now + LOOK_MS;
  cxb_sql *sql = cxb_outbox_sql(
      "SELECT id,file FROM outbox WHERE kind='upload' AND state='done' AND file IS NOT NULL "
      "AND done_at<=? LIMIT 50");
  if (sql)
    cxb_sql_int(sql, cxb_outbox_utc(box) - box->options.keep_files_ms);
  cxb_outbox_ask(box, sql, on_old_files, box);
}
