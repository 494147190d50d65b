/* Looking into an outbox and mending it: list, get, replay, purge. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "outbox_internal.h"

enum { MAX_LISTED = 1000 };

typedef struct asking {
  cxb_outbox *box;
  union {
    cxb_outbox_listed listed;
    cxb_outbox_got got;
    cxb_outbox_done done;
  };
  void *arg;
} asking;

static int ask(cxb_outbox *box, cxb_sql *sql, void (*answer)(void *, cxb_sql *), asking what) {
  asking *a = malloc(sizeof *a);
  if (!a) {
    cxb_sql_free(sql);
    return CXB_ENOMEM;
  }
  *a = what;
  int err = cxb_outbox_ask(box, sql, answer, a);
  if (err)
    free(a);
  return err;
}

static void answered(asking *a, cxb_sql *sql) {
  cxb_outbox *box = a->box;
  cxb_sql_free(sql);
  free(a);
  cxb_outbox_answered(box);
}

static const char *text(const cxb_sql *sql, size_t row, int column) {
  const cxb_sql_value *v = cxb_sql_cell(sql, 0, row, column);
  return v->type == CXB_SQL_TEXT ? v->s : "";
}

static int64_t number(const cxb_sql *sql, size_t row, int column) {
  return cxb_sql_cell(sql, 0, row, column)->i;
}

#define COLUMNS "id,kind,state,session_id,n,attempts,due_at,created_at,last_error,url"

static cxb_outbox_row row_of(const cxb_sql *sql, size_t i) {
  return (cxb_outbox_row){.id = number(sql, i, 0),
                          .kind = text(sql, i, 1),
                          .state = text(sql, i, 2),
                          .session_id = text(sql, i, 3),
                          .n = number(sql, i, 4),
                          .attempts = (int)number(sql, i, 5),
                          .due_ms = number(sql, i, 6),
                          .created_ms = number(sql, i, 7),
                          .last_error = text(sql, i, 8),
                          .url = text(sql, i, 9)};
}

static void on_listed(void *arg, cxb_sql *sql) {
  asking *a = arg;
  size_t n = sql->err ? 0 : sql->list[0].rows;
  cxb_outbox_row *rows = calloc(n + 1, sizeof *rows);
  for (size_t i = 0; rows && i < n; i++)
    rows[i] = row_of(sql, i);
  a->listed(a->arg, rows, (int)n, rows ? sql->err : CXB_ENOMEM);
  free(rows);
  answered(a, sql);
}

int cxb_outbox_list(cxb_outbox *box, const char *state, int limit, cxb_outbox_listed done,
                    void *arg) {
  cxb_sql *sql = cxb_outbox_sql(
      "SELECT " COLUMNS
      " FROM outbox "
      "WHERE CASE WHEN ?1 IS NULL THEN state<>'done' ELSE state=?1 END ORDER BY id LIMIT ?2");
  if (sql && state)
    cxb_sql_text(sql, state, strlen(state));
  else if (sql)
    cxb_sql_null(sql);
  if (sql)
    cxb_sql_int(sql, limit > 0 && limit < MAX_LISTED ? limit : MAX_LISTED);
  return ask(box, sql, on_listed, (asking){.box = box, .listed = done, .arg = arg});
}

static void on_got(void *arg, cxb_sql *sql) {
  asking *a = arg;
  int err = sql->err ? sql->err : sql->list[0].rows == 0 ? CXB_ENOENT : 0;
  cxb_outbox_row row = {0};
  if (!err) {
    const cxb_sql_value *body = cxb_sql_cell(sql, 0, 0, 10);
    row = row_of(sql, 0);
    row.body = body->s;
    row.body_len = body->len;
  }
  a->got(a->arg, err ? NULL : &row, err);
  answered(a, sql);
}

int cxb_outbox_get(cxb_outbox *box, int64_t id, cxb_outbox_got done, void *arg) {
  cxb_sql *sql = cxb_outbox_sql("SELECT " COLUMNS ",body FROM outbox WHERE id=? AND state<>'done'");
  if (sql)
    cxb_sql_int(sql, id);
  return ask(box, sql, on_got, (asking){.box = box, .got = done, .arg = arg});
}

/* The row may be in memory (it was waiting, or is under way) or not (it was dead). */
static int revive(cxb_outbox *box, const cxb_sql *sql) {
  int64_t id = number(sql, 0, 0), now = cxb_outbox_mono(box);
  outbox_row *row = cxb_outbox_row_find(box, id);
  if (!row) {
    row = cxb_outbox_row_add(box, id, text(sql, 0, 1), text(sql, 0, 2), number(sql, 0, 3),
                             text(sql, 0, 4));
    if (!row)
      return CXB_ENOMEM;
    int kind = cxb_outbox_kind_index(row->kind);
    box->dead[kind] -= box->dead[kind] > 0;
    row->attempts = (int)number(sql, 0, 5);
    row->created_utc = number(sql, 0, 6);
    row->born = now - (cxb_outbox_utc(box) - row->created_utc);
  }
  row->expires = now + CXB_OUTBOX_MAX_AGE_MS;
  row->not_before = 0;
  if (row->state == ROW_WAITING)
    row->due = now;
  return 0;
}

static void on_replayed(void *arg, cxb_sql *sql) {
  asking *a = arg;
  int64_t rows = sql->err ? 0 : (int64_t)sql->list[0].rows;
  int err = sql->err ? sql->err : rows == 0 ? CXB_ENOENT : revive(a->box, sql);
  if (!err && !a->box->closing)
    cxb_outbox_pump(a->box);
  a->done(a->arg, rows, err);
  answered(a, sql);
}

int cxb_outbox_replay(cxb_outbox *box, int64_t id, cxb_outbox_done done, void *arg) {
  cxb_sql *sql = cxb_outbox_sql(
      "UPDATE outbox SET state=CASE state WHEN 'dead' THEN 'ready' ELSE state END,"
      "due_set_at=?1,due_at=?1,expires_at=?1+?2 "
      "WHERE id=?3 AND state IN ('ready','sending','dead') "
      "RETURNING id,kind,session_id,n,url,attempts,created_at");
  if (sql) {
    cxb_sql_int(sql, cxb_outbox_utc(box));
    cxb_sql_int(sql, CXB_OUTBOX_MAX_AGE_MS);
    cxb_sql_int(sql, id);
  }
  return ask(box, sql, on_replayed, (asking){.box = box, .done = done, .arg = arg});
}

static void on_purged(void *arg, cxb_sql *sql) {
  asking *a = arg;
  size_t n = sql->err ? 0 : sql->list[0].rows;
  for (size_t i = 0; i < n; i++) {
    int kind = cxb_outbox_kind_index(text(sql, i, 0));
    if (kind >= 0 && a->box->dead[kind] > 0)
      a->box->dead[kind]--;
  }
  a->done(a->arg, (int64_t)n, sql->err);
  answered(a, sql);
}

int cxb_outbox_purge(cxb_outbox *box, cxb_outbox_done done, void *arg) {
  cxb_sql *sql = cxb_outbox_sql("DELETE FROM outbox WHERE state='dead' RETURNING kind");
  return ask(box, sql, on_purged, (asking){.box = box, .done = done, .arg = arg});
}
