/* One SQLite connection: opening, statement cache, transactions, verdicts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "sqlite_internal.h"

enum { BUSY_MS = 5000, MAX_RESULT = 64 << 20, OPEN_TRIES = 50 };

/* ---- verdicts ---- */

typedef struct verdict {
  int rc, err;
  const char *code;
} verdict;

/* Extended codes first; the rest by the primary code. */
static const verdict verdicts[] = {
    {SQLITE_CONSTRAINT_UNIQUE, CXB_EEXIST, "duplicate"},
    {SQLITE_CONSTRAINT_PRIMARYKEY, CXB_EEXIST, "duplicate"},
    {SQLITE_CONSTRAINT_ROWID, CXB_EEXIST, "duplicate"},
    {SQLITE_CONSTRAINT, CXB_EINVAL, "constraint"},
    {SQLITE_FULL, CXB_ENOSPC, "no_space"},
    {SQLITE_CORRUPT, CXB_ECORRUPT, "corrupt"},
    {SQLITE_NOTADB, CXB_ECORRUPT, "corrupt"},
    {SQLITE_BUSY, CXB_EBUSY, "busy"},
    {SQLITE_LOCKED, CXB_EBUSY, "busy"},
    {SQLITE_NOMEM, CXB_ENOMEM, "memory"},
    {SQLITE_TOOBIG, CXB_ETOOBIG, "too_large"},
    {SQLITE_INTERRUPT, CXB_ECANCELED, "cancelled"},
    {SQLITE_IOERR, CXB_EIO, "io"},
    {SQLITE_CANTOPEN, CXB_EIO, "io"},
    {SQLITE_READONLY, CXB_EIO, "io"},
    {SQLITE_PERM, CXB_EIO, "io"},
    {SQLITE_PROTOCOL, CXB_EIO, "io"},
};

static verdict judge(int rc, int system_errno) {
  for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
    if (verdicts[i].rc == rc || verdicts[i].rc == (rc & 0xff)) {
      verdict v = verdicts[i];
      if (v.err == CXB_EIO && cxb_err_from_errno(system_errno) == CXB_ENOSPC)
        return (verdict){rc, CXB_ENOSPC, "no_space"};
      if ((rc & 0xff) == SQLITE_CANTOPEN && system_errno == ENOENT)
        return (verdict){rc, CXB_ENOENT, "not_found"};
      return v;
    }
  return (verdict){rc, CXB_EINVAL, "sql"};
}

static void describe(cxb_sqlite_conn *c, const verdict *v, int system_errno, char *out,
                     size_t len) {
  const char *what = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(v->rc);
  if (v->err == CXB_EINVAL || v->err == CXB_EEXIST || v->err == CXB_ETOOBIG)
    snprintf(out, len, "%s", what);
  else if (system_errno && (v->err == CXB_EIO || v->err == CXB_ENOSPC))
    snprintf(out, len, "%s: %s (%s)", c->path, what, strerror(system_errno));
  else
    snprintf(out, len, "%s: %s", c->path, what);
}

static void fail(cxb_sqlite_conn *c, cxb_sql *sql, int rc) {
  int system_errno = c->db ? sqlite3_system_errno(c->db) : 0;
  if (!system_errno)
    system_errno = c->control_errno;
  verdict v = judge(rc, system_errno);
  sql->err = v.err;
  sql->code = v.code;
  describe(c, &v, system_errno, sql->message, sizeof sql->message);
}

static void fail_with(cxb_sql *sql, int err, const char *code, const char *message) {
  sql->err = err;
  sql->code = code;
  snprintf(sql->message, sizeof sql->message, "%s", message);
}

/* ---- opening ---- */

/* A script's BEGIN would tear a transaction that others share. */
static int authorize(void *arg, int action, const char *a, const char *b, const char *d,
                     const char *e) {
  (void)a;
  (void)b;
  (void)d;
  (void)e;
  const cxb_sqlite_conn *c = arg;
  bool control = action == SQLITE_TRANSACTION || action == SQLITE_SAVEPOINT;
  return control && !c->own ? SQLITE_DENY : SQLITE_OK;
}

/* SQLite does not keep the cause when a COMMIT fails, so it is taken from where it was left. */
static int run_own(cxb_sqlite_conn *c, const char *text) {
  c->own = true;
  errno = 0;
  int rc = sqlite3_exec(c->db, text, NULL, NULL, NULL);
  c->control_errno = rc == SQLITE_OK ? 0 : errno;
  c->own = false;
  return rc;
}

static int on_mode(void *arg, int columns, char **values, char **names) {
  (void)names;
  bool *good = arg;
  *good = columns == 1 && values[0] &&
          (strcmp(values[0], "wal") == 0 || strcmp(values[0], "memory") == 0);
  return 0;
}

