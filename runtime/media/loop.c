/* The media loop: a uv loop on a thread of its own, and the two mailboxes between it and the main
 * loop. A mailbox wakes its loop once for all that is in it. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/err.h"
#include "lock.h"
#include "session_impl.h"

typedef struct letter {
  struct letter *next;
  void (*fn)(void *arg);
  void *arg;
} letter;

typedef struct mailbox {
  uv_mutex_t lock;
  letter *head, **tail;
  bool busy; /* its loop has been woken and has not emptied it yet */
} mailbox;

/* Wakes a loop from another thread. uv_async_t does the same, but its receiver spins until the
 * sender has returned from its write: a quarter of this thread's time when it preempts the sender.
 */
typedef struct bell {
  uv_poll_t poll; /* first: handle and bell are one address */
  int fd;
} bell;

struct cxb_media {
  uv_loop_t loop;
  uv_thread_t thread;
  bell wake;      /* on the media loop */
  bell main_wake; /* on the main loop */
  mailbox to_media, to_main;
  unsigned users; /* main loop only */
};

/* ---- mailboxes ---- */
static int mailbox_init(mailbox *box) {
  box->tail = &box->head;
  return cxb_lock_init(&box->lock) == 0 ? 0 : CXB_ENOMEM;
}

/* A void contract in a process whose memory is bounded elsewhere: without 24 bytes for a letter
 * nothing sensible can follow. */
static bool mailbox_put(mailbox *box, void (*fn)(void *arg), void *arg) {
  letter *l = malloc(sizeof *l);
  if (!l)
    abort();
  *l = (letter){.fn = fn, .arg = arg};
  uv_mutex_lock(&box->lock);
  *box->tail = l;
  box->tail = &l->next;
  bool wake = !box->busy;
  box->busy = true;
  uv_mutex_unlock(&box->lock);
  return wake;
}

static letter *mailbox_take(mailbox *box) {
  uv_mutex_lock(&box->lock);
  letter *l = box->head;
  if (l) {
    box->head = l->next;
    if (!box->head)
      box->tail = &box->head;
  } else {
    box->busy = false;
  }
  uv_mutex_unlock(&box->lock);
  return l;
}

/* One at a time, so that a function may end up here again (cxb_media_close() from a callback). */
static void mailbox_empty(mailbox *box) {
  for (letter *l; (l = mailbox_take(box));) {
    void (*fn)(void *arg) = l->fn;
    void *arg = l->arg;
    free(l);
    fn(arg);
  }
}

static int bell_init(uv_loop_t *loop, bell *b, uv_poll_cb ring) {
  b->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (b->fd < 0)
    return CXB_EIO;
  if (uv_poll_init(loop, &b->poll, b->fd) != 0) {
    close(b->fd);
    return CXB_EIO;
  }
  uv_poll_start(&b->poll, UV_READABLE, ring);
  return 0;
}

