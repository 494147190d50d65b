/* Reads on the loop's own thread (contract of cxb_sqlite_look() in sqlite.h). */
#include <limits.h>
#include <string.h>

#include "sqlite_internal.h"

/* What a key finds takes some dozen instructions; after some thousands (a millisecond) it was
 * something else. PER_TURN: of one turn of the loop. A look saves the way to a thread and back, but
 * scattered between requests it finds the caches cold: of many, a thread reads the rest in one go
 * for half of that. And a script that goes on reading without an end then waits like everybody. */
enum { LOOK_OPS = 10000, PER_TURN = 16, AGAIN_MS = 1000 };

static int too_long(void *arg) {
  (void)arg;
  return 1;
}

static bool open_looker(cxb_sqlite_looker *l, const char *path, const cxb_sqlite_options *options,
                        uint64_t now) {
  const char *code;
  char message[PATH_MAX + 128];
  if (l->again_at > now)
    return false;
  l->conn.no_wait = true;
  if (cxb_sqlite_conn_open(&l->conn, path, options, true, &code, message, sizeof message) != 0) {
    l->again_at = now + AGAIN_MS;
    return false;
  }
  sqlite3_progress_handler(l->conn.db, LOOK_OPS, too_long, NULL);
  l->open = true;
  return true;
}

bool cxb_sqlite_looker_read(cxb_sqlite_looker *l, const char *path,
                            const cxb_sqlite_options *options, uint64_t now, cxb_sql *sql) {
  if (l->count >= PER_TURN || (!l->open && !open_looker(l, path, options, now)))
    return false;
  l->count++;
  if (!cxb_sqlite_conn_read(&l->conn, sql))
    return false;
  bool told = sql->err == 0;
  sql->err = 0; /* what went wrong shows where there is time for it */
  return told;
}

void cxb_sqlite_looker_close(cxb_sqlite_looker *l) {
  if (l->open)
    cxb_sqlite_conn_close(&l->conn);
  *l = (cxb_sqlite_looker){0};
}
