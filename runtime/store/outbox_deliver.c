/* Sending what is in an outbox: who goes next, attempts, outcomes, retries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/crypto.h"
#include "../base/err.h"
#include "../base/fault.h"
#include "../base/time.h"
#include "../observe/log.h"
#include "../observe/metrics.h"
#include "outbox_internal.h"

enum { DISK_RETRY_MS = 1000, LOOK_MS = 5000, SHOW_MS = 1000, DAY_MS = 86400000, TIDY_MS = 3600000 };

static double chance(const cxb_outbox *box) {
  if (box->options.chance)
    return box->options.chance();
  uint32_t r;
  cxb_random(&r, sizeof r);
  return (double)r / 4294967296.0;
}

/* ---- outcomes ---- */

static void settle(outbox_row *row);

/* The row is over: dead ones stay in the file for people to see. */
static void leave(outbox_row *row) {
  cxb_outbox *box = row->box;
  if (strcmp(row->kind, "upload") == 0)
    box->sweep_at = 0;
  if (row->verdict == CXB_OUTBOX_DEAD)
    box->dead[cxb_outbox_kind_index(row->kind)]++;
  cxb_outbox_row_remove(row);
}

static void on_settled(void *arg, cxb_sql *sql) {
  outbox_row *row = arg;
  cxb_outbox *box = row->box;
  row->writing = false;
  cxb_fault("delivery.settled");
  if (sql->err) { /* tried again; until then the row is not sent a second time */
    cxb_logf(CXB_LOG_ERROR, "outbox: outcome of row %lld not written: %s", (long long)row->id,
             sql->message);
    row->due = cxb_outbox_mono(box) + DISK_RETRY_MS;
  } else if (row->verdict == CXB_OUTBOX_RETRY) {
    cxb_outbox_row_set_state(row, ROW_WAITING);
  } else {
    leave(row);
  }
  cxb_sql_free(sql);
  if (!box->closing)
    cxb_outbox_pump_soon(box);
  cxb_outbox_answered(box);
}

/* Writes the outcome. The delay is counted from now, however long the disk keeps us from it. */
static void settle(outbox_row *row) {
  cxb_outbox *box = row->box;
  static const char *const texts[] = {
      [CXB_OUTBOX_DONE] =
          "UPDATE outbox SET state='done',done_at=?1,due_at=?2,last_status=?3,"
          "last_error=?4,headers='',body=x'' WHERE id=?5",
      [CXB_OUTBOX_RETRY] =
          "UPDATE outbox SET state='ready',due_set_at=?1,due_at=?2,last_status=?3,"
          "last_error=?4 WHERE id=?5",
      [CXB_OUTBOX_DEAD] =
          "UPDATE outbox SET state='dead',due_set_at=?1,due_at=?2,last_status=?3,"
          "last_error=?4 WHERE id=?5",
  };
  int64_t utc = cxb_outbox_utc(box), now = cxb_outbox_mono(box);
  if (row->verdict == CXB_OUTBOX_RETRY && row->due < row->not_before)
    row->due = row->not_before; /* when this is not the first try to write it */
  cxb_sql *sql = cxb_outbox_sql(texts[row->verdict]);
  if (sql) {
    cxb_sql_int(sql, utc);
    cxb_sql_int(sql, utc + (row->verdict == CXB_OUTBOX_RETRY ? row->due - now : 0));
    cxb_sql_int(sql, row->status);
    cxb_sql_text(sql, row->error, strlen(row->error));
    cxb_sql_int(sql, row->id);
  }
  row->writing = cxb_outbox_ask(box, sql, on_settled, row) == 0;
  if (!row->writing)
    row->due = now + DISK_RETRY_MS;
}

static const char *const results[] = {
    [CXB_OUTBOX_DONE] = "ok", [CXB_OUTBOX_RETRY] = "retry", [CXB_OUTBOX_DEAD] = "dead"};

/* Says what became of an attempt, once; never with the URL, which may hold a secret. */
static void report(const outbox_row *row) {
  char labels[64];
  snprintf(labels, sizeof labels, "kind=\"%s\",result=\"%s\"", row->kind, results[row->verdict]);
  cxb_metric_add("cxb_outbox_attempts_total", labels, 1);
  if (row->verdict == CXB_OUTBOX_DEAD)
    cxb_logf(CXB_LOG_ERROR, "outbox: row %lld (%s of session %s) is dead: %s", (long long)row->id,
             row->kind, row->session_id, row->error);
}

