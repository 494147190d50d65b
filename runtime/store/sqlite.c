/* SQLite files: who has which open, their threads and queues (contract in sqlite.h). */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../host/fs.h"
#include "sqlite_internal.h"

enum { READERS = 3, GATHER_MS = 2, TOGETHER = 512, STEPS = 4096 };

typedef struct queue {
  cxb_sql *head, **tail;
} queue;

typedef struct opener {
  struct opener *next;
  cxb_sqlite_opened opened;
  void *arg;
} opener;

typedef enum { WAITING, OPENING, OPEN, FAILED } state;

struct cxb_sqlite {
  /* the loop's */
  cxb_sqlite *next;
  char *path;
  cxb_sqlite_options options;
  int refs, outstanding, handles;
  state state;
  bool closing, threads_gone, closed;
  opener *openers;
  uv_async_t wake;   /* answers have come */
  uv_check_t gather; /* the turn is over: give what was gathered to the threads */
  uv_idle_t no_sleep;
  uv_prepare_t turn; /* the next one begins: looks are counted anew */
  queue gathered;
  int64_t gathered_at;
  cxb_sqlite_looker looker;
  uv_thread_t writer, readers[READERS];
  /* shared, under the lock */
  uv_mutex_t lock;
  uv_cond_t wrote, read;
  queue writes, reads, done;
  int reads_waiting;              /* in `reads` */
  int reader_count, readers_free; /* free: started, and with no read */
  bool stop, writer_open, writer_done;
  _Atomic bool stop_readers; /* also ends what they read, without the lock */
  /* the writer's, read after writer_open */
  int lock_fd, open_err;
  const char *open_code;
  char open_message[PATH_MAX + 128];
  _Atomic uint64_t commits;
};

static cxb_sqlite *all;

static void put(queue *q, cxb_sql *sql) {
  sql->next = NULL;
  if (!q->head)
    q->tail = &q->head;
  *q->tail = sql;
  q->tail = &sql->next;
}

static cxb_sql *take_all(queue *q) {
  cxb_sql *list = q->head;
  q->head = NULL;
  return list;
}

/* ---- threads ---- */

/* Answers of a list; takes the lock. */
static void answer(cxb_sqlite *db, cxb_sql *list) {
  uv_mutex_lock(&db->lock);
  for (cxb_sql *sql = list, *next; sql; sql = next) {
    next = sql->next;
    put(&db->done, sql);
  }
  uv_mutex_unlock(&db->lock);
  uv_async_send(&db->wake);
}

static int file_failed(cxb_sqlite *db, int err, const char *why) {
  db->open_code = cxb_err_code(err);
  snprintf(db->open_message, sizeof db->open_message, "%s: %s", db->path, why);
  return err;
}

/* The lock is on the file that the path names afterwards, not on one that was set aside meanwhile.
 */
static int take_lock(cxb_sqlite *db) {
  for (;;) {
    int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
      return file_failed(db, cxb_err_from_errno(errno), strerror(errno));
    struct stat mine, there;
    int busy = flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (!busy && fstat(fd, &mine) == 0 && stat(db->path, &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
      db->lock_fd = fd;
      return 0;
    }
    close(fd);
    if (busy)
      return file_failed(db, CXB_EBUSY, "held by another process");
  }
}

/* Makes an absent file with our mode; says why when that cannot be. */
static int make_file(cxb_sqlite *db) {
  if (db->options.readonly || strcmp(db->path, ":memory:") == 0)
    return 0;
  int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0)
    return file_failed(db, cxb_err_from_errno(errno), strerror(errno));
  close(fd); /* no connection of ours is on it yet: closing drops no lock of SQLite */
  return 0;
}

static int open_writer(cxb_sqlite *db, cxb_sqlite_conn *c) {
  int err = db->options.lock ? take_lock(db) : make_file(db);
  if (!err)
    err = cxb_sqlite_conn_open(c, db->path, &db->options, false, &db->open_code, db->open_message,
                               sizeof db->open_message);
  c->commits = &db->commits;
  return err;
}

/* The next requests, at most TOGETHER; NULL: it is time to go. */
static cxb_sql *next_writes(cxb_sqlite *db) {
  uv_mutex_lock(&db->lock);
  while (!db->writes.head && !db->stop)
    uv_cond_wait(&db->wrote, &db->lock);
  cxb_sql *list = db->writes.head, *last = list;
  for (int i = 1; last && last->next && i < TOGETHER; i++)
    last = last->next;
  if (last) {
    db->writes.head = last->next;
    last->next = NULL;
  }
  uv_mutex_unlock(&db->lock);
  return list;
}

