/* What a call's media costs: pacing against the deadlines with one core loaded, CPU of a call
 * without its socket (voice activity, DTMF, pacer, recorder, a 16 kHz tap), memory of a call.
 *
 * The reference for both is a bare loop in the same run: a timer 50 times a second, nothing else.
 * Where wake-ups are dear (virtual machines), it says how much of the figures is theirs.
 *
 * Pacing is measured while the caller's line is silent: else most frames leave with his, before
 * their deadline.
 *
 *   build/bench/media [SECONDS]       6 s a step by default, under a minute in all */
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "media/dtmf.h"
#include "media/histogram.h"
#include "media/resample.h"
#include "media/session.h"
#include "media/vad.h"
#include "media/wav.h"

enum { RATE = 8000, FRAME = 160, MAX_CALLS = 50, VOICE_SECONDS = 600 };
#define SPEECH                                                                                     \
  "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav"

typedef struct call {
  cxb_session *s;
  cxb_sink sink;
  size_t tapped;
  bool done;
  char path[64];
} call;

static uv_loop_t *loop;
static cxb_media *media;
static call calls[MAX_CALLS];
static int call_count;
static int16_t *speech;
static size_t speech_n;
static uv_poll_t feeder; /* a timer of its own, as regular as a caller's frames */
static int feeder_fd;
static size_t fed;
static bool line_silent;
static int media_policy, media_nice;

static int64_t now_us(void) {
  return (int64_t)(uv_hrtime() / 1000);
}

