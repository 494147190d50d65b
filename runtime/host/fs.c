/* Files. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"

int cxb_fs_read(const char *path, size_t max, cxb_buf *out) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cxb_err_from_errno(errno);
  int err = 0;
  for (;;) {
    char piece[16384];
    ssize_t n = read(fd, piece, sizeof piece);
    if (n == 0)
      break;
    if (n < 0)
      err = cxb_err_from_errno(errno);
    else if (out->len + (size_t)n > max)
      err = CXB_ETOOBIG;
    else
      err = cxb_buf_add(out, piece, (size_t)n);
    if (err)
      break;
  }
  close(fd);
  return err;
}

int cxb_fs_mkdirs(const char *path, mode_t mode) {
  char part[PATH_MAX];
  if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
    return CXB_EINVAL;
  for (char *p = part + 1;; p++) {
    if (*p != '/' && *p != '\0')
      continue;
    char keep = *p;
    *p = '\0';
    if (mkdir(part, mode) != 0 && errno != EEXIST)
      return cxb_err_from_errno(errno);
    if (keep == '\0')
      return 0;
    *p = keep;
  }
}

static int sync_parent(const char *path) {
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (!slash)
    return 0;
  *(slash == dir ? slash + 1 : slash) = '\0';
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return cxb_err_from_errno(errno);
  int rc = fsync(fd);
  close(fd);
  return rc == 0 ? 0 : cxb_err_from_errno(errno);
}

static int make_parent(const char *path) {
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (!slash || slash == dir)
    return 0;
  *slash = '\0';
  return cxb_fs_mkdirs(dir, 0750);
}

static int write_all(int fd, const char *p, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, p, len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return cxb_err_from_errno(errno);
    p += n;
    len -= (size_t)n;
  }
  return fsync(fd) == 0 ? 0 : cxb_err_from_errno(errno);
}

static int put(const char *path, const void *data, size_t len, mode_t mode, bool exclusive) {
  char tmp[PATH_MAX];
  if (snprintf(tmp, sizeof tmp, "%s.XXXXXX", path) >= (int)sizeof tmp)
    return CXB_EINVAL;
  int err = make_parent(path);
  if (err)
    return err;
  int fd = mkostemp(tmp, O_CLOEXEC);
  if (fd < 0)
    return cxb_err_from_errno(errno);
  err = write_all(fd, data, len);
  if (!err && fchmod(fd, mode) != 0)
    err = cxb_err_from_errno(errno);
  if (close(fd) != 0 && !err)
    err = cxb_err_from_errno(errno);
  if (!err && (exclusive ? link(tmp, path) : rename(tmp, path)) != 0)
    err = cxb_err_from_errno(errno);
  if (err || exclusive)
    unlink(tmp);
  return err ? err : sync_parent(path);
}

int cxb_fs_write(const char *path, const void *data, size_t len, mode_t mode) {
  return put(path, data, len, mode, false);
}

int cxb_fs_create(const char *path, const void *data, size_t len, mode_t mode) {
  return put(path, data, len, mode, true);
}
