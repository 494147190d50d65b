/* sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET. */
#include "sdnotify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/err.h"

int cxb_sd_notify(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof addr.sun_path)
    return 0;
  memcpy(addr.sun_path, path, strlen(path));
  if (*path == '@')
    addr.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return CXB_EIO;
  socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
  ssize_t n =
      sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&addr, len);
  close(fd);
  return n < 0 ? CXB_EIO : 0;
}

unsigned long long cxb_sd_watchdog_us(void) {
  const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
  if (!us || (pid && atol(pid) != (long)getpid()))
    return 0;
  return strtoull(us, NULL, 10);
}
