/* The journal's writer (format and contract in journal.h). */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "../host/fs.h"
#include "journal_internal.h"

typedef struct waiter {
  struct waiter *next;
  uint64_t upto; /* bytes appended when it began to wait */
  cxb_journal_done done;
  void *arg;
} waiter;

struct cxb_journal {
  uv_loop_t *loop;
  uv_work_t work;
  char *path;
  int fd;
  bool busy, retry, closing, remove, unlinking;
  uint64_t appended, safe; /* bytes: taken, and on the disk; the file's good end is header + safe */
  cxb_buf waiting;         /* what is not on the disk yet, from `safe` on */
  size_t writing;          /* bytes of it the running job has */
  char *copy;              /* these bytes, the job's own */
  int err;                 /* of the last job */
  uv_work_t early_work;
  bool early;       /* a write ahead of the running job's sync is under way */
  char *early_copy; /* its bytes */
  size_t early_len;
  uint64_t early_from; /* bytes before them; what was written early ends at from + len */
  uint64_t errors;
  waiter *waiters;
  cxb_journal_done closed;
  void *closed_arg;
};

/* ---- creation ---- */

typedef struct creation {
  uv_work_t work;
  cxb_journal *j;
  int err;
  char message[PATH_MAX + 128];
  void (*done)(void *arg, cxb_journal *j, int err, const char *message);
  void *arg;
} creation;

static void journal_free(cxb_journal *j) {
  if (j->fd >= 0)
    close(j->fd);
  cxb_buf_free(&j->waiting);
  free(j->copy);
  free(j->path);
  free(j);
}

static int write_at(int fd, const char *data, size_t len, off_t at) {
  while (len > 0) {
    ssize_t n = pwrite(fd, data, len, at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return cxb_err_from_errno(errno);
    data += n;
    len -= (size_t)n;
    at += n;
  }
  return 0;
}

static int sync_folder(const char *path) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s", path);
  char *slash = strrchr(folder, '/');
  if (slash)
    slash[slash == folder] = '\0';
  int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return cxb_err_from_errno(errno);
  int err = fsync(fd) == 0 ? 0 : cxb_err_from_errno(errno);
  close(fd);
  return err;
}

static int make_folder(const char *path) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s", path);
  char *slash = strrchr(folder, '/');
  if (!slash || slash == folder)
    return 0;
  *slash = '\0';
  return cxb_fs_mkdirs(folder, 0750);
}

/* The file gets its name once it is locked and has its header: nobody ever sees it otherwise. */
static int make_file(const char *path, char *temporary, int *out) {
  char header[CXB_JOURNAL_HEADER];
  cxb_journal_header(header);
  int err = make_folder(path);
  int fd = err ? -1 : mkostemps(temporary, (int)strlen(CXB_JOURNAL_NEW), O_CLOEXEC);
  if (fd < 0)
    return err ? err : cxb_err_from_errno(errno);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fchmod(fd, 0640) != 0)
    err = cxb_err_from_errno(errno);
  if (!err)
    err = write_at(fd, header, sizeof header, 0);
  if (!err && (fdatasync(fd) != 0 || link(temporary, path) != 0))
    err = cxb_err_from_errno(errno);
  cxb_fault("journal.create");
  unlink(temporary);
  if (!err)
    err = sync_folder(path);
  cxb_fault("journal.created");
  if (err)
    close(fd);
  else
    *out = fd;
  return err;
}

static void create_work(uv_work_t *work) {
  creation *c = work->data;
  char temporary[PATH_MAX];
  int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX" CXB_JOURNAL_NEW, c->j->path);
  c->err = n < (int)sizeof temporary ? make_file(c->j->path, temporary, &c->j->fd) : CXB_EINVAL;
  if (c->err)
    snprintf(c->message, sizeof c->message, "%s: %s", c->j->path, cxb_strerror(c->err));
}

static void create_done(uv_work_t *work, int status) {
  (void)status;
  creation *c = work->data;
  if (c->err)
    journal_free(c->j);
  c->done(c->arg, c->err ? NULL : c->j, c->err, c->message);
  free(c);
}

int cxb_journal_create(uv_loop_t *loop, const char *path,
                       void (*done)(void *, cxb_journal *, int, const char *), void *arg) {
  creation *c = calloc(1, sizeof *c);
  cxb_journal *j = calloc(1, sizeof *j);
  if (!c || !j || !(j->path = strdup(path))) {
    free(c);
    free(j);
    return CXB_ENOMEM;
  }
  j->loop = loop;
  j->fd = -1;
  *c = (creation){.j = j, .done = done, .arg = arg};
  c->work.data = c;
  uv_queue_work(loop, &c->work, create_work, create_done);
  return 0;
}

/* ---- writing ---- */

/* Bytes count as safe after fdatasync only: when it fails the kernel may have dropped them, so they
 * are kept and written again to the same place. */
static void write_work(uv_work_t *work) {
  cxb_journal *j = work->data;
  j->err = 0;
  if (j->unlinking) {
    if (unlink(j->path) != 0 && errno != ENOENT)
      j->err = cxb_err_from_errno(errno);
    cxb_fault("journal.removed");
    return;
  }
  j->err = write_at(j->fd, j->copy, j->writing, (off_t)(CXB_JOURNAL_HEADER + j->safe));
  cxb_fault("journal.write");
  if (!j->err && fdatasync(j->fd) != 0)
    j->err = cxb_err_from_errno(errno);
  cxb_fault("journal.synced");
}

