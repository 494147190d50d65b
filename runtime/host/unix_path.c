/* Socket files. libuv would remove whatever the path names when the handle is closed; so the
 * socket is bound here and only opened there. */
#include "unix_path.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int new_socket(void) {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Removes a socket file nobody listens on any more. */
static void clear(const struct sockaddr_un *addr) {
  struct stat st;
  if (lstat(addr->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
    return;
  int fd = new_socket();
  if (fd < 0)
    return;
  if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 && errno == ECONNREFUSED)
    unlink(addr->sun_path);
  close(fd);
}

int cxb_unix_bind(uv_pipe_t *pipe, const char *path, int mode, cxb_unix_file *out) {
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  struct stat st;
  if (strlen(path) >= sizeof addr.sun_path)
    return UV_ENAMETOOLONG;
  memcpy(addr.sun_path, path, strlen(path));
  clear(&addr);
  int fd = new_socket();
  if (fd < 0)
    return -errno;
  if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
    int err = -errno;
    close(fd);
    return err;
  }
  int err = chmod(path, (mode_t)mode) == 0 && lstat(path, &st) == 0 ? 0 : -errno;
  if (!err)
    err = uv_pipe_open(pipe, fd);
  if (err) {
    unlink(path);
    close(fd);
    return err;
  }
  *out = (cxb_unix_file){.dev = st.st_dev, .ino = st.st_ino};
  memcpy(out->path, path, strlen(path));
  return 0;
}

void cxb_unix_remove(const cxb_unix_file *file) {
  struct stat st;
  if (lstat(file->path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
    unlink(file->path);
}
