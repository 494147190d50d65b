/* What is asked of an open outbox from outside: hooks for headers, and new rows. */
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "outbox_internal.h"

/* ---- hooks ---- */

int cxb_outbox_add_hook(cxb_outbox *box, cxb_outbox_headers headers, void *arg) {
  outbox_hook *h = malloc(sizeof *h);
  if (!h)
    return CXB_ENOMEM;
  *h = (outbox_hook){box->hooks, headers, arg};
  box->hooks = h;
  return 0;
}

void cxb_outbox_remove_hook(cxb_outbox *box, void *arg) {
  for (outbox_hook **at = &box->hooks; *at; at = &(*at)->next)
    if ((*at)->arg == arg) {
      outbox_hook *h = *at;
      *at = h->next;
      free(h);
      return;
    }
}

/* ---- putting ---- */

typedef struct putting {
  cxb_outbox *box;
  cxb_outbox_put_done done;
  void *arg;
  int64_t utc, n;
  bool work;
} putting;

static void on_put(void *arg, cxb_sql *sql) {
  putting *p = arg;
  cxb_outbox *box = p->box;
  cxb_fault("outbox.committed");
  int64_t id = sql->err ? 0 : cxb_sql_cell(sql, 0, 0, 0)->i;
  const cxb_sql_value *v = sql->list[0].params;
  outbox_row *row = sql->err ? NULL : cxb_outbox_row_add(box, id, v[0].s, v[1].s, p->n, v[3].s);
  if (row) { /* else: it is on the disk, the next start sends it */
    row->born = row->due = cxb_outbox_mono(box);
    row->expires = row->born + CXB_OUTBOX_MAX_AGE_MS;
    row->created_utc = p->utc;
    if (p->work)
      cxb_outbox_row_set_state(row, ROW_WORK);
  }
  p->done(p->arg, id, sql->err, sql->err ? sql->code : "ok", sql->err ? sql->message : "");
  cxb_sql_free(sql);
  free(p);
  if (row && !box->closing)
    cxb_outbox_pump_soon(box);
  cxb_outbox_answered(box);
}

static bool plain_text(const char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < ' ' || *s == 127)
      return false;
  return true;
}

int cxb_outbox_put(cxb_outbox *box, const cxb_outbox_new *row, cxb_outbox_put_done done,
                   void *arg) {
  size_t session = strlen(row->session_id);
  if (box->closing)
    return CXB_ECLOSED;
  if (!cxb_outbox_stream(row->kind) || session == 0 || session > 200 ||
      !plain_text(row->session_id) || (strcmp(row->kind, "upload") == 0) != (row->file != NULL) ||
      cxb_outbox_check_url(row->url) != 0)
    return CXB_EINVAL;
  putting *p = calloc(1, sizeof *p);
  cxb_sql *sql = cxb_outbox_sql(
      "INSERT INTO outbox(kind,session_id,n,url,headers,state,created_at,expires_at,due_set_at,"
      "due_at,body,stage,file) VALUES(?,?,?,?,?,"
      "CASE WHEN ?9 IS NULL THEN 'ready' ELSE 'analysis' END,?6,?6+?7,?6,?6,?8,?9,?10) "
      "RETURNING id");
  if (!p || !sql) {
    free(p);
    cxb_sql_free(sql);
    return CXB_ENOMEM;
  }
  int64_t utc = cxb_outbox_utc(box);
  *p = (putting){
      .box = box, .done = done, .arg = arg, .utc = utc, .n = row->n, .work = row->work != NULL};
  const char *headers = row->headers ? row->headers : "";
  cxb_sql_text(sql, row->kind, strlen(row->kind));
  cxb_sql_text(sql, row->session_id, session);
  cxb_sql_int(sql, row->n);
  cxb_sql_text(sql, row->url, strlen(row->url));
  cxb_sql_text(sql, headers, strlen(headers));
  cxb_sql_int(sql, utc);
  cxb_sql_int(sql, CXB_OUTBOX_MAX_AGE_MS);
  cxb_sql_blob(sql, row->body, row->body_len);
  if (row->work)
    cxb_sql_text(sql, row->work, row->work_len);
  else
    cxb_sql_null(sql);
  if (row->file)
    cxb_sql_text(sql, row->file, strlen(row->file));
  else
    cxb_sql_null(sql);
  int err = cxb_outbox_ask(box, sql, on_put, p);
  if (err)
    free(p);
  return err;
}