static double cpu_ms(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
         (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

/* ---- a far end that takes everything ---- */
static int wire_frame(void *wire, const int16_t *pcm, size_t n) {
  (void)wire, (void)pcm, (void)n;
  return 0;
}
static int wire_clear(void *wire) {
  (void)wire;
  return 0;
}
static int wire_hangup(void *wire) {
  cxb_session_in_closed(((call *)wire)->s, 1000, "");
  return 0;
}
static void wire_close(void *wire, int code, const char *reason) {
  (void)reason;
  cxb_session_in_closed(((call *)wire)->s, code, "");
}
static void wire_release(void *wire) {
  (void)wire;
}

static const cxb_wire wire_ops = {
    .name = "bench",
    .lead_ms = 60,
    .frame = wire_frame,
    .clear = wire_clear,
    .hangup = wire_hangup,
    .close = wire_close,
    .release = wire_release,
};

static void on_event(void *arg, const cxb_event *event) {
  (void)arg, (void)event;
}

static int sink_write(cxb_sink *sink, const uint8_t *data, size_t len) {
  call *c = (call *)((char *)sink - offsetof(call, sink));
  (void)data;
  c->tapped += len;
  return 0;
}
static void sink_end(cxb_sink *sink, int err) {
  (void)sink, (void)err;
}
static void sink_release(cxb_sink *sink) {
  (void)sink;
}

/* ---- media loop ---- */
static void begin_on_media(void *arg) {
  call *c = arg;
  cxb_session_attach_wire(c->s, &wire_ops, c);
  cxb_session_in_start(c->s, &(cxb_start){.rate = RATE, .direction = "incoming"});
  cxb_session_in_answer(c->s);
}

static void feed(uv_poll_t *poll, int status, int events) {
  uint64_t due = 0;
  (void)poll, (void)events;
  if (status < 0 || read(feeder_fd, &due, sizeof due) < 0)
    return;
  for (; due > 0; due--, fed++)
    for (int i = 0; i < call_count && !line_silent; i++)
      cxb_session_in_audio(calls[i].s, speech + fed % (speech_n / FRAME) * FRAME, FRAME);
}

static void start_feeding(void *arg) {
  (void)arg;
  media_policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
  media_nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
  fed = 0;
  feeder_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct itimerspec t = {.it_interval.tv_nsec = 20000000, .it_value.tv_nsec = 20000000};
  timerfd_settime(feeder_fd, 0, &t, NULL);
  uv_poll_init(cxb_media_loop(media), &feeder, feeder_fd);
  uv_poll_start(&feeder, UV_READABLE, feed);
}

static void stop_feeding(void *arg) {
  (void)arg;
  uv_poll_stop(&feeder);
  close(feeder_fd);
  uv_close((uv_handle_t *)&feeder, NULL);
}

/* ---- main loop ---- */
static void no_op(uv_timer_t *timer) {
  (void)timer;
}

static void run_for(int64_t ms) {
  uv_timer_t timer;
  uv_timer_init(loop, &timer);
  uv_update_time(loop);
  uv_timer_start(&timer, no_op, (uint64_t)ms, 0);
  while (uv_is_active((uv_handle_t *)&timer))
    uv_run(loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

/* `n` calls in which both sides speak without end, or the bot alone. */
static void begin_calls(int n, bool silent) {
  line_silent = silent;
  int16_t *voice = malloc((size_t)RATE * 30 * 2);
  for (int i = 0; i < RATE * 30; i++)
    voice[i] = (int16_t)(3000 * sin(i * 0.2));
  call_count = n;
  for (int i = 0; i < n; i++) {
    call *c = &calls[i];
    *c = (call){.sink = {sink_write, sink_end, sink_release}};
    cxb_session_config config = {on_event, c, 0};
    snprintf(c->path, sizeof c->path, "/tmp/cxb-bench-%d-%d.wav", (int)getpid(), i);
    if (cxb_session_new(media, &config, &c->s) != 0 || cxb_session_record(c->s, c->path) != 0)
      abort();
    cxb_session_vad(c->s, 2, 200, 600);
    cxb_media_post(media, begin_on_media, c);
    cxb_session_tap(c->s, &c->sink, 16000, 0, 0);
    uint32_t id = cxb_session_say_begin(c->s, RATE);
    for (int k = 0; k < 4; k++)
      cxb_session_say_push(c->s, id, voice, (size_t)RATE * 30 * 2);
  }
  free(voice);
  cxb_media_post(media, start_feeding, NULL);
}

static void on_done(void *arg) {
  ((call *)arg)->done = true;
}

static void end_calls(void) {
  cxb_media_post(media, stop_feeding, NULL);
  for (int i = 0; i < call_count; i++) {
    cxb_session_close(calls[i].s, on_done, &calls[i]);
    while (!calls[i].done)
      uv_run(loop, UV_RUN_ONCE);
    unlink(calls[i].path);
  }
  call_count = 0;
}

/* ---- steps ---- */
static long rss_kb(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%*d %ld", &pages) != 1)
    pages = 0;
  if (f)
    fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* A timer 50 times a second in a process of its own, as favoured as the media thread. */
typedef struct bare {
  pid_t pid;
  int out;
} bare;

typedef struct bare_result {
  cxb_histogram late;
  double cpu_ms;
} bare_result;

static bare bare_begin(int seconds) {
  static bare_result r;
  int fds[2];
  if (pipe(fds) != 0)
    abort();
  bare b = {.pid = fork(), .out = fds[0]};
  if (b.pid != 0) {
    close(fds[1]);
    return b;
  }
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN};
  epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
  if (media_policy == SCHED_RR)
    sched_setscheduler(0, media_policy, &(struct sched_param){.sched_priority = 1});
  else
    (void)setpriority(PRIO_PROCESS, 0, media_nice);
  double before = cpu_ms();
  int64_t at = now_us(), end = at + (int64_t)seconds * 1000000;
  while ((at += 20000) < end) {
    struct itimerspec t = {.it_value = {.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000}};
    uint64_t n;
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL);
    epoll_wait(poll, &e, 1, -1);
    if (read(fd, &n, sizeof n) < 0)
      _exit(1);
    cxb_histogram_add(&r.late, (uint64_t)(now_us() - at));
  }
  r.cpu_ms = (cpu_ms() - before) / seconds;
  _exit(write(fds[1], &r, sizeof r) != sizeof r);
}

static bare_result bare_end(bare b) {
  bare_result r = {0};
  if (read(b.out, &r, sizeof r) != sizeof r)
    fprintf(stderr, "no reference\n");
  close(b.out);
  waitpid(b.pid, NULL, 0);
  return r;
}

static pid_t spin(void) {
  pid_t pid = fork();
  if (pid == 0)
    for (volatile uint64_t x = 0;; x++) {
    }
  return pid;
}

static void pacing(const char *title, int seconds, int spinners) {
  pid_t pids[8];
  for (int i = 0; i < spinners; i++)
    pids[i] = spin();
  begin_calls(1, true);
  bare b = bare_begin(seconds);
  run_for((int64_t)seconds * 1000);
  bare_result r = bare_end(b);
  cxb_session_stats s;
  cxb_session_stats_get(calls[0].s, &s);
  printf("pacing, %-18s %" PRIu64
         " frames by deadline: p50 %u us, p99 %u us, max %u us, "
         "underruns %" PRIu64 ", %s\n",
         title, s.pacing_count, s.pacing_us_p50, s.pacing_us_p99, s.pacing_us_max, s.underruns,
         media_policy == SCHED_RR ? "in real time" : "not in real time");
  printf("  bare timer at the same time: p50 %u us, p99 %u us, max %u us\n",
         cxb_histogram_percentile(&r.late, 50), cxb_histogram_percentile(&r.late, 99), r.late.max);
  if (spinners == 1)
    printf(
        "= pacing error, one core loaded: p50 %.2f ms, p99 %.2f ms (aim ≤ 1), max %.2f ms, "
        "underruns %" PRIu64 " of %" PRIu64
        " (aim 0); a bare timer at the same time: p99 %.2f ms, "
        "max %.2f ms\n",
        s.pacing_us_p50 / 1e3, s.pacing_us_p99 / 1e3, s.pacing_us_max / 1e3, s.underruns,
        s.pacing_count, cxb_histogram_percentile(&r.late, 99) / 1e3, r.late.max / 1e3);
  end_calls();
  for (int i = 0; i < spinners; i++) {
    kill(pids[i], SIGKILL);
    waitpid(pids[i], NULL, 0);
  }
}

static void cost(int n, int seconds) {
  begin_calls(n, false);
  run_for(1000);
  double before = cpu_ms();
  int64_t from = now_us();
  run_for((int64_t)seconds * 1000);
  double used = cpu_ms() - before, wall = (double)(now_us() - from) / 1e6;
  end_calls();
  double reference = bare_end(bare_begin(seconds / 2 + 1)).cpu_ms;
  printf("cpu, %2d call%s on the loop: %.2f ms a second and call, %.1f times a bare timer's %.2f\n",
         n, n == 1 ? "" : "s", used / wall / n, used / wall / n / reference, reference);
}

static void memory(void) {
  malloc_trim(0);
  long rss = rss_kb();
  size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
  begin_calls(1, false);
  run_for(3000);
  size_t voice = (size_t)RATE * 2 * 120; /* what waits in the play queue is the bench's own */
  printf(
      "memory of a call at 8 kHz: heap %zu KiB, resident %ld KiB (less %zu KiB of queued speech)\n",
      (mallinfo2().uordblks + mallinfo2().hblkhd - heap - voice) / 1024,
      rss_kb() - rss - (long)(voice / 1024), voice / 1024);
  end_calls();
}

static void ignore_digit(void *arg, char digit) {
  (void)arg, (void)digit;
}

/* The parts by themselves, for scale. */
static void parts(void) {
  enum { LAPS = 200 };
  cxb_vad *vad = NULL;
  cxb_dtmf *dtmf = NULL;
  cxb_resampler *up = NULL;
  int16_t out[1024];
  int64_t edge;
  size_t frames = speech_n / FRAME;
  if (cxb_vad_new(RATE, &vad) || cxb_dtmf_new(RATE, ignore_digit, NULL, &dtmf) ||
      cxb_resampler_new(RATE, 16000, &up))
    abort();
  double t[4] = {cpu_ms()};
  for (size_t i = 0; i < frames * LAPS / 10; i++)
    cxb_vad_frame(vad, speech + i % frames * FRAME, FRAME, (int64_t)i * 20, &edge);
  t[1] = cpu_ms();
  for (size_t i = 0; i < frames * LAPS / 10; i++)
    cxb_dtmf_feed(dtmf, speech + i % frames * FRAME, FRAME);
  t[2] = cpu_ms();
  for (size_t i = 0; i < frames * LAPS / 10; i++)
    cxb_resampler_run(up, speech + i % frames * FRAME, FRAME, out);
  t[3] = cpu_ms();
  double n = (double)(frames * LAPS / 10) / 1000;
  printf("a frame: voice activity %.1f us, DTMF %.1f us, 8 to 16 kHz %.1f us\n", (t[1] - t[0]) / n,
         (t[2] - t[1]) / n, (t[3] - t[2]) / n);
  cxb_vad_free(vad);
  cxb_dtmf_free(dtmf);
  cxb_resampler_free(up);
}

int main(int argc, char **argv) {
  int seconds = argc > 1 ? atoi(argv[1]) : 6;
  int rate = 0;
  if (seconds < 1 || cxb_wav_read(SPEECH, &speech, &speech_n, &rate) != 0) {
    fprintf(stderr, "usage: media [SECONDS]; needs " SPEECH "\n");
    return 2;
  }
  int16_t *narrow = NULL;
  if (cxb_resample(speech, speech_n, rate, RATE, &narrow, &speech_n) != 0)
    return 2;
  free(speech);
  speech = narrow;
  loop = uv_default_loop();
  if (cxb_media_new(loop, &media) != 0)
    return 2;
  parts();
  memory();
  cost(1, seconds);
  cost(20, seconds);
  pacing("machine as it is:", seconds, 0);
  pacing("one core loaded:", seconds, 1);
  pacing("all cores loaded:", seconds,
         (int)sysconf(_SC_NPROCESSORS_ONLN) > 8 ? 8 : (int)sysconf(_SC_NPROCESSORS_ONLN));
  cxb_media_close(media);
  uv_run(loop, UV_RUN_DEFAULT);
  free(speech);
  return 0;
}