/* Changing to WAL does not honour the busy timeout, so two processes making one file take turns. */
static int make_wal(cxb_sqlite_conn *c) {
  bool good = false;
  int rc = SQLITE_BUSY;
  for (int i = 0; i < OPEN_TRIES && (rc & 0xff) == SQLITE_BUSY; i++) {
    rc = sqlite3_exec(c->db, "PRAGMA journal_mode=WAL", on_mode, &good, NULL);
    if ((rc & 0xff) == SQLITE_BUSY)
      usleep(BUSY_MS * 1000 / OPEN_TRIES);
  }
  return rc == SQLITE_OK && !good ? SQLITE_PROTOCOL : rc;
}

static int set_up(cxb_sqlite_conn *c, const cxb_sqlite_options *options, bool reader) {
  sqlite3_extended_result_codes(c->db, 1);
  sqlite3_busy_timeout(c->db, c->no_wait ? 0 : BUSY_MS);
  int rc = SQLITE_OK;
  if (!c->readonly)
    rc = make_wal(c);
  if (rc == SQLITE_OK && !c->readonly)
    rc = run_own(c, options->sync_normal ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL");
  if (rc == SQLITE_OK)
    rc = run_own(c, reader ? "PRAGMA temp_store=MEMORY; PRAGMA query_only=1"
                           : "PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=16777216");
  if (rc == SQLITE_OK && options->one_thread)
    rc = run_own(c, "PRAGMA cache_size=-256");
  /* Reads the first page and the schema: a file that is none shows here. */
  if (rc == SQLITE_OK)
    rc = run_own(c, "SELECT count(*) FROM sqlite_schema");
  if (rc == SQLITE_OK)
    sqlite3_set_authorizer(c->db, authorize, c);
  return rc;
}

int cxb_sqlite_conn_open(cxb_sqlite_conn *c, const char *path, const cxb_sqlite_options *options,
                         bool reader, const char **code, char *message, size_t message_len) {
  c->path = path;
  c->readonly = reader || options->readonly;
  int flags = c->readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int rc = sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc == SQLITE_OK)
    rc = set_up(c, options, reader);
  if (rc == SQLITE_OK)
    return 0;
  int system_errno = c->db ? sqlite3_system_errno(c->db) : 0;
  verdict v = judge(rc, system_errno);
  *code = v.code;
  describe(c, &v, system_errno, message, message_len);
  sqlite3_close(c->db);
  c->db = NULL;
  return v.err;
}

void cxb_sqlite_conn_close(cxb_sqlite_conn *c) {
  for (int i = 0; i < CXB_SQLITE_CACHE; i++)
    sqlite3_finalize(c->cache[i].stmt);
  sqlite3_close(c->db);
  *c = (cxb_sqlite_conn){0};
}

/* ---- statements ---- */

static uint64_t hash_text(const char *s, size_t len) {
  uint64_t h = 14695981039346656037u; /* FNV-1a */
  for (size_t i = 0; i < len; i++)
    h = (h ^ (unsigned char)s[i]) * 1099511628211u;
  return h;
}

static bool only_blanks(const char *s) {
  return s[strspn(s, " \t\r\n;")] == '\0';
}

/* The prepared statement, from the cache or new in place of the one used longest ago. On failure
 * `sql` has its verdict. */
