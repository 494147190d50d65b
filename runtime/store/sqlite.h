/* A SQLite file on threads of its own.
 *
 * One connection writes: the requests of one turn of the loop (and those that arrive while it is
 * busy) share one transaction, each all or nothing, and are answered after its COMMIT.
 * Up to three read-only connections read meanwhile (WAL), so that a long read delays no commit;
 * what a key finds is read without them, by one more on the loop's own thread. Everything here is
 * called on the loop's thread and answers there. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct cxb_sqlite cxb_sqlite;

typedef struct cxb_sqlite_options {
  bool sync_normal; /* synchronous=NORMAL: survives the process, not a power cut */
  bool readonly;    /* the file must exist; nothing is written */
  bool lock;        /* this process alone, until it is closed (flock) */
  bool one_thread;  /* reads wait for writes, few pages are kept: for small files */
} cxb_sqlite_options;

/* `db` (one reference, dropped by cxb_sqlite_close()) when err is 0; else `code` is the word
 * scripts see and `message` a sentence with the path. Called once, never from inside
 * cxb_sqlite_open(). */
typedef void (*cxb_sqlite_opened)(void *arg, cxb_sqlite *db, int err, const char *code,
                                  const char *message);

/* Opens or creates `path` (its folder too). The same path is one connection in this process.
 * CXB_EBUSY: locked by another process; CXB_ECORRUPT: no database or damaged. Returns 0 when
 * `opened` will be called, else CXB_ENOMEM or CXB_EINVAL. */
int cxb_sqlite_open(uv_loop_t *loop, const char *path, const cxb_sqlite_options *options,
                    cxb_sqlite_opened opened, void *arg);
/* Drops a reference; the file is closed after what was asked for has been answered. A read still
 * running then is interrupted. */
void cxb_sqlite_close(cxb_sqlite *db);
/* Closes every file whoever still holds it; the loop has to be run until it is dry. */
void cxb_sqlite_close_all(void);
/* Transactions committed so far. */
uint64_t cxb_sqlite_commits(const cxb_sqlite *db);

/* ---- requests ---- */

typedef enum { CXB_SQL_NULL, CXB_SQL_INT, CXB_SQL_REAL, CXB_SQL_TEXT, CXB_SQL_BLOB } cxb_sql_type;

typedef struct cxb_sql_value {
  cxb_sql_type type;
  size_t len; /* of s */
  union {
    int64_t i;
    double r;
    const char *s; /* NUL behind it, may hold others */
  };
} cxb_sql_value;

typedef struct cxb_sql_statement {
  const char *text;
  size_t len;
  cxb_sql_value *params;
  int nparams, params_cap;
  /* the answer */
  int64_t changes;
  int columns;
  const char **names;
  cxb_sql_value *cells; /* rows × columns */
  size_t rows, cells_cap;
} cxb_sql_statement;

/* One statement, or several that happen all or not at all. */
typedef struct cxb_sql {
  cxb_sql_statement *list;
  int count;
  int err;           /* 0 or CXB_E*; on failure nothing of it happened */
  const char *code;  /* "duplicate", "constraint", "no_space", "io", "corrupt", "busy", "sql" … */
  char message[256]; /* a sentence */
  /* private */
  struct cxb_sql_chunk *chunks;
  size_t result_bytes;
  bool out_of_memory, read;
  struct cxb_sql *next;
  void (*done)(void *arg, struct cxb_sql *sql);
  void *arg;
} cxb_sql;

cxb_sql *cxb_sql_new(void); /* NULL: no memory */
void cxb_sql_free(cxb_sql *sql);
/* As new, in memory it had. */
void cxb_sql_clear(cxb_sql *sql);
/* Begins a statement; the values that follow are its parameters in order. All is copied. Lack of
 * memory shows when it is run. */
void cxb_sql_add(cxb_sql *sql, const char *text, size_t len);
void cxb_sql_null(cxb_sql *sql);
void cxb_sql_int(cxb_sql *sql, int64_t value);
void cxb_sql_real(cxb_sql *sql, double value);
void cxb_sql_text(cxb_sql *sql, const char *s, size_t len);
void cxb_sql_blob(cxb_sql *sql, const char *s, size_t len);
/* Row `row`, column `column` of statement `i`. */
const cxb_sql_value *cxb_sql_cell(const cxb_sql *sql, int i, size_t row, int column);

/* Runs it: `done` later, on the loop, and the caller frees it. SELECT, VALUES, EXPLAIN and a
 * reading WITH see what was committed before; everything else is a write. CXB_ECLOSED, CXB_ENOMEM
 * or CXB_EINVAL (no statement): `done` will not be called. */
int cxb_sqlite_run(cxb_sqlite *db, cxb_sql *sql, void (*done)(void *arg, cxb_sql *sql), void *arg);
/* Runs a read of one document by its key here and now: it sees what was committed before. False:
 * `sql` is as before and for cxb_sqlite_run(), which has the time: a lock is in the way, it is no
 * short read or went wrong, or so many were read that it is the others' turn. */
bool cxb_sqlite_look(cxb_sqlite *db, cxb_sql *sql);