static void describe(outbox_row *row, const cxb_outbox_reply *reply) {
  char what[48];
  if (reply->err)
    snprintf(what, sizeof what, "%s", cxb_strerror(reply->err));
  else
    snprintf(what, sizeof what, "HTTP %d", reply->status);
  bool more = reply->detail && reply->detail[0];
  if (row->verdict == CXB_OUTBOX_DONE)
    row->error[0] = '\0';
  else
    snprintf(row->error, sizeof row->error, "%s%s%s", what, more ? ": " : "",
             more ? reply->detail : "");
}

static void judge(outbox_row *row, const cxb_outbox_reply *reply) {
  cxb_outbox *box = row->box;
  int64_t now = cxb_outbox_mono(box);
  row->verdict = reply->hopeless ? CXB_OUTBOX_DEAD : cxb_outbox_judge(reply->err, reply->status);
  row->status = reply->err ? 0 : reply->status;
  describe(row, reply);
  if (row->verdict != CXB_OUTBOX_RETRY)
    return;
  int64_t floor = reply->err ? 0 : cxb_outbox_retry_after(reply->retry_after, cxb_outbox_utc(box));
  int64_t delay = cxb_outbox_delay(row->attempts - 1, chance(box));
  row->not_before = floor ? now + floor : 0;
  row->due = now + (delay > floor ? delay : floor);
  if (now >= row->expires) {
    row->verdict = CXB_OUTBOX_DEAD;
    size_t n = strlen(row->error);
    snprintf(row->error + n, sizeof row->error - n, "; given up after 7 days");
  }
}

/* A refusal for good shows that the destination lives; only what asks for another try does not. */
static bool is_failure(const cxb_outbox_reply *reply) {
  return cxb_outbox_judge(reply->err, reply->status) == CXB_OUTBOX_RETRY;
}

static void on_reply(void *arg, const cxb_outbox_reply *reply) {
  outbox_row *row = arg;
  cxb_outbox *box = row->box;
  cxb_fault("delivery.answered");
  box->flying--;
  row->destination->flying--;
  row->destination->failures = is_failure(reply) ? row->destination->failures + 1 : 0;
  cxb_sql_free(row->body);
  row->body = NULL;
  row->flight = NULL;
  row->flush = false;
  judge(row, reply);
  report(row);
  cxb_outbox_row_set_state(row, ROW_SETTLING);
  settle(row);
  if (!box->closing)
    cxb_outbox_pump_soon(box);
  cxb_outbox_end_when_idle(box);
}

/* ---- attempts ---- */

/* What an attempt fails with before it left; told as a reply, so that one path deals with all. */
static void fail_attempt(outbox_row *row, int err) {
  on_reply(row, &(cxb_outbox_reply){.err = err});
}

static int make_headers(outbox_row *row, const char *stored, cxb_buf *out) {
  cxb_outbox *box = row->box;
  int err = cxb_buf_printf(out,
                           "Content-Type: application/json\r\nUser-Agent: cxbrt/%s\r\n"
                           "Idempotency-Key: %s:%s",
                           CXB_VERSION, row->kind, row->session_id);
  if (!err && strcmp(row->kind, "event") == 0)
    err = cxb_buf_printf(out, ":%lld", (long long)row->n);
  if (!err)
    err = cxb_buf_printf(out, "\r\n%s", stored);
  if (err || !box->hooks)
    return err;
  const cxb_sql_value *body = cxb_sql_cell(row->body, 0, 0, 0);
  cxb_outbox_row shown = {.id = row->id,
                          .kind = row->kind,
                          .session_id = row->session_id,
                          .n = row->n,
                          .url = row->url,
                          .attempts = row->attempts,
                          .created_ms = row->created_utc,
                          .due_ms = cxb_outbox_utc(box),
                          .state = "sending",
                          .last_error = "",
                          .body = body->s,
                          .body_len = body->len};
  return box->hooks->headers(box->hooks->arg, &shown, out);
}