static sqlite3_stmt *prepare(cxb_sqlite_conn *c, cxb_sql *sql, const cxb_sql_statement *s) {
  uint64_t hash = hash_text(s->text, s->len);
  cxb_sqlite_cached *slot = &c->cache[0];
  for (int i = 0; i < CXB_SQLITE_CACHE; i++) {
    cxb_sqlite_cached *e = &c->cache[i];
    if (e->stmt && e->hash == hash && strcmp(sqlite3_sql(e->stmt), s->text) == 0) {
      e->used = ++c->tick;
      return e->stmt;
    }
    if (e->used < slot->used)
      slot = e;
  }
  sqlite3_stmt *stmt = NULL;
  const char *tail = "";
  int rc =
      sqlite3_prepare_v3(c->db, s->text, (int)s->len + 1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
  if (rc != SQLITE_OK) {
    if (rc == SQLITE_AUTH)
      fail_with(sql, CXB_EINVAL, "sql", "transactions are made by batch()");
    else
      fail(c, sql, rc);
    return NULL;
  }
  if (!stmt || !only_blanks(tail)) {
    sqlite3_finalize(stmt);
    fail_with(sql, CXB_EINVAL, "sql", stmt ? "one statement a call" : "no statement");
    return NULL;
  }
  sqlite3_finalize(slot->stmt);
  *slot = (cxb_sqlite_cached){stmt, hash, ++c->tick};
  return stmt;
}

static int bind_one(sqlite3_stmt *stmt, int at, const cxb_sql_value *v) {
  switch (v->type) {
  case CXB_SQL_INT:
    return sqlite3_bind_int64(stmt, at, v->i);
  case CXB_SQL_REAL:
    return sqlite3_bind_double(stmt, at, v->r);
  case CXB_SQL_TEXT:
    return sqlite3_bind_text64(stmt, at, v->s, v->len, SQLITE_STATIC, SQLITE_UTF8);
  case CXB_SQL_BLOB:
    return sqlite3_bind_blob64(stmt, at, v->s, v->len, SQLITE_STATIC);
  default:
    return sqlite3_bind_null(stmt, at);
  }
}

static bool bind_all(cxb_sqlite_conn *c, cxb_sql *sql, sqlite3_stmt *stmt,
                     const cxb_sql_statement *s) {
  int wanted = sqlite3_bind_parameter_count(stmt);
  if (s->nparams > wanted) {
    char message[80];
    snprintf(message, sizeof message, "%d values for %d parameters", s->nparams, wanted);
    fail_with(sql, CXB_EINVAL, "sql", message);
    return false;
  }
  for (int i = 0; i < s->nparams; i++) {
    int rc = bind_one(stmt, i + 1, &s->params[i]);
    if (rc != SQLITE_OK) {
      fail(c, sql, rc);
      return false;
    }
  }
  return true;
}

static bool take_names(cxb_sql *sql, cxb_sql_statement *s, sqlite3_stmt *stmt) {
  s->columns = sqlite3_column_count(stmt);
  s->names = cxb_sql_alloc(sql, (size_t)s->columns * sizeof *s->names);
  for (int i = 0; s->names && i < s->columns; i++) {
    const char *name = sqlite3_column_name(stmt, i);
    char *own = name ? cxb_sql_alloc(sql, strlen(name) + 1) : NULL;
    if (!own)
      return false;
    strcpy(own, name);
    s->names[i] = own;
  }
  return s->names != NULL;
}

static bool take_cell(cxb_sql *sql, cxb_sql_value *out, sqlite3_stmt *stmt, int i) {
  int type = sqlite3_column_type(stmt, i);
  if (type == SQLITE_NULL) {
    *out = (cxb_sql_value){.type = CXB_SQL_NULL};
  } else if (type == SQLITE_INTEGER) {
    *out = (cxb_sql_value){.type = CXB_SQL_INT, .i = sqlite3_column_int64(stmt, i)};
  } else if (type == SQLITE_FLOAT) {
    *out = (cxb_sql_value){.type = CXB_SQL_REAL, .r = sqlite3_column_double(stmt, i)};
  } else {
    const void *from = type == SQLITE_BLOB ? sqlite3_column_blob(stmt, i)
                                           : (const void *)sqlite3_column_text(stmt, i);
    size_t len = (size_t)sqlite3_column_bytes(stmt, i);
    char *own = cxb_sql_alloc(sql, len + 1);
    if (!own || (len && !from))
      return false;
    if (len)
      memcpy(own, from, len);
    own[len] = '\0';
    sql->result_bytes += len;
    *out = (cxb_sql_value){
        .type = type == SQLITE_BLOB ? CXB_SQL_BLOB : CXB_SQL_TEXT, .len = len, .s = own};
  }
  return true;
}

static bool take_row(cxb_sql *sql, cxb_sql_statement *s, sqlite3_stmt *stmt) {
  size_t width = (size_t)s->columns, at = s->rows * width;
  if (at + width > s->cells_cap) {
    size_t cap = s->cells_cap ? s->cells_cap * 2 : width * 4;
    cxb_sql_value *cells = realloc(s->cells, cap * sizeof *cells);
    if (!cells)
      return false;
    s->cells = cells;
    s->cells_cap = cap;
  }
  for (int i = 0; i < s->columns; i++)
    if (!take_cell(sql, &s->cells[at + (size_t)i], stmt, i))
      return false;
  s->rows++;
  sql->result_bytes += width * sizeof *s->cells;
  return true;
}

static void step_all(cxb_sqlite_conn *c, cxb_sql *sql, cxb_sql_statement *s, sqlite3_stmt *stmt) {
  int rc;
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    bool kept = (s->names || take_names(sql, s, stmt)) && take_row(sql, s, stmt);
    if (!kept || sql->result_bytes > MAX_RESULT) {
      if (kept)
        fail_with(sql, CXB_ETOOBIG, "too_large", "the answer is above 64 MiB");
      else
        fail_with(sql, CXB_ENOMEM, "memory", "no memory for the answer");
      return;
    }
  }
  if (rc != SQLITE_DONE)
    fail(c, sql, rc);
}

