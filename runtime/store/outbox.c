/* The outbox's file: opening and closing (contract in outbox.h; sending in outbox_deliver.c). */
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "../base/time.h"
#include "../observe/metrics.h"
#include "outbox_internal.h"

enum { VERSION = 1 };

static cxb_outbox *all;

const cxb_outbox *cxb_outbox_first(void) {
  return all;
}

const char cxb_outbox_schema[] =
    "CREATE TABLE IF NOT EXISTS outbox("
    "id INTEGER PRIMARY KEY,"
    "kind TEXT NOT NULL,"
    "session_id TEXT NOT NULL,"
    "n INTEGER NOT NULL,"
    "state TEXT NOT NULL CHECK (state IN ('analysis','ready','sending','done','dead')),"
    "url TEXT NOT NULL,"
    "attempts INTEGER NOT NULL DEFAULT 0,"
    "created_at INTEGER NOT NULL," /* UTC, milliseconds, as all times */
    "expires_at INTEGER NOT NULL,"
    "due_set_at INTEGER NOT NULL,"
    "due_at INTEGER NOT NULL,"
    "done_at INTEGER,"
    "last_status INTEGER,"
    "last_error TEXT NOT NULL DEFAULT '',"
    "headers TEXT NOT NULL DEFAULT '',"
    "stage TEXT," /* what is left to do in state analysis */
    "file TEXT,"  /* of an upload */
    "body BLOB NOT NULL,"
    "UNIQUE (kind, session_id, n))";

int64_t cxb_outbox_utc(const cxb_outbox *box) {
  return box->options.utc_ms ? box->options.utc_ms() : cxb_now_ms();
}

int64_t cxb_outbox_mono(const cxb_outbox *box) {
  return box->options.mono_ms ? box->options.mono_ms() : cxb_mono_ms();
}

cxb_sql *cxb_outbox_sql(const char *text) {
  cxb_sql *sql = cxb_sql_new();
  if (sql)
    cxb_sql_add(sql, text, strlen(text));
  return sql;
}

int cxb_outbox_ask(cxb_outbox *box, cxb_sql *sql, void (*done)(void *, cxb_sql *), void *arg) {
  int err = !sql ? CXB_ENOMEM : box->db ? cxb_sqlite_run(box->db, sql, done, arg) : CXB_ECLOSED;
  if (err)
    cxb_sql_free(sql);
  else
    box->asked++;
  return err;
}

/* ---- the end ---- */

static void free_box(cxb_outbox *box) {
  cxb_outbox_rows_free(box);
  for (outbox_hook *h = box->hooks, *next; h; h = next) {
    next = h->next;
    free(h);
  }
  free(box->s3);
  free(box->path);
  free(box);
}

static void on_timer_closed(uv_handle_t *handle) {
  cxb_outbox *box = handle->data;
  box->handles = 0;
  if (box->refs == 0)
    free_box(box);
}

static void finish(cxb_outbox *box) {
  box->finished = true;
  for (cxb_outbox **at = &all; *at; at = &(*at)->next)
    if (*at == box) {
      *at = box->next;
      break;
    }
  if (box->db)
    cxb_sqlite_close(box->db);
  box->db = NULL;
  cxb_outbox_show();
  uv_close((uv_handle_t *)&box->timer, on_timer_closed);
}

void cxb_outbox_end_when_idle(cxb_outbox *box) {
  if (box->closing && !box->finished && box->asked == 0 && box->flying == 0 && !box->openers)
    finish(box);
}

void cxb_outbox_answered(cxb_outbox *box) {
  box->asked--;
  cxb_outbox_end_when_idle(box);
}

static void begin_close(cxb_outbox *box) {
  box->closing = true;
  uv_timer_stop(&box->timer);
  for (outbox_flush *f = box->flushes, *next; f; f = next) {
    next = f->next;
    f->done(f->arg, 0, CXB_ECLOSED);
    free(f);
  }
  box->flushes = NULL;
  cxb_outbox_end_when_idle(box);
}

void cxb_outbox_close(cxb_outbox *box) {
  if (--box->refs > 0)
    return;
  if (box->finished) {
    if (box->handles == 0)
      free_box(box);
  } else {
    begin_close(box);
  }
}

void cxb_outbox_hand_over(cxb_outbox *box) {
  cxb_outbox_cancel_flights(box);
  begin_close(box);
}

void cxb_outbox_close_all(void) {
  for (cxb_outbox *box = all, *next; box; box = next) {
    next = box->next;
    cxb_outbox_hand_over(box);
  }
}

/* ---- opening ---- */

static void tell_openers(cxb_outbox *box, int err, const char *code, const char *message) {
  while (box->openers) {
    outbox_opener *o = box->openers;
    box->openers = o->next;
    if (err)
      box->refs--;
    o->opened(o->arg, err ? NULL : box, err, code, message);
    free(o);
  }
}