/* Tells those whose bytes are safe; on failure everyone: what they wait for may never come. */
static void tell_waiters(cxb_journal *j, bool all) {
  waiter *list = j->waiters, **at = &list;
  j->waiters = NULL;
  waiter *told = NULL, **last = &told;
  while (*at) {
    waiter *w = *at;
    if (!all && w->upto > j->safe) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    *last = w;
    w->next = NULL;
    last = &w->next;
  }
  j->waiters = list;
  int err = j->err;
  for (waiter *next; told; told = next) {
    next = told->next;
    told->done(told->arg, err);
    free(told);
  }
}

static void finish_close(cxb_journal *j) {
  cxb_journal_done done = j->closed;
  void *arg = j->closed_arg;
  int err = j->err;
  tell_waiters(j, true);
  journal_free(j);
  if (done)
    done(arg, err);
}

/* ---- ahead of a slow sync ---- */

/* While a job waits for the disk, what is appended is given to the kernel at the place where the
 * next job will write it again and sync it: a killed process has it then, however slow the disk.
 * Whether it worked does not matter. */
static void write_early(cxb_journal *j);

static void early_job(uv_work_t *work) {
  cxb_journal *j = work->data;
  write_at(j->fd, j->early_copy, j->early_len, (off_t)(CXB_JOURNAL_HEADER + j->early_from));
}

static void early_done(uv_work_t *work, int status) {
  (void)status;
  cxb_journal *j = work->data;
  free(j->early_copy);
  j->early_copy = NULL;
  j->early = false;
  if (j->closing && !j->busy)
    finish_close(j);
  else
    write_early(j);
}

static void write_early(cxb_journal *j) {
  uint64_t from = j->safe + j->writing, done = j->early_from + j->early_len;
  if (from < done)
    from = done;
  if (j->early || !j->busy || j->closing || from >= j->appended)
    return;
  j->early_copy = malloc((size_t)(j->appended - from));
  if (!j->early_copy)
    return;
  j->early_from = from;
  j->early_len = (size_t)(j->appended - from);
  memcpy(j->early_copy, j->waiting.data + (from - j->safe), j->early_len);
  j->early = true;
  j->early_work.data = j;
  uv_queue_work(j->loop, &j->early_work, early_job, early_done);
}

static void start(cxb_journal *j);

static void write_done(uv_work_t *work, int status) {
  (void)status;
  cxb_journal *j = work->data;
  free(j->copy);
  j->copy = NULL;
  if (j->err) {
    j->errors++;
  } else {
    j->safe += j->writing;
    cxb_buf_consume(&j->waiting, j->writing);
  }
  tell_waiters(j, j->err != 0); /* `busy` still: what a callback appends is for the next job */
  j->busy = false;
  bool more = j->waiting.len > 0 && (!j->err || (j->retry && !j->closing));
  if (j->closing && j->remove)
    more = !j->unlinking;
  if (more)
    start(j);
  if (!j->busy && j->closing && !j->early)
    finish_close(j);
}

/* Begins a job unless one runs. Not `busy` afterwards: there was no memory. */
static void start(cxb_journal *j) {
  if (j->busy)
    return;
  j->retry = false;
  j->unlinking = j->closing && j->remove;
  j->writing = j->unlinking ? 0 : j->waiting.len;
  j->copy = malloc(j->writing + 1);
  if (!j->copy) {
    j->err = CXB_ENOMEM;
    j->errors++;
    return;
  }
  if (j->writing)
    memcpy(j->copy, j->waiting.data, j->writing);
  j->busy = true;
  j->work.data = j;
  uv_queue_work(j->loop, &j->work, write_work, write_done);
}

int cxb_journal_append(cxb_journal *j, const void *data, size_t len) {
  int err = 0;
  char head[8];
  if (len == 0 || len > CXB_JOURNAL_MAX_RECORD)
    err = CXB_ETOOBIG;
  else if (j->waiting.len + len + sizeof head > CXB_JOURNAL_MAX_WAITING)
    err = CXB_ENOSPC;
  else
    err = cxb_buf_reserve(&j->waiting, sizeof head + len);
  if (err) {
    j->errors++;
    return err;
  }
  cxb_journal_head(head, data, len);
  cxb_buf_add(&j->waiting, head, sizeof head);
  cxb_buf_add(&j->waiting, data, len);
  j->appended += sizeof head + len;
  j->retry = true;
  start(j);
  write_early(j);
  return 0;
}

int cxb_journal_sync(cxb_journal *j, cxb_journal_done done, void *arg) {
  waiter *w = malloc(sizeof *w);
  if (!w)
    return CXB_ENOMEM;
  j->retry = true;
  /* With nothing to write it goes through the pool too: `done` is never called from in here. */
  start(j);
  if (!j->busy) {
    free(w);
    return CXB_ENOMEM;
  }
  waiter **at = &j->waiters;
  while (*at)
    at = &(*at)->next;
  *w = (waiter){NULL, j->appended, done, arg};
  *at = w;
  return 0;
}

void cxb_journal_close(cxb_journal *j, bool remove, cxb_journal_done done, void *arg) {
  j->closing = true;
  j->remove = remove;
  j->closed = done;
  j->closed_arg = arg;
  start(j);
  if (!j->busy && !j->early)
    finish_close(j);
}

const char *cxb_journal_path(const cxb_journal *j) {
  return j->path;
}

uint64_t cxb_journal_errors(const cxb_journal *j) {
  return j->errors;
}
