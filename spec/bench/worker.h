/* For the benchmarks in C: a worker (core.lua) in a folder of its own, and the client's side of a
 * WebSocket to it. */
#pragma once
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void on_cpu(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/* Worker `id` (from 1) of `count`, its sockets and files below `dir`. In the child only: starts the
 * program; further variables may be set before. */
static inline void become_worker(const char *dir, int id, int count) {
  char address[200], number[12], workers[12];
  const char *program = getenv("CXB_BIN");
  snprintf(address, sizeof address, "unix:%s/core-%d.sock", dir, id);
  snprintf(number, sizeof number, "%d", id);
  snprintf(workers, sizeof workers, "%d", count);
  setenv("CXB_RUN_DIR", dir, 1);
  setenv("CXB_STATE_DIR", dir, 1);
  setenv("CXB_LISTEN", address, 1);
  setenv("CXB_WORKER_ID", number, 1);
  setenv("CXBCORE_WORKERS", workers, 1);
  setenv("CXB_DEV", "1", 1);
  setenv("CXB_LOG_LEVEL", "warn", 0);
  execl(program ? program : "build/cxbrt", "cxbrt", "core.lua", (char *)NULL);
  _exit(127);
}

/* A connection to worker `id`, once it listens; -1 when it ended or does not for a minute. */
static inline int connect_to_worker(const char *dir, int id, pid_t pid) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s/core-%d.sock", dir, id);
  for (int tries = 0; tries < 6000; tries++) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
      return fd;
    close(fd);
    if (waitpid(pid, NULL, WNOHANG) != 0)
      return -1; /* its reason is on stderr */
    usleep(10000);
  }
  return -1;
}

/* Upgrades `path`; false when it was refused. */
static inline bool upgrade(int fd, const char *path) {
  char text[8192];
  size_t have = 0;
  int n = snprintf(text, sizeof text,
                   "GET %s HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                   path);
  if (write(fd, text, (size_t)n) != n)
    return false;
  while (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4) != 0) {
    if (have == sizeof text || read(fd, text + have, 1) != 1)
      return false;
    have++;
  }
  return memcmp(text, "HTTP/1.1 101", 12) == 0;
}

/* One masked text message. */
static inline bool put_text(int fd, const char *text, size_t len) {
  static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
  uint8_t frame[2048];
  size_t n = 2;
  frame[0] = 0x81;
  frame[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
  if (len >= 126) {
    frame[2] = (uint8_t)(len >> 8);
    frame[3] = (uint8_t)len;
    n = 4;
  }
  memcpy(frame + n, mask, 4);
  n += 4;
  for (size_t i = 0; i < len; i++)
    frame[n + i] = (uint8_t)text[i] ^ mask[i & 3];
  return write(fd, frame, n + len) == (ssize_t)(n + len);
}

/* The beginning of a call in Twilio's framing. */
static inline bool put_start(int fd, int number) {
  char text[600];
  int n = snprintf(
      text, sizeof text,
      "{\"event\":\"start\",\"streamSid\":\"MZ%032d\",\"start\":{\"streamSid\":\"MZ%032d\","
      "\"callSid\":\"CA%032d\","
      "\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"channels\":1},"
      "\"customParameters\":{\"from\":\"+15550100\",\"to\":\"+15550101\"}}}",
      number, number, number);
  return put_text(fd, "{\"event\":\"connected\"}", 21) && put_text(fd, text, (size_t)n);
}

/* A frame of 160 µ-law samples, base64 in `payload`; `sent` counts from 1. */
static inline bool put_media(int fd, int number, unsigned long sent, const char *payload) {
  char text[600];
  int n = snprintf(
      text, sizeof text,
      "{\"event\":\"media\",\"sequenceNumber\":\"%lu\",\"media\":{\"track\":\"inbound\","
      "\"chunk\":\"%lu\",\"timestamp\":\"%lu\",\"payload\":\"%s\"},\"streamSid\":\"MZ%032d\"}",
      sent + 1, sent, sent * 20, payload, number);
  return put_text(fd, text, (size_t)n);
}

static inline void remove_folder(const char *dir) {
  char command[300];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (system(command) != 0)
    fprintf(stderr, "%s stays\n", dir);
}
