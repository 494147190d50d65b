/* A damaged outbox file: it is set aside as <path>.corrupt, and a new one gets its readable rows.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../observe/log.h"
#include "outbox_internal.h"

enum { LOCK_MS = 5000, MAX_IDS = 10000000 };

#define COLUMNS                                                                                    \
  "id,kind,session_id,n,state,url,attempts,created_at,expires_at,due_set_at,due_at,done_at,"       \
  "last_status,last_error,headers,stage,file,body"
enum { COLUMN_COUNT = 18 };

typedef struct salvage {
  uv_work_t work;
  cxb_outbox *box;
  void (*done)(cxb_outbox *box, int err, const char *message);
  int err, kept, unreadable;
  char path[PATH_MAX], fresh[PATH_MAX], aside[PATH_MAX];
  char message[PATH_MAX + 80];
} salvage;

/* The lock of the damaged file: whoever had it open here lets go of it in a moment. */
static int lock(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  int64_t until = cxb_mono_ms() + LOCK_MS;
  while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (cxb_mono_ms() > until) {
      close(fd);
      return -1;
    }
    usleep(5000);
  }
  return fd;
}

static void name_aside(salvage *s) {
  snprintf(s->aside, sizeof s->aside, "%s.corrupt", s->path);
  for (int n = 1; access(s->aside, F_OK) == 0; n++)
    snprintf(s->aside, sizeof s->aside, "%s.corrupt.%d", s->path, n);
}

/* Moves a file and what SQLite keeps beside it. */
static int move(const char *from, const char *to) {
  static const char *const tails[] = {"-wal", "-shm", ""};
  int err = 0;
  for (int i = 0; i < 3; i++) {
    char a[PATH_MAX + 8], b[PATH_MAX + 8];
    snprintf(a, sizeof a, "%s%s", from, tails[i]);
    snprintf(b, sizeof b, "%s%s", to, tails[i]);
    if (rename(a, b) != 0 && errno != ENOENT)
      err = cxb_err_from_errno(errno);
  }
  return err;
}

static int64_t number(sqlite3 *db, const char *text, int64_t otherwise) {
  sqlite3_stmt *stmt;
  if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK)
    return otherwise;
  int64_t n = otherwise;
  if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) == SQLITE_INTEGER)
    n = sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  return n;
}

/* Ids to look for. A damaged page hides the ends of the table, but perhaps not those of its index;
 * or it tells ends that are none, so no more than MAX_IDS are tried. */
static void range(sqlite3 *db, int64_t *first, int64_t *last) {
#define BY_INDEX " FROM outbox INDEXED BY sqlite_autoindex_outbox_1 WHERE kind>=''"
  int64_t by_index = number(db, "SELECT min(id)" BY_INDEX, 1);
  *first = number(db, "SELECT min(id) FROM outbox", by_index);
  by_index = number(db, "SELECT max(id)" BY_INDEX, 0);
  *last = number(db, "SELECT max(id) FROM outbox", by_index);
  if (*last < by_index)
    *last = by_index;
  if (*first < 1)
    *first = 1;
  if (*last - *first >= MAX_IDS)
    *last = *first + MAX_IDS - 1;
}

static bool copy_row(sqlite3_stmt *from, sqlite3_stmt *to) {
  bool bound = true;
  for (int i = 0; i < COLUMN_COUNT && bound; i++)
    bound = sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i)) == SQLITE_OK;
  bool kept = bound && sqlite3_step(to) == SQLITE_DONE;
  sqlite3_reset(to);
  return kept;
}

/* Row by row: what lies in a damaged page costs its own rows only. */
static int copy(salvage *s, sqlite3 *from, sqlite3 *to) {
  sqlite3_stmt *get = NULL, *put = NULL;
  if (sqlite3_prepare_v2(from, "SELECT " COLUMNS " FROM outbox NOT INDEXED WHERE id=?", -1, &get,
                         NULL) != SQLITE_OK)
    return 0; /* nothing can be read, not even the schema */
  int err = sqlite3_prepare_v2(to,
                               "INSERT OR IGNORE INTO outbox(" COLUMNS
                               ") "
                               "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                               -1, &put, NULL) == SQLITE_OK
                ? 0
                : CXB_EIO;
  int64_t id, last;
  range(from, &id, &last);
  for (; !err && id <= last; id++) {
    sqlite3_bind_int64(get, 1, id);
    int rc = sqlite3_step(get);
    if (rc == SQLITE_ROW && copy_row(get, put))
      s->kept++;
    else if (rc != SQLITE_DONE)
      s->unreadable++;
    sqlite3_reset(get);
  }
  sqlite3_finalize(get);
  sqlite3_finalize(put);
  return err;
}

static int fill(salvage *s) {
  sqlite3 *from = NULL, *to = NULL;
  unlink(s->fresh);
  int err = 0;
  if (sqlite3_open_v2(s->fresh, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
          SQLITE_OK ||
      chmod(s->fresh, 0640) != 0 ||
      sqlite3_exec(to, cxb_outbox_schema, NULL, NULL, NULL) != SQLITE_OK ||
      sqlite3_exec(to, "PRAGMA synchronous=FULL; BEGIN", NULL, NULL, NULL) != SQLITE_OK)
    err = CXB_EIO;
  if (!err && sqlite3_open_v2(s->path, &from, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
    err = copy(s, from, to);
  if (!err && sqlite3_exec(to, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
    err = CXB_EIO;
  sqlite3_close(from);
  sqlite3_close(to);
  return err;
}

static void salvage_work(uv_work_t *work) {
  salvage *s = work->data;
  int fd = lock(s->path);
  if (fd < 0) {
    s->err = CXB_EBUSY;
  } else {
    s->err = fill(s);
    name_aside(s);
    if (!s->err)
      s->err = move(s->path, s->aside);
    if (!s->err)
      s->err = move(s->fresh, s->path);
    close(fd);
  }
  if (s->err)
    snprintf(s->message, sizeof s->message, "%s: damaged, and not set aside: %s", s->path,
             cxb_strerror(s->err));
}

static void salvage_done(uv_work_t *work, int status) {
  (void)status;
  salvage *s = work->data;
  if (!s->err)
    cxb_logf(CXB_LOG_ERROR, "outbox: %s was damaged and is now %s: %d rows kept, %d unreadable",
             s->path, s->aside, s->kept, s->unreadable);
  s->done(s->box, s->err, s->message);
  free(s);
}

int cxb_outbox_salvage(cxb_outbox *box, void (*done)(cxb_outbox *, int, const char *)) {
  salvage *s = calloc(1, sizeof *s);
  if (!s)
    return CXB_ENOMEM;
  s->work.data = s;
  s->box = box;
  s->done = done;
  snprintf(s->path, sizeof s->path, "%s", box->path);
  snprintf(s->fresh, sizeof s->fresh, "%s.salvaged", box->path);
  uv_queue_work(box->loop, &s->work, salvage_work, salvage_done);
  return 0;
}
