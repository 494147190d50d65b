/* Rows that are worked on before they are sent: claiming, keeping, finishing. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "../observe/log.h"
#include "outbox_internal.h"

enum { DISK_RETRY_MS = 1000 };

typedef struct working {
  cxb_outbox *box;
  int64_t id;
  union {
    cxb_outbox_claimed claimed;
    cxb_outbox_done done;
  };
  void *arg;
} working;

static int ask(cxb_outbox *box, cxb_sql *sql, void (*answer)(void *, cxb_sql *), working what) {
  working *w = malloc(sizeof *w);
  if (!w) {
    cxb_sql_free(sql);
    return CXB_ENOMEM;
  }
  *w = what;
  w->box = box;
  int err = cxb_outbox_ask(box, sql, answer, w);
  if (err)
    free(w);
  return err;
}

static void answered(working *w, cxb_sql *sql) {
  cxb_outbox *box = w->box;
  cxb_sql_free(sql);
  free(w);
  if (!box->closing)
    cxb_outbox_pump_soon(box);
  cxb_outbox_answered(box);
}

/* ---- claiming ---- */

static outbox_row *find_work(const cxb_outbox *box, int64_t now) {
  outbox_row *oldest = NULL;
  for (outbox_queue *q = box->queues; q; q = q->next)
    for (outbox_row *row = q->head; row; row = row->next)
      if (row->state == ROW_WORK && row->due <= now && now < row->born + CXB_OUTBOX_MAX_WORK_MS &&
          (!oldest || row->id < oldest->id))
        oldest = row;
  return oldest;
}

static void on_claimed(void *arg, cxb_sql *sql) {
  working *w = arg;
  if (w->id)
    cxb_fault("analysis.claimed");
  outbox_row *row = cxb_outbox_row_find(w->box, w->id);
  if (sql->err || sql->list[0].rows == 0) {
    if (row && row->state == ROW_WORK) /* nobody has it */
      row->due = cxb_outbox_mono(w->box) + DISK_RETRY_MS;
    w->claimed(w->arg, NULL, sql->err);
  } else {
    const cxb_sql_value *v = sql->list[0].cells;
    if (row)
      row->attempts = (int)v[0].i;
    cxb_outbox_work work = {.id = w->id,
                            .attempts = (int)v[0].i,
                            .session_id = v[1].s,
                            .work = v[2].s,
                            .work_len = v[2].len,
                            .body = v[3].s,
                            .body_len = v[3].len};
    w->claimed(w->arg, &work, 0);
  }
  answered(w, sql);
}

/* With nothing to claim it goes through the file too: `done` is never called from in here. */
int cxb_outbox_claim(cxb_outbox *box, int64_t lease_ms, cxb_outbox_claimed done, void *arg) {
  if (box->closing || !box->open)
    return CXB_ECLOSED;
  int64_t now = cxb_outbox_mono(box);
  outbox_row *row = find_work(box, now);
  cxb_sql *sql = cxb_outbox_sql(row ? "UPDATE outbox SET attempts=attempts+1 "
                                      "WHERE id=? AND state='analysis' "
                                      "RETURNING attempts,session_id,stage,body"
                                    : "SELECT 1 WHERE 0");
  if (sql && row)
    cxb_sql_int(sql, row->id);
  int err =
      ask(box, sql, on_claimed, (working){.id = row ? row->id : 0, .claimed = done, .arg = arg});
  if (!err && row)
    row->due = now + lease_ms;
  return err;
}

/* ---- keeping, finishing ---- */

static void on_kept(void *arg, cxb_sql *sql) {
  working *w = arg;
  cxb_fault("analysis.kept");
  int64_t rows = sql->err ? 0 : (int64_t)sql->list[0].rows;
  w->done(w->arg, rows, sql->err ? sql->err : rows ? 0 : CXB_ENOENT);
  answered(w, sql);
}

int cxb_outbox_keep(cxb_outbox *box, int64_t id, const char *work, size_t len, cxb_outbox_done done,
                    void *arg) {
  cxb_sql *sql =
      cxb_outbox_sql("UPDATE outbox SET stage=? WHERE id=? AND state='analysis' RETURNING id");
  if (sql) {
    cxb_sql_text(sql, work, len);
    cxb_sql_int(sql, id);
  }
  return ask(box, sql, on_kept, (working){.id = id, .done = done, .arg = arg});
}

static void on_finished(void *arg, cxb_sql *sql) {
  working *w = arg;
  cxb_fault("analysis.finished");
  outbox_row *row = cxb_outbox_row_find(w->box, w->id);
  int64_t rows = sql->err ? 0 : (int64_t)sql->list[0].rows, now = cxb_outbox_mono(w->box);
  if (row && rows) {
    row->attempts = 0;
    row->due = now;
    row->expires = now + CXB_OUTBOX_MAX_AGE_MS;
    cxb_outbox_row_set_state(row, ROW_WAITING);
  } else if (row && row->state == ROW_OPENING) {
    row->due = now + DISK_RETRY_MS;
    cxb_outbox_row_set_state(row, ROW_WORK);
  }
  if (w->done)
    w->done(w->arg, rows, sql->err ? sql->err : rows ? 0 : CXB_ENOENT);
  answered(w, sql);
}

int cxb_outbox_finish(cxb_outbox *box, int64_t id, const char *body, size_t len,
                      cxb_outbox_done done, void *arg) {
  cxb_sql *sql = cxb_outbox_sql(
      "UPDATE outbox SET state='ready',body=coalesce(?1,body),stage=NULL,attempts=0,"
      "due_set_at=?2,due_at=?2,expires_at=?2+?3 WHERE id=?4 AND state='analysis' RETURNING id");
  if (sql) {
    if (body)
      cxb_sql_blob(sql, body, len);
    else
      cxb_sql_null(sql);
    cxb_sql_int(sql, cxb_outbox_utc(box));
    cxb_sql_int(sql, CXB_OUTBOX_MAX_AGE_MS);
    cxb_sql_int(sql, id);
  }
  return ask(box, sql, on_finished, (working){.id = id, .done = done, .arg = arg});
}

int64_t cxb_outbox_look_at_work(outbox_row *row, int64_t now) {
  int64_t until = row->born + CXB_OUTBOX_MAX_WORK_MS;
  if (until < row->due)
    until = row->due; /* somebody works on it, or the disk refused a moment ago */
  if (now < until)
    return until;
  cxb_logf(CXB_LOG_ERROR, "outbox: row %lld is sent without its analysis", (long long)row->id);
  cxb_outbox_row_set_state(row, ROW_OPENING);
  if (cxb_outbox_finish(row->box, row->id, NULL, 0, NULL, NULL) != 0) {
    row->due = now + DISK_RETRY_MS;
    cxb_outbox_row_set_state(row, ROW_WORK);
  }
  return INT64_MAX;
}