/* Readers may still hand over what turned out to write, so they go first. */
static void end_readers(cxb_sqlite *db) {
  uv_mutex_lock(&db->lock);
  db->stop_readers = true;
  uv_cond_broadcast(&db->read);
  int count = db->reader_count;
  uv_mutex_unlock(&db->lock);
  for (int i = 0; i < count; i++)
    uv_thread_join(&db->readers[i]);
}

static void writer_main(void *arg) {
  cxb_sqlite *db = arg;
  cxb_sqlite_conn c = {0};
  int err = open_writer(db, &c);
  uv_mutex_lock(&db->lock);
  db->open_err = err;
  db->writer_open = true;
  uv_mutex_unlock(&db->lock);
  uv_async_send(&db->wake);
  cxb_sql *list;
  for (bool ending = false; !err;) {
    while ((list = next_writes(db))) {
      cxb_sqlite_conn_write(&c, list);
      answer(db, list);
    }
    if (ending)
      break;
    end_readers(db);
    ending = true;
  }
  cxb_sqlite_conn_close(&c);
  if (db->lock_fd >= 0)
    close(db->lock_fd);
  uv_mutex_lock(&db->lock);
  db->writer_done = true;
  uv_mutex_unlock(&db->lock);
  uv_async_send(&db->wake);
}

static cxb_sql *next_read(cxb_sqlite *db, bool has_read) {
  uv_mutex_lock(&db->lock);
  db->readers_free += has_read;
  while (!db->reads.head && !db->stop_readers)
    uv_cond_wait(&db->read, &db->lock);
  cxb_sql *sql = db->reads.head;
  if (sql) {
    db->reads.head = sql->next;
    db->reads_waiting--;
    db->readers_free--;
  }
  uv_mutex_unlock(&db->lock);
  if (sql)
    sql->next = NULL;
  return sql;
}

static void give_to_writer(cxb_sqlite *db, cxb_sql *sql) {
  uv_mutex_lock(&db->lock);
  put(&db->writes, sql);
  uv_cond_signal(&db->wrote);
  uv_mutex_unlock(&db->lock);
}

/* Ends a long read with the file, also one that sqlite3_interrupt() finds not begun yet. */
static int is_over(void *arg) {
  return ((cxb_sqlite *)arg)->stop_readers;
}

static void reader_main(void *arg) {
  cxb_sqlite *db = arg;
  cxb_sqlite_conn c = {0};
  const char *code;
  char message[PATH_MAX + 128];
  /* Without a connection of its own (no descriptors left …) the writer reads. */
  bool can =
      cxb_sqlite_conn_open(&c, db->path, &db->options, true, &code, message, sizeof message) == 0;
  if (can)
    sqlite3_progress_handler(c.db, STEPS, is_over, db);
  cxb_sql *sql;
  for (bool has_read = false; (sql = next_read(db, has_read)); has_read = true) {
    if (can && cxb_sqlite_conn_read(&c, sql))
      answer(db, sql);
    else
      give_to_writer(db, sql);
  }
  cxb_sqlite_conn_close(&c);
}

/* ---- the loop's side ---- */

static void may_sleep(cxb_sqlite *db) {
  bool busy = db->outstanding > 0 || db->openers || db->closing;
  if (busy)
    uv_ref((uv_handle_t *)&db->wake);
  else
    uv_unref((uv_handle_t *)&db->wake);
}

static bool start_reader(cxb_sqlite *db) {
  if (uv_thread_create(&db->readers[db->reader_count], reader_main, db) != 0)
    return false;
  db->reader_count++;
  db->readers_free++;
  return true;
}

/* Reads go to the writer when there is no second connection. */
static bool has_readers(const cxb_sqlite *db) {
  return !db->options.readonly && !db->options.one_thread && strcmp(db->path, ":memory:") != 0;
}

static void hand_over(cxb_sqlite *db) {
  cxb_sql *list = take_all(&db->gathered);
  uv_check_stop(&db->gather);
  uv_idle_stop(&db->no_sleep);
  bool readers = has_readers(db);
  uv_mutex_lock(&db->lock);
  int reads = 0;
  for (cxb_sql *sql = list, *next; sql; sql = next) {
    next = sql->next;
    bool read = sql->read && readers;
    put(read ? &db->reads : &db->writes, sql);
    reads += read;
  }
  db->reads_waiting += reads;
  while (db->readers_free < db->reads_waiting && db->reader_count < READERS && start_reader(db))
    ;
  if (reads > 0 && db->reader_count == 0) { /* no thread to be had */
    db->reads_waiting = 0;
    for (cxb_sql *sql = take_all(&db->reads), *next; sql; sql = next) {
      next = sql->next;
      put(&db->writes, sql);
    }
  }
  /* No more threads are woken than there is work for. */
  if (db->writes.head)
    uv_cond_signal(&db->wrote);
  for (int i = 0; i < reads && i < db->readers_free; i++)
    uv_cond_signal(&db->read);
  uv_mutex_unlock(&db->lock);
}

