/* One SQLite connection and what it is asked: used by one thread only. */
#pragma once
#include <sqlite3.h>

#include "sqlite.h"

enum { CXB_SQLITE_CACHE = 64 };

typedef struct cxb_sqlite_cached {
  sqlite3_stmt *stmt;
  uint64_t hash, used;
} cxb_sqlite_cached;

typedef struct cxb_sqlite_conn {
  sqlite3 *db;
  const char *path; /* borrowed */
  bool own;         /* transaction control is ours, not a script's */
  bool readonly;
  bool no_wait;      /* "busy" at once when somebody holds a lock */
  int control_errno; /* of the last transaction statement that failed */
  uint64_t tick;
  cxb_sqlite_cached cache[CXB_SQLITE_CACHE];
  _Atomic uint64_t *commits;
} cxb_sqlite_conn;

/* Opens; on failure CXB_E*, with code and message set, and nothing is left open. */
int cxb_sqlite_conn_open(cxb_sqlite_conn *conn, const char *path, const cxb_sqlite_options *options,
                         bool reader, const char **code, char *message, size_t message_len);
void cxb_sqlite_conn_close(cxb_sqlite_conn *conn);
/* Runs the requests of the list in as few transactions as they allow; each has its verdict then. */
void cxb_sqlite_conn_write(cxb_sqlite_conn *conn, cxb_sql *list);
/* Runs one read. False when it turned out to write: it is untouched and belongs to the writer. */
bool cxb_sqlite_conn_read(cxb_sqlite_conn *conn, cxb_sql *sql);

/* The loop's own connection, opened at its first read. */
typedef struct cxb_sqlite_looker {
  cxb_sqlite_conn conn;
  bool open;
  int count;         /* reads of this turn of the loop: its owner begins anew */
  uint64_t again_at; /* the loop's clock, ms */
} cxb_sqlite_looker;

/* Runs one read; false: it is untouched (see cxb_sqlite_look()). */
bool cxb_sqlite_looker_read(cxb_sqlite_looker *looker, const char *path,
                            const cxb_sqlite_options *options, uint64_t now, cxb_sql *sql);
void cxb_sqlite_looker_close(cxb_sqlite_looker *looker);

/* Room in the request's own memory, NULL: none (out_of_memory is set). */
void *cxb_sql_alloc(cxb_sql *sql, size_t len);
/* True when its first word says it only reads; with WITH it may still write. */
bool cxb_sql_looks_reading(const cxb_sql *sql);
/* PRAGMA and VACUUM do not work inside a transaction. */
bool cxb_sql_stands_alone(const cxb_sql *sql);