static int post(outbox_row *row, const char *headers) {
  cxb_outbox *box = row->box;
  const cxb_sql_value *body = cxb_sql_cell(row->body, 0, 0, 0);
  if (strcmp(row->kind, "upload") == 0)
    return cxb_outbox_upload_post(row, cxb_sql_cell(row->body, 0, 0, 2)->s, on_reply);
  if (strncmp(row->url, "file:", 5) == 0) {
    char path[4096];
    int err = cxb_outbox_file_path(row->url, row->session_id, row->created_utc, path, sizeof path);
    return err ? err : cxb_outbox_file_post(box->loop, path, body->s, body->len, on_reply, row);
  }
  cxb_outbox_attempt attempt = {.url = row->url,
                                .headers = headers,
                                .body = body->s,
                                .body_len = body->len,
                                .connect_ms = CXB_OUTBOX_CONNECT_MS,
                                .total_ms = CXB_OUTBOX_TOTAL_MS};
  row->cancel = box->options.cancel;
  return box->options.post(box->loop, &attempt, on_reply, row, &row->flight);
}

static void fly(outbox_row *row, cxb_sql *sql) {
  cxb_fault("delivery.taken");
  row->body = sql;
  row->attempts++;
  cxb_outbox_row_set_state(row, ROW_FLYING);
  const cxb_sql_value *stored = cxb_sql_cell(sql, 0, 0, 1);
  cxb_buf headers = {0};
  int err = make_headers(row, stored->type == CXB_SQL_TEXT ? stored->s : "", &headers);
  if (!err)
    err = post(row, headers.data);
  cxb_buf_free(&headers);
  cxb_fault("delivery.begun");
  if (err)
    fail_attempt(row, err);
}

/* Not taken: nothing was sent, so nothing is counted against the row or its destination. */
static void put_back(outbox_row *row, int64_t delay) {
  row->box->flying--;
  row->destination->flying--;
  row->due = cxb_outbox_mono(row->box) + delay;
  cxb_outbox_row_set_state(row, ROW_WAITING);
}

void cxb_outbox_cancel_flights(cxb_outbox *box) {
  for (outbox_queue *q = box->queues; q; q = q->next)
    for (outbox_row *row = q->head; row; row = row->next)
      if (row->flight) {
        row->cancel(row->flight);
        row->flight = NULL;
        cxb_sql_free(row->body);
        row->body = NULL;
        put_back(row, 0);
      }
}

static void on_read_only(void *arg, cxb_sql *sql);

static void on_taken(void *arg, cxb_sql *sql) {
  outbox_row *row = arg;
  cxb_outbox *box = row->box;
  cxb_sql *again = NULL;
  if (box->closing) {
    put_back(row, 0);
  } else if (sql->err) {
    /* The disk takes nothing, but it may still give: delivering is what helps. */
    again = cxb_outbox_sql("SELECT body,headers,file FROM outbox WHERE id=?");
    if (again)
      cxb_sql_int(again, row->id);
    if (cxb_outbox_ask(box, again, on_read_only, row) != 0)
      put_back(row, DISK_RETRY_MS);
  } else if (sql->list[0].rows == 0) { /* purged meanwhile */
    put_back(row, 0);
    cxb_outbox_row_remove(row);
  } else {
    fly(row, sql);
    sql = NULL;
  }
  cxb_sql_free(sql);
  if (!box->closing)
    cxb_outbox_pump_soon(box);
  cxb_outbox_answered(box);
}

static void on_read_only(void *arg, cxb_sql *sql) {
  outbox_row *row = arg;
  cxb_outbox *box = row->box;
  if (box->closing || sql->err || sql->list[0].rows == 0) {
    put_back(row, DISK_RETRY_MS);
  } else {
    fly(row, sql);
    sql = NULL;
  }
  cxb_sql_free(sql);
  if (!box->closing)
    cxb_outbox_pump_soon(box);
  cxb_outbox_answered(box);
}

/* Marks the row and reads its body in one go. */
static void take(outbox_row *row) {
  cxb_outbox *box = row->box;
  cxb_sql *sql = cxb_outbox_sql(
      "UPDATE outbox SET state='sending',attempts=attempts+1 "
      "WHERE id=? RETURNING body,headers,file");
  if (sql)
    cxb_sql_int(sql, row->id);
  box->flying++;
  row->destination->flying++;
  cxb_outbox_row_set_state(row, ROW_TAKING);
  if (cxb_outbox_ask(box, sql, on_taken, row) != 0)
    put_back(row, DISK_RETRY_MS);
}

/* ---- who goes next ---- */

static bool may_fly(const cxb_outbox *box, const outbox_destination *d) {
  int most = d->failures >= CXB_OUTBOX_BREAK_AFTER ? 1 : CXB_OUTBOX_FLYING_EACH;
  return d->flying < most && box->flying < CXB_OUTBOX_FLYING;
}

