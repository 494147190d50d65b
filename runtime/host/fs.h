/* Files, blocking; for jobs and for C rooms on their own threads. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

#include "../base/buf.h"

/* Each returns 0 or CXB_E*. */
int cxb_fs_read(const char *path, size_t max, cxb_buf *out);
/* Temporary file beside it, fsync, rename, fsync of the directory; parents are made. */
int cxb_fs_write(const char *path, const void *data, size_t len, mode_t mode);
/* The same, but an existing file is left alone: CXB_EEXIST. */
int cxb_fs_create(const char *path, const void *data, size_t len, mode_t mode);
int cxb_fs_mkdirs(const char *path, mode_t mode);
