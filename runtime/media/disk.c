/* The thread of a disk, and its two eventfds. Each side drops the memory when it is through. */
#include "disk.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/err.h"

enum { STACK = 256 * 1024 };

struct cxb_disk {
  uv_poll_t poll; /* of `answer` */
  int order, answer;
  bool ending;
  atomic_int users;
  void (*work)(void *arg);
  void (*done)(void *arg);
  void (*closed)(void *arg);
  void *arg;
};

static void ring(int fd) {
  const uint64_t one = 1;
  while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static void heed(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

static void drop(cxb_disk *d) {
  if (atomic_fetch_sub(&d->users, 1) > 1)
    return;
  close(d->order);
  close(d->answer);
  free(d);
}

static void *serve(void *arg) {
  cxb_disk *d = arg;
  pthread_setname_np(pthread_self(), "cxb-disk");
  for (heed(d->order); !d->ending; heed(d->order)) {
    d->work(d->arg);
    ring(d->answer);
  }
  drop(d);
  return NULL;
}

/* Signals belong to the main thread. */
static int start(cxb_disk *d) {
  sigset_t all, before;
  pthread_attr_t attr;
  pthread_t thread;
  if (pthread_attr_init(&attr) != 0)
    return CXB_ENOMEM;
  pthread_attr_setstacksize(&attr, STACK);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int err = pthread_create(&thread, &attr, serve, d);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return err ? CXB_ENOMEM : 0;
}

static void on_answer(uv_poll_t *poll, int status, int events) {
  cxb_disk *d = poll->data;
  (void)status;
  (void)events;
  heed(d->answer);
  d->done(d->arg);
}

int cxb_disk_new(uv_loop_t *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg,
                 cxb_disk **out) {
  cxb_disk *d = calloc(1, sizeof *d);
  if (!d)
    return CXB_ENOMEM;
  *d = (cxb_disk){.work = work, .done = done, .arg = arg, .users = 2};
  d->order = eventfd(0, EFD_CLOEXEC);
  d->answer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (d->order < 0 || d->answer < 0 || start(d) != 0)
    goto fail;
  if (uv_poll_init(loop, &d->poll, d->answer) != 0) { /* the thread is there already */
    d->ending = true;
    ring(d->order);
    drop(d);
    return CXB_ENOMEM;
  }
  d->poll.data = d;
  uv_poll_start(&d->poll, UV_READABLE, on_answer);
  *out = d;
  return 0;
fail:
  if (d->order >= 0)
    close(d->order);
  if (d->answer >= 0)
    close(d->answer);
  free(d);
  return CXB_ENOMEM;
}

void cxb_disk_run(cxb_disk *d) {
  ring(d->order);
}

static void on_closed(uv_handle_t *handle) {
  cxb_disk *d = handle->data;
  d->closed(d->arg);
  drop(d);
}

void cxb_disk_close(cxb_disk *d, void (*closed)(void *arg)) {
  d->closed = closed;
  d->ending = true;
  ring(d->order);
  uv_close((uv_handle_t *)&d->poll, on_closed);
}