static void on_turn_over(uv_check_t *check) {
  hand_over(check->data);
}

static void on_no_sleep(uv_idle_t *idle) {
  (void)idle;
}

int cxb_sqlite_run(cxb_sqlite *db, cxb_sql *sql, void (*done)(void *, cxb_sql *), void *arg) {
  if (db->closing || db->state != OPEN)
    return CXB_ECLOSED;
  if (sql->out_of_memory)
    return CXB_ENOMEM;
  if (sql->count == 0)
    return CXB_EINVAL;
  sql->done = done;
  sql->arg = arg;
  sql->read = cxb_sql_looks_reading(sql);
  if (!db->gathered.head) {
    db->gathered_at = cxb_mono_ms();
    uv_check_start(&db->gather, on_turn_over);
    uv_idle_start(&db->no_sleep, on_no_sleep);
  }
  put(&db->gathered, sql);
  db->outstanding++;
  may_sleep(db);
  if (cxb_mono_ms() - db->gathered_at >= GATHER_MS)
    hand_over(db);
  return 0;
}

static void on_next_turn(uv_prepare_t *prepare) {
  cxb_sqlite *db = prepare->data;
  db->looker.count = 0;
  uv_prepare_stop(prepare);
}

bool cxb_sqlite_look(cxb_sqlite *db, cxb_sql *sql) {
  if (db->closing || db->state != OPEN || !has_readers(db) || sql->out_of_memory ||
      sql->count != 1 || !cxb_sql_looks_reading(sql))
    return false;
  uv_prepare_start(&db->turn, on_next_turn);
  return cxb_sqlite_looker_read(&db->looker, db->path, &db->options, uv_now(db->wake.loop), sql);
}

static void tell_openers(cxb_sqlite *db) {
  while (db->openers) {
    opener *o = db->openers;
    db->openers = o->next;
    int err = db->closing ? CXB_ECLOSED : db->open_err;
    if (err)
      db->refs--;
    o->opened(o->arg, err ? NULL : db, err, db->closing ? "closed" : db->open_code,
              db->open_message);
    free(o);
  }
}

static void start_writer(cxb_sqlite *db) {
  db->state = OPENING;
  if (uv_thread_create(&db->writer, writer_main, db) == 0)
    return;
  db->open_err = CXB_ENOMEM;
  db->open_code = "memory";
  snprintf(db->open_message, sizeof db->open_message, "%s: no thread", db->path);
  db->threads_gone = db->writer_open = true;
  uv_async_send(&db->wake);
}

static void free_when_unused(cxb_sqlite *db) {
  if (!db->closed || db->refs > 0)
    return;
  uv_mutex_destroy(&db->lock);
  uv_cond_destroy(&db->wrote);
  uv_cond_destroy(&db->read);
  free(db->path);
  free(db);
}

static void on_handle_closed(uv_handle_t *handle) {
  cxb_sqlite *db = handle->data;
  if (--db->handles > 0)
    return;
  db->closed = true;
  for (cxb_sqlite **at = &all; *at; at = &(*at)->next)
    if (*at == db) {
      *at = db->next;
      break;
    }
  /* Somebody asked for the same file while it was being closed. */
  for (cxb_sqlite *other = all; other; other = other->next)
    if (other->state == WAITING && !other->closing && strcmp(other->path, db->path) == 0) {
      start_writer(other);
      break;
    }
  free_when_unused(db);
}

static void close_handles(cxb_sqlite *db) {
  db->threads_gone = true;
  uv_close((uv_handle_t *)&db->wake, on_handle_closed);
  uv_close((uv_handle_t *)&db->gather, on_handle_closed);
  uv_close((uv_handle_t *)&db->no_sleep, on_handle_closed);
  uv_close((uv_handle_t *)&db->turn, on_handle_closed);
}

static void begin_close(cxb_sqlite *db) {
  if (db->closing)
    return;
  db->closing = true;
  cxb_sqlite_looker_close(&db->looker);
  may_sleep(db);
  hand_over(db);
  uv_mutex_lock(&db->lock);
  db->stop = true;
  uv_cond_broadcast(&db->wrote);
  uv_mutex_unlock(&db->lock);
  uv_async_send(&db->wake);
}