static void fail_open(cxb_outbox *box, int err, const char *code, const char *message) {
  tell_openers(box, err, code, message);
  begin_close(box);
}

static void on_file_opened(void *arg, cxb_sqlite *db, int err, const char *code,
                           const char *message);

static int open_file(cxb_outbox *box) {
  cxb_sqlite_options file = {.lock = true, .one_thread = true};
  int err = cxb_sqlite_open(box->loop, box->path, &file, on_file_opened, box);
  if (!err)
    box->asked++;
  return err;
}

static void on_salvaged(cxb_outbox *box, int err, const char *message) {
  if (!err)
    err = open_file(box);
  if (err)
    fail_open(box, err, cxb_err_code(err), message);
  cxb_outbox_answered(box);
}

/* The file cannot be used: a damaged one is set aside, once; anything else is the openers' to know.
 */
static void refuse_file(cxb_outbox *box, int err, const char *code, const char *message) {
  if (err == CXB_ECORRUPT && !box->salvaged && !box->closing) {
    box->salvaged = true;
    if (box->db)
      cxb_sqlite_close(box->db);
    box->db = NULL;
    if (cxb_outbox_salvage(box, on_salvaged) == 0) {
      box->asked++;
      return;
    }
  }
  fail_open(box, err, code, message);
}

static int64_t cell_int(const cxb_sql *sql, int i, size_t row, int column) {
  return cxb_sql_cell(sql, i, row, column)->i;
}

static const char *cell_text(const cxb_sql *sql, int i, size_t row, int column) {
  const cxb_sql_value *v = cxb_sql_cell(sql, i, row, column);
  return v->type == CXB_SQL_TEXT || v->type == CXB_SQL_BLOB ? v->s : "";
}

/* Stored times are the wall clock's; from here on the row lives by the monotonic one. */
static int take_row(cxb_outbox *box, const cxb_sql *sql, size_t i) {
  const char *kind = cell_text(sql, 0, i, 1), *url = cell_text(sql, 0, i, 4);
  if (cxb_outbox_kind_index(kind) < 0)
    return 0; /* of a later version */
  outbox_row *row = cxb_outbox_row_add(box, cell_int(sql, 0, i, 0), kind, cell_text(sql, 0, i, 2),
                                       cell_int(sql, 0, i, 3), url);
  if (!row)
    return CXB_ENOMEM;
  int64_t utc = cxb_outbox_utc(box), now = cxb_outbox_mono(box);
  row->attempts = (int)cell_int(sql, 0, i, 5);
  row->created_utc = cell_int(sql, 0, i, 6);
  int64_t age = utc - row->created_utc, left = cell_int(sql, 0, i, 7) - utc;
  row->born = now - (age > 0 ? age : 0);
  row->expires = now + (left < CXB_OUTBOX_MAX_AGE_MS ? left : CXB_OUTBOX_MAX_AGE_MS);
  const char *state = cell_text(sql, 0, i, 10);
  if (strcmp(state, "analysis") == 0)
    cxb_outbox_row_set_state(row, ROW_WORK);
  bool was_sending = strcmp(state, "sending") == 0;
  row->due =
      now +
      (was_sending ? 0 : cxb_outbox_remaining(cell_int(sql, 0, i, 8), cell_int(sql, 0, i, 9), utc));
  return 0;
}

static void on_loaded(void *arg, cxb_sql *sql) {
  cxb_outbox *box = arg;
  int err = sql->err;
  for (size_t i = 0; !err && i < sql->list[0].rows; i++)
    err = take_row(box, sql, i);
  for (size_t i = 0; !err && i < sql->list[1].rows; i++) {
    int kind = cxb_outbox_kind_index(cell_text(sql, 1, i, 0));
    if (kind >= 0)
      box->dead[kind] = (int)cell_int(sql, 1, i, 1);
  }
  if (err) {
    refuse_file(box, err, sql->err ? sql->code : cxb_err_code(err),
                sql->err ? sql->message : cxb_strerror(err));
  } else {
    box->open = true;
    if (box->options.adopted)
      cxb_fault("outbox.adopted");
    if (box->options.adopted)
      cxb_metric_add("cxb_outbox_adopted_total", "", (double)sql->list[0].rows);
    cxb_outbox_show();
    tell_openers(box, 0, "ok", "");
    if (!box->closing)
      cxb_outbox_pump(box);
  }
  cxb_sql_free(sql);
  cxb_outbox_answered(box);
}

