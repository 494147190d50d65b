/* Reading journals, and finding those whose writer is gone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/err.h"
#include "../host/fs.h"
#include "crc32c.h"
#include "journal.h"
#include "journal_internal.h"

enum { VERSION = 1, MAX_FILE = 256 << 20, UNFINISHED_SECONDS = 60 };
static const char magic[8] = "CXBJRNL1";

static void put_u32(char *out, uint32_t v) {
  for (int i = 0; i < 4; i++)
    out[i] = (char)(v >> (8 * i) & 0xff);
}

static uint32_t get_u32(const char *p) {
  uint32_t v = 0;
  for (int i = 0; i < 4; i++)
    v |= (uint32_t)(unsigned char)p[i] << (8 * i);
  return v;
}

void cxb_journal_header(char out[CXB_JOURNAL_HEADER]) {
  memcpy(out, magic, sizeof magic);
  put_u32(out + 8, VERSION);
  put_u32(out + 12, cxb_crc32c(0, out, 12));
}

void cxb_journal_head(char out[8], const void *data, size_t len) {
  put_u32(out, (uint32_t)len);
  put_u32(out + 4, cxb_crc32c(cxb_crc32c(0, out, 4), data, len));
}

int cxb_journal_read(const char *path, void (*record)(void *, const char *, size_t), void *arg,
                     int64_t *torn_at) {
  cxb_buf file = {0};
  int err = cxb_fs_read(path, MAX_FILE, &file);
  size_t at = CXB_JOURNAL_HEADER;
  if (!err && file.len < at) {
    at = 0; /* it died while it was being made */
  } else if (!err) {
    char header[CXB_JOURNAL_HEADER];
    cxb_journal_header(header);
    if (memcmp(file.data, header, sizeof header) != 0)
      err = CXB_ECORRUPT;
  }
  while (!err && at > 0 && file.len - at >= 8) {
    const char *p = file.data + at;
    uint32_t len = get_u32(p);
    if (len == 0 || len > CXB_JOURNAL_MAX_RECORD || file.len - at - 8 < len)
      break;
    char head[8];
    cxb_journal_head(head, p + 8, len);
    if (memcmp(head, p, 8) != 0)
      break;
    record(arg, p + 8, len);
    at += 8 + len;
  }
  if (!err && torn_at)
    *torn_at = at < file.len ? (int64_t)at : -1;
  cxb_buf_free(&file);
  return err;
}

/* ---- orphans ---- */

typedef struct claim {
  struct claim *next;
  int fd;
  char path[];
} claim;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static claim *claims;

/* Lets go of what has been recovered and deleted. */
static void drop_finished(void) {
  for (claim **at = &claims; *at;) {
    claim *c = *at;
    struct stat st;
    if (fstat(c->fd, &st) == 0 && st.st_nlink > 0) {
      at = &c->next;
      continue;
    }
    *at = c->next;
    close(c->fd);
    free(c);
  }
}

static bool is_claimed(const char *path) {
  for (claim *c = claims; c; c = c->next)
    if (strcmp(c->path, path) == 0)
      return true;
  return false;
}

/* The lock of a file whose owner is gone, or -1. */
static int lock_orphan(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  struct stat st;
  if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &st) != 0 || st.st_nlink == 0 ||
                  !S_ISREG(st.st_mode))) {
    close(fd);
    fd = -1;
  }
  return fd;
}

static bool ends_with(const char *name, const char *suffix) {
  size_t n = strlen(name), k = strlen(suffix);
  return n > k && strcmp(name + n - k, suffix) == 0;
}

static int look_at(const char *folder, const char *name, cxb_buf *out) {
  bool unfinished = ends_with(name, CXB_JOURNAL_NEW);
  if (!unfinished && !ends_with(name, CXB_JOURNAL_SUFFIX))
    return 0;
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
    return 0;
  if (!is_claimed(path)) {
    int fd = lock_orphan(path);
    if (fd < 0)
      return 0;
    if (unfinished) { /* never had its name: no call was accepted by it */
      struct stat st;
      if (fstat(fd, &st) == 0 && st.st_mtime < time(NULL) - UNFINISHED_SECONDS)
        unlink(path);
      close(fd);
      return 0;
    }
    claim *c = malloc(sizeof *c + strlen(path) + 1);
    if (!c) {
      close(fd);
      return CXB_ENOMEM;
    }
    c->fd = fd;
    strcpy(c->path, path);
    c->next = claims;
    claims = c;
  }
  return cxb_buf_add(out, path, strlen(path) + 1);
}

int cxb_journal_orphans(const char *folder, cxb_buf *out) {
  DIR *dir = opendir(folder);
  if (!dir)
    return errno == ENOENT ? 0 : CXB_EIO;
  pthread_mutex_lock(&lock);
  drop_finished();
  int err = 0;
  for (struct dirent *e; !err && (e = readdir(dir));)
    err = look_at(folder, e->d_name, out);
  pthread_mutex_unlock(&lock);
  closedir(dir);
  return err;
}