/* Looks at the head of a queue; returns when it wants to be looked at again. */
static int64_t look_at(cxb_outbox *box, outbox_row *row, int64_t now) {
  if (row->state == ROW_WORK)
    return cxb_outbox_look_at_work(row, now);
  bool outcome = row->state == ROW_SETTLING && !row->writing;
  if (row->state != ROW_WAITING && !outcome)
    return INT64_MAX;
  if (row->due > now)
    return row->due;
  if (outcome)
    settle(row);
  else if (may_fly(box, row->destination))
    take(row);
  return row->state == ROW_WAITING || (row->state == ROW_SETTLING && !row->writing) ? row->due
                                                                                    : INT64_MAX;
}

/* Old keys go once an hour. */
static void on_tidied(void *arg, cxb_sql *sql) {
  cxb_outbox *box = arg;
  cxb_sql_free(sql);
  cxb_outbox_answered(box);
}

static void tidy(cxb_outbox *box, int64_t now) {
  if (now < box->tidy_at)
    return;
  box->tidy_at = now + TIDY_MS;
  cxb_sql *sql =
      cxb_outbox_sql("DELETE FROM outbox WHERE state='done' AND done_at<? AND file IS NULL");
  if (sql)
    cxb_sql_int(sql, cxb_outbox_utc(box) - (int64_t)box->options.retain_days * DAY_MS);
  cxb_outbox_ask(box, sql, on_tidied, box);
}

static bool is_flushed(const cxb_outbox *box) {
  for (const outbox_queue *q = box->queues; q; q = q->next)
    for (const outbox_row *row = q->head; row; row = row->next)
      if (row->flush || row->state > ROW_WAITING)
        return false;
  return true;
}

static int64_t end_flushes(cxb_outbox *box, int64_t now) {
  if (!box->flushes)
    return INT64_MAX;
  bool all = is_flushed(box);
  int64_t next = INT64_MAX;
  for (outbox_flush **at = &box->flushes; *at;) {
    outbox_flush *f = *at;
    if (!all && f->until > now) {
      if (f->until < next)
        next = f->until;
      at = &f->next;
      continue;
    }
    *at = f->next;
    f->done(f->arg, 0, 0);
    free(f);
    at = &box->flushes; /* the callback may have added one */
  }
  return next;
}

void cxb_outbox_pump(cxb_outbox *box) {
  if (!box->open || box->closing)
    return;
  int64_t now = cxb_outbox_mono(box), next = now + LOOK_MS;
  tidy(box, now);
  cxb_outbox_sweep_files(box, now);
  for (outbox_queue *q = box->queues, *after; q; q = after) {
    after = q->next;
    int64_t at = look_at(box, q->head, now);
    if (at > now && at < next) /* what is due but has no place goes with the next reply */
      next = at;
  }
  int64_t until = end_flushes(box, now);
  if (!box->flushes)
    uv_unref((uv_handle_t *)&box->timer);
  if (box->closing) /* by a callback */
    return;
  if (until < next)
    next = until;
  uv_timer_start(&box->timer, cxb_outbox_on_timer, (uint64_t)(next > now ? next - now : 0), 0);
}

void cxb_outbox_pump_soon(cxb_outbox *box) {
  uv_ref((uv_handle_t *)&box->timer); /* the pump lets go of it */
  uv_timer_start(&box->timer, cxb_outbox_on_timer, 0, 0);
}

void cxb_outbox_on_timer(uv_timer_t *timer) {
  cxb_outbox *box = timer->data;
  static int64_t shown_at = -SHOW_MS;
  int64_t now = cxb_mono_ms();
  if (now >= shown_at + SHOW_MS) {
    shown_at = now;
    cxb_outbox_show();
  }
  cxb_outbox_pump(box);
}

int cxb_outbox_flush(cxb_outbox *box, int64_t ms, cxb_outbox_done done, void *arg) {
  if (box->closing || !box->open)
    return CXB_ECLOSED;
  outbox_flush *f = malloc(sizeof *f);
  if (!f)
    return CXB_ENOMEM;
  int64_t now = cxb_outbox_mono(box);
  *f = (outbox_flush){box->flushes, now + ms, done, arg};
  box->flushes = f;
  for (outbox_queue *q = box->queues; q; q = q->next)
    for (outbox_row *row = q->head; row; row = row->next)
      if (row->state == ROW_WAITING && row->not_before <= now) {
        row->flush = true;
        row->due = now;
      }
  cxb_outbox_pump_soon(box); /* `done` is never called in here */
  return 0;
}
