/* Socket files. */
#pragma once
#include <sys/types.h>
#include <uv.h>

/* The file of a listening socket, known by its inode: its path may come to name another's. */
typedef struct cxb_unix_file {
  char path[108];
  dev_t dev;
  ino_t ino;
} cxb_unix_file;

/* Binds the initialised `pipe` to a new file of this mode. A file nobody listens on any more is
 * replaced; a living one is left: UV_EADDRINUSE. 0 or a negative errno; `pipe` is to be closed
 * either way. */
int cxb_unix_bind(uv_pipe_t *pipe, const char *path, int mode, cxb_unix_file *out);

/* Removes the file unless the path is another's by now. Comes before the socket is closed: as long
 * as it listens, nobody replaces its file. */
void cxb_unix_remove(const cxb_unix_file *file);