static void bell_ring(const bell *b) {
  const uint64_t one = 1;
  while (write(b->fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static void bell_quiet(const bell *b) {
  uint64_t count;
  while (read(b->fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

/* The descriptor may go at once, the handle when the loop says so. */
static void bell_close(bell *b, uv_close_cb closed) {
  uv_poll_stop(&b->poll);
  close(b->fd);
  uv_close((uv_handle_t *)&b->poll, closed);
}

static void on_wake(uv_poll_t *poll, int status, int events) {
  cxb_media *media = poll->data;
  (void)status;
  (void)events;
  bell_quiet(&media->wake);
  mailbox_empty(&media->to_media);
}

static void on_main_wake(uv_poll_t *poll, int status, int events) {
  cxb_media *media = poll->data;
  (void)status;
  (void)events;
  bell_quiet(&media->main_wake);
  mailbox_empty(&media->to_main);
}

void cxb_media_post(cxb_media *media, void (*fn)(void *arg), void *arg) {
  if (mailbox_put(&media->to_media, fn, arg))
    bell_ring(&media->wake);
}

void cxb_media_post_main(cxb_media *media, void (*fn)(void *arg), void *arg) {
  if (mailbox_put(&media->to_main, fn, arg))
    bell_ring(&media->main_wake);
}

uv_loop_t *cxb_media_loop(cxb_media *media) {
  return &media->loop;
}

/* The main loop stays alive while a session does, not because a media loop exists. */
void cxb_media_hold(cxb_media *media) {
  if (media->users++ == 0)
    uv_ref((uv_handle_t *)&media->main_wake.poll);
}

void cxb_media_unhold(cxb_media *media) {
  if (--media->users == 0)
    uv_unref((uv_handle_t *)&media->main_wake.poll);
}

/* ---- the thread ---- */
enum { NICE = -10, SLICE_NS = 200000, RESET_ON_FORK = 1, SPIN_S = 2 };

/* What sched_setattr(2) takes; glibc 2.36 has no name for it. */
typedef struct sched_wish {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
} sched_wish;

static bool wish(sched_wish w) {
  w.size = sizeof w;
  w.flags = RESET_ON_FORK; /* threads of the pool that libuv makes from here are none of it */
  return syscall(SYS_sched_setattr, 0, &w, 0) == 0;
}

/* Frames before everything else, as far as the system lets us: in real time (CAP_SYS_NICE or
 * LimitRTPRIO=1), else favoured, else only in short slices, which since Linux 6.12 are let in
 * sooner. A media loop that spins in real time is ended by the kernel, as the heartbeat would. */
static void come_first(void) {
  if (wish((sched_wish){.policy = SCHED_RR, .priority = 1})) {
    const struct rlimit spin = {SPIN_S * 1000000, SPIN_S * 1000000};
    (void)setrlimit(RLIMIT_RTTIME, &spin);
  } else if (!wish((sched_wish){.nice = NICE, .runtime = SLICE_NS})) {
    (void)wish((sched_wish){.runtime = SLICE_NS});
  }
}

static void media_thread(void *arg) {
  cxb_media *media = arg;
  pthread_setname_np(pthread_self(), "cxb-media");
  come_first();
  uv_run(&media->loop, UV_RUN_DEFAULT);
  /* Close callbacks of handles that were let go at the last moment. */
  for (int i = 0; i < 100 && uv_run(&media->loop, UV_RUN_NOWAIT) != 0; i++) {
  }
}

/* Signals belong to the main thread. */
static int start_thread(cxb_media *media) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int err = uv_thread_create(&media->thread, media_thread, media);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return err ? CXB_ENOMEM : 0;
}

int cxb_media_new(uv_loop_t *main_loop, cxb_media **out) {
  cxb_media *media = calloc(1, sizeof *media);
  if (!media)
    return CXB_ENOMEM;
  int err = CXB_ENOMEM;
  if (mailbox_init(&media->to_media) != 0)
    goto fail_first;
  if (mailbox_init(&media->to_main) != 0)
    goto fail_second;
  if (uv_loop_init(&media->loop) != 0)
    goto fail_loop;
  if (bell_init(&media->loop, &media->wake, on_wake) != 0)
    goto fail_wake;
  if (bell_init(main_loop, &media->main_wake, on_main_wake) != 0)
    goto fail_main;
  media->wake.poll.data = media->main_wake.poll.data = media;
  err = start_thread(media);
  if (err) { /* main_wake is known to the caller's loop by now: the memory stays */
    bell_close(&media->main_wake, NULL);
    return err;
  }
  uv_unref((uv_handle_t *)&media->main_wake.poll);
  *out = media;
  return 0;
fail_main:
  bell_close(&media->wake, NULL);
  uv_run(&media->loop, UV_RUN_DEFAULT);
fail_wake:
  uv_loop_close(&media->loop);
fail_loop:
  uv_mutex_destroy(&media->to_main.lock);
fail_second:
  uv_mutex_destroy(&media->to_media.lock);
fail_first:
  free(media);
  return err;
}

static void stop_loop(void *arg) {
  cxb_media *media = arg;
  bell_close(&media->wake, NULL);
  uv_stop(&media->loop);
}

static void on_main_closed(uv_handle_t *handle) {
  cxb_media *media = handle->data;
  uv_mutex_destroy(&media->to_media.lock);
  uv_mutex_destroy(&media->to_main.lock);
  free(media);
}

void cxb_media_close(cxb_media *media) {
  cxb_media_post(media, stop_loop, media);
  uv_thread_join(&media->thread);
  uv_loop_close(&media->loop);
  mailbox_empty(&media->to_main);
  bell_close(&media->main_wake, on_main_closed);
}