static void on_wake(uv_async_t *async) {
  cxb_sqlite *db = async->data;
  uv_mutex_lock(&db->lock);
  cxb_sql *list = take_all(&db->done);
  bool opened = db->writer_open, gone = db->writer_done;
  uv_mutex_unlock(&db->lock);
  if (opened && db->state == OPENING)
    db->state = db->open_err ? FAILED : OPEN;
  /* A callback that drops the last reference begins the end; it is freed in a later turn. */
  if (db->state == OPEN || db->state == FAILED || (db->state == WAITING && db->closing))
    tell_openers(db);
  for (cxb_sql *next; list; list = next) {
    next = list->next;
    list->next = NULL;
    db->outstanding--;
    list->done(list->arg, list);
  }
  if (db->state == FAILED || (db->refs == 0 && !db->openers))
    begin_close(db);
  may_sleep(db);
  bool never_started = db->closing && (db->state == WAITING || (db->threads_gone && opened));
  if (!gone && !never_started)
    return;
  if (gone && !db->threads_gone)
    uv_thread_join(&db->writer);
  if (!uv_is_closing((uv_handle_t *)&db->wake))
    close_handles(db);
}

/* ---- open and close ---- */

static char *canonical(const char *path, bool make_folder) {
  if (strcmp(path, ":memory:") == 0)
    return strdup(path);
  char folder[PATH_MAX], real[PATH_MAX];
  const char *slash = strrchr(path, '/');
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
  if (slash == path)
    strcpy(folder, "/");
  if (make_folder)
    cxb_fs_mkdirs(folder, 0750); /* what is wrong with it shows when the file is opened */
  if (!realpath(folder, real))
    return strdup(path);
  char *out = NULL;
  const char *slash2 = strcmp(real, "/") == 0 ? "" : "/";
  return asprintf(&out, "%s%s%s", real, slash2, slash ? slash + 1 : path) < 0 ? NULL : out;
}

/* SQLite counts what it allocates, under one lock for all threads; nobody asks. Only before its
 * first use can that be said. */
static void configure(void) {
  static bool done;
  if (!done)
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  done = true;
}

static cxb_sqlite *new_db(uv_loop_t *loop, char *path, const cxb_sqlite_options *options) {
  configure();
  cxb_sqlite *db = calloc(1, sizeof *db);
  if (!db)
    return NULL;
  db->path = path;
  db->options = *options;
  db->lock_fd = -1;
  db->open_code = "ok";
  uv_mutex_init(&db->lock);
  uv_cond_init(&db->wrote);
  uv_cond_init(&db->read);
  uv_async_init(loop, &db->wake, on_wake);
  uv_check_init(loop, &db->gather);
  uv_idle_init(loop, &db->no_sleep);
  uv_prepare_init(loop, &db->turn);
  db->wake.data = db->gather.data = db->no_sleep.data = db->turn.data = db;
  db->handles = 4;
  return db;
}

int cxb_sqlite_open(uv_loop_t *loop, const char *path, const cxb_sqlite_options *options,
                    cxb_sqlite_opened opened, void *arg) {
  static const cxb_sqlite_options defaults;
  if (!options)
    options = &defaults;
  opener *o = malloc(sizeof *o);
  char *name = canonical(path, !options->readonly);
  if (!o || !name) {
    free(o);
    free(name);
    return CXB_ENOMEM;
  }
  bool closing = false, memory = strcmp(name, ":memory:") == 0;
  cxb_sqlite *db = NULL;
  for (cxb_sqlite *at = all; at && !memory; at = at->next)
    if (strcmp(at->path, name) == 0) {
      closing = closing || at->closing || at->state == FAILED;
      if (!at->closing && at->state != FAILED)
        db = at;
    }
  if (db && ((db->options.readonly && !options->readonly) || (options->lock && !db->options.lock) ||
             (db->options.sync_normal && !options->sync_normal && !options->readonly))) {
    free(o);
    free(name);
    return CXB_EINVAL;
  }
  bool fresh = !db;
  if (fresh && (db = new_db(loop, name, options))) {
    db->next = all;
    all = db;
  } else {
    free(name);
  }
  if (!db) {
    free(o);
    return CXB_ENOMEM;
  }
  *o = (opener){db->openers, opened, arg};
  db->openers = o;
  db->refs++;
  may_sleep(db);
  if (fresh && !closing)
    start_writer(db);
  else if (!fresh)
    uv_async_send(&db->wake);
  return 0;
}

void cxb_sqlite_close(cxb_sqlite *db) {
  if (--db->refs > 0)
    return;
  if (!db->closed)
    begin_close(db);
  free_when_unused(db);
}

void cxb_sqlite_close_all(void) {
  for (cxb_sqlite *db = all; db; db = db->next)
    begin_close(db);
}

uint64_t cxb_sqlite_commits(const cxb_sqlite *db) {
  return atomic_load(&db->commits);
}