static void on_made(void *arg, cxb_sql *sql) {
  cxb_outbox *box = arg;
  int err = sql->err;
  if (!err) {
    cxb_sql *next = cxb_outbox_sql(
        "SELECT id,kind,session_id,n,url,attempts,created_at,expires_at,"
        "due_set_at,due_at,state FROM outbox "
        "WHERE state IN ('analysis','ready','sending') ORDER BY id");
    static const char dead[] = "SELECT kind,count(*) FROM outbox WHERE state='dead' GROUP BY kind";
    if (next)
      cxb_sql_add(next, dead, sizeof dead - 1);
    err = cxb_outbox_ask(box, next, on_loaded, box);
  }
  if (err)
    refuse_file(box, err, sql->err ? sql->code : cxb_err_code(err), sql->message);
  cxb_sql_free(sql);
  cxb_outbox_answered(box);
}

static void on_checked(void *arg, cxb_sql *sql) {
  cxb_outbox *box = arg;
  int err = sql->err;
  const char *code = sql->code;
  char message[512];
  snprintf(message, sizeof message, "%s", sql->message);
  const char *verdict = err || sql->list[1].rows == 0 ? "" : cell_text(sql, 1, 0, 0);
  if (!err && cell_int(sql, 0, 0, 0) > VERSION) {
    err = CXB_EUNSUPPORTED;
    code = "unsupported";
    snprintf(message, sizeof message, "%s: made by a later version", box->path);
  } else if (!err && strcmp(verdict, "ok") != 0) {
    err = CXB_ECORRUPT;
    code = "corrupt";
    snprintf(message, sizeof message, "%s: %s", box->path, verdict);
  }
  if (!err) {
    cxb_sql *make = cxb_outbox_sql(cxb_outbox_schema);
    if (make)
      cxb_sql_add(make, "PRAGMA user_version=1", 21);
    err = cxb_outbox_ask(box, make, on_made, box);
    code = cxb_err_code(err);
  }
  if (err)
    refuse_file(box, err, code, message);
  cxb_sql_free(sql);
  cxb_outbox_answered(box);
}

static void on_file_opened(void *arg, cxb_sqlite *db, int err, const char *code,
                           const char *message) {
  cxb_outbox *box = arg;
  box->db = db;
  if (!err && box->closing) {
    err = CXB_ECLOSED;
    code = "closed";
  }
  if (!err) {
    cxb_sql *sql = cxb_outbox_sql("PRAGMA user_version");
    if (sql)
      cxb_sql_add(sql, "PRAGMA quick_check(1)", 21);
    err = cxb_outbox_ask(box, sql, on_checked, box);
    code = cxb_err_code(err);
  }
  if (err)
    refuse_file(box, err, code, message);
  cxb_outbox_answered(box);
}

static void on_still_open(void *arg, cxb_sql *sql) {
  cxb_outbox *box = arg;
  tell_openers(box, sql->err, sql->err ? sql->code : "ok", sql->message);
  cxb_sql_free(sql);
  if (!box->closing)
    cxb_outbox_pump(box);
  cxb_outbox_answered(box);
}

static cxb_outbox *new_box(uv_loop_t *loop, const char *path, const cxb_outbox_options *options) {
  cxb_outbox *box = calloc(1, sizeof *box);
  if (!box || !(box->path = strdup(path))) {
    free(box);
    return NULL;
  }
  box->loop = loop;
  if (options)
    box->options = *options;
  if (options && options->s3 && !(box->s3 = cxb_outbox_s3_copy(options->s3))) {
    free(box->path);
    free(box);
    return NULL;
  }
  box->options.s3 = NULL;
  if (!box->options.post) {
    box->options.post = cxb_outbox_http_post;
    box->options.cancel = cxb_outbox_http_cancel;
  }
  if (box->options.retain_days <= 0)
    box->options.retain_days = 7;
  uv_timer_init(loop, &box->timer);
  uv_unref((uv_handle_t *)&box->timer);
  box->timer.data = box;
  box->handles = 1;
  return box;
}

static void free_unopened(uv_handle_t *handle) {
  free_box(handle->data);
}

int cxb_outbox_open(uv_loop_t *loop, const char *path, const cxb_outbox_options *options,
                    cxb_outbox_opened opened, void *arg) {
  outbox_opener *o = malloc(sizeof *o);
  cxb_outbox *box = all;
  while (box && strcmp(box->path, path) != 0)
    box = box->next;
  bool fresh = !box;
  if (o && fresh)
    box = new_box(loop, path, options);
  if (!o || !box) {
    free(o);
    return CXB_ENOMEM;
  }
  if (fresh) {
    int err = open_file(box);
    if (err) {
      free(o);
      uv_close((uv_handle_t *)&box->timer, free_unopened);
      return err;
    }
    box->next = all;
    all = box;
  }
  *o = (outbox_opener){box->openers, opened, arg};
  box->openers = o;
  box->refs++;
  box->closing = false;      /* its end had begun: it goes on instead */
  if (!fresh && box->open) { /* answered by the file, so not from in here */
    int err = cxb_outbox_ask(box, cxb_outbox_sql("SELECT 1"), on_still_open, box);
    if (err) {
      box->openers = o->next;
      box->refs--;
      free(o);
      return err;
    }
  }
  return 0;
}
