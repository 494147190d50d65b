/* The pacer's clock is a timerfd: an absolute time, no drift from the loop's millisecond timers. */
#include "pacer.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "../base/err.h"

enum { FRAME_US = 20000 };

static int64_t now_us(void) {
  return (int64_t)(uv_hrtime() / 1000);
}

static void set_timer(cxb_pacer *p, int64_t at_us) {
  struct itimerspec t = {
      .it_value = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000},
  };
  timerfd_settime(p->fd, TFD_TIMER_ABSTIME, &t, NULL);
  p->armed = at_us != 0;
}

/* Sends what may leave. `waited`: the timer was set for the frame, so it had its chance in time,
 * and only what is due goes, or frames would go in pairs. */
static void run(cxb_pacer *p, bool waited) {
  p->running = true;
  while (!p->stopped && p->ops->ready(p->arg)) {
    int64_t now = now_us(), due = p->play_end_us - p->lead_us + p->slack_us;
    if (now < (waited ? due : due - p->slack_us)) {
      set_timer(p, due);
      break;
    }
    /* The far end bridges less than a frame; after more it has fallen silent and starts anew. */
    bool dry = now >= p->play_end_us + FRAME_US;
    int64_t play = dry ? now : p->play_end_us;
    p->play_end_us = play + FRAME_US;
    if (!p->ops->send(p->arg, play)) {
      if (!p->stopped && p->play_end_us == play + FRAME_US)
        p->play_end_us = play;
      break;
    }
    if (waited) {
      int64_t late = now - due; /* to the call, not to its end */
      cxb_histogram_add(&p->lateness, (uint64_t)(late > 0 ? late : 0));
      p->underruns += late >= FRAME_US;
    }
    waited = waited && !dry; /* then the whole lead again */
  }
  p->running = false;
}

static void on_timer(uv_poll_t *poll, int status, int events) {
  cxb_pacer *p = poll->data;
  uint64_t expirations;
  (void)events;
  if (status < 0 || read(p->fd, &expirations, sizeof expirations) < 0)
    return;
  p->armed = false;
  run(p, true);
}

int cxb_pacer_init(cxb_pacer *p, uv_loop_t *loop, int lead_ms, const cxb_pacer_ops *ops,
                   void *arg) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0)
    return CXB_EIO;
  *p = (cxb_pacer){.ops = ops, .arg = arg, .fd = fd, .lead_us = (int64_t)lead_ms * 1000};
  p->slack_us = p->lead_us >= 3 * FRAME_US ? FRAME_US : 0;
  if (uv_poll_init(loop, &p->poll, fd) != 0) {
    close(fd);
    return CXB_EIO;
  }
  p->poll.data = p;
  uv_poll_start(&p->poll, UV_READABLE, on_timer);
  return 0;
}

void cxb_pacer_kick(cxb_pacer *p) {
  if (!p->stopped && !p->armed && !p->running)
    run(p, false);
}

void cxb_pacer_pass(cxb_pacer *p) {
  if (!p->armed || p->running || p->stopped || now_us() < p->play_end_us - p->lead_us)
    return;
  p->armed = false;
  run(p, false);
  if (!p->armed && !p->stopped) /* nothing is left to wait for */
    set_timer(p, 0);
}

void cxb_pacer_reset(cxb_pacer *p) {
  p->play_end_us = 0;
  if (p->armed)
    set_timer(p, 0);
}

void cxb_pacer_close(cxb_pacer *p, uv_close_cb closed) {
  p->stopped = true;
  uv_poll_stop(&p->poll);
  close(p->fd);
  uv_close((uv_handle_t *)&p->poll, closed);
}