static bool run_statement(cxb_sqlite_conn *c, cxb_sql *sql, cxb_sql_statement *s) {
  sqlite3_stmt *stmt = prepare(c, sql, s);
  if (!stmt)
    return false;
  s->rows = 0;
  s->names = NULL;
  s->changes = 0;
  int before = sqlite3_total_changes(c->db);
  if (bind_all(c, sql, stmt, s))
    step_all(c, sql, s, stmt);
  if (!sql->err && sqlite3_total_changes(c->db) != before)
    s->changes = sqlite3_changes(c->db);
  sqlite3_reset(stmt);
  sqlite3_clear_bindings(stmt);
  /* A progress handler (a look's) goes by the steps since this was zero, not by one run's. */
  sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1);
  return sql->err == 0;
}

static bool run_statements(cxb_sqlite_conn *c, cxb_sql *sql) {
  sql->err = 0;
  sql->result_bytes = 0;
  for (int i = 0; i < sql->count; i++)
    if (!run_statement(c, sql, &sql->list[i])) {
      if (sql->count > 1) {
        char text[sizeof sql->message];
        snprintf(text, sizeof text, "statement %d: %.200s", i + 1, sql->message);
        memcpy(sql->message, text, sizeof text);
      }
      return false;
    }
  return true;
}

/* ---- transactions ---- */

static void roll_back(cxb_sqlite_conn *c) {
  if (!sqlite3_get_autocommit(c->db))
    run_own(c, "ROLLBACK");
}

static int commit(cxb_sqlite_conn *c) {
  cxb_fault("commit.before");
  int rc = run_own(c, "COMMIT");
  if (rc == SQLITE_OK)
    (*c->commits)++;
  cxb_fault("commit.after");
  return rc;
}

/* One request in a transaction of its own. */
static void write_one(cxb_sqlite_conn *c, cxb_sql *sql) {
  if (cxb_sql_stands_alone(sql)) {
    c->own = true; /* VACUUM makes transactions */
    run_statements(c, sql);
    c->own = false;
    return;
  }
  int rc = run_own(c, "BEGIN IMMEDIATE");
  if (rc == SQLITE_OK && run_statements(c, sql))
    rc = commit(c);
  if (rc != SQLITE_OK)
    fail(c, sql, rc);
  roll_back(c);
}

/* One request beside others: all of it or nothing. A statement that fails takes back what it did by
 * itself; only several together need a savepoint (which is not free: the index of words writes what
 * it has gathered at each). False: the transaction is no good any more. */
static bool write_beside(cxb_sqlite_conn *c, cxb_sql *sql) {
  if (sql->count == 1) {
    int before = sqlite3_total_changes(c->db);
    return run_statements(c, sql) ||
           (sqlite3_total_changes(c->db) == before && !sqlite3_get_autocommit(c->db));
  }
  return run_own(c, "SAVEPOINT one") == SQLITE_OK &&
         (run_statements(c, sql) || run_own(c, "ROLLBACK TO one") == SQLITE_OK) &&
         run_own(c, "RELEASE one") == SQLITE_OK;
}

/* All in one transaction; false when it broke as a whole: then nothing happened and nobody has a
 * verdict. */
static bool write_together(cxb_sqlite_conn *c, cxb_sql *first, const cxb_sql *end) {
  int rc = run_own(c, "BEGIN IMMEDIATE");
  if (rc != SQLITE_OK) { /* another process writes for longer than the busy time */
    for (cxb_sql *sql = first; sql != end; sql = sql->next)
      fail(c, sql, rc);
    return true;
  }
  for (cxb_sql *sql = first; sql != end && write_beside(c, sql); sql = sql->next)
    if (sql->next == end && commit(c) == SQLITE_OK)
      return true;
  roll_back(c);
  return false;
}

void cxb_sqlite_conn_write(cxb_sqlite_conn *c, cxb_sql *list) {
  while (list) {
    cxb_sql *end = list;
    while (end && !cxb_sql_stands_alone(end))
      end = end->next;
    if (end == list)
      end = list->next;
    /* What broke the group (no space, a deferred constraint) is found one by one. */
    if (list->next == end || !write_together(c, list, end))
      for (cxb_sql *sql = list; sql != end; sql = sql->next)
        write_one(c, sql);
    list = end;
  }
}

bool cxb_sqlite_conn_read(cxb_sqlite_conn *c, cxb_sql *sql) {
  for (int i = 0; i < sql->count; i++) {
    sqlite3_stmt *stmt = prepare(c, sql, &sql->list[i]);
    if (!stmt)
      return true;
    if (!sqlite3_stmt_readonly(stmt)) {
      sql->err = 0;
      return false;
    }
  }
  bool several = sql->count > 1;
  int rc = several ? run_own(c, "BEGIN") : SQLITE_OK;
  if (rc == SQLITE_OK)
    run_statements(c, sql);
  else
    fail(c, sql, rc);
  roll_back(c);
  return true;
}
