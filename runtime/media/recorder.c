/* The recorder's timeline. Positions count stereo sample pairs since the start; a position p of the
 * file lives in the ring at p modulo its size while it is among the newest.
 *
 * The caller's frames are placed one after another, not by arrival: a network that stalls and then
 * delivers all at once must not tear holes. A pause of the sender looks the same at its first
 * frame, so up to three frames are held back until their pace tells a burst from a pause. Each
 * second the smallest delay seen is taken for the true offset and corrected. */
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"
#include "disk.h"
#include "frame.h"
#include "wav.h"

enum {
  RING_SECONDS = 4,
  BACK_MS = 2000,   /* how far back late audio may be placed */
  AHEAD_MS = 1000,  /* how far ahead the bot's */
  FLUSH_MS = 750,   /* and the write itself: within a second */
  HOLD_LAG_MS = 60, /* more behind than this: a burst or a pause? */
  HOLD_FRAMES = 3,
  HOLD_MS = 30, /* three frames within this time are a burst */
  HOLD_MAX_MS = 200,
  DRIFT_FRAMES = 50,
  DRIFT_MS = 10,
  LEFT = 0,
  RIGHT = 1,
};
#define MAX_BYTES ((int64_t)UINT32_MAX - 4096)

typedef struct write_job { /* owned by the disk's thread while writing */
  int16_t *pcm;
  size_t room, n;  /* pairs */
  int64_t at, end; /* first pair; length of the file in pairs */
  const char *why; /* NULL: written and synced */
  bool last;
} write_job;

struct cxb_recorder {
  uv_timer_t timer;
  cxb_disk *disk;
  int fd, rate;
  int64_t start_us;
  cxb_recorder_error_cb on_error;
  void *arg;
  bool failed, told_slow, paused, writing;
  int64_t synced_bytes;

  int16_t *ring;
  int64_t size;      /* pairs */
  int64_t base, end; /* the ring holds [base, end) */
  int64_t copied;    /* everything before was handed to a write */
  int64_t dirty;     /* first position changed after it was */

  int64_t left; /* where the caller's next sample goes; -1: nothing yet */
  int64_t lag_min, lag_max;
  unsigned lag_frames;
  int16_t *held;
  size_t held_n;
  unsigned held_frames;
  int64_t held_at_us, held_target;

  write_job job;
  int64_t close_us; /* ≥ 0: closing */
  void (*done)(void *arg, int64_t bytes);
  void *done_arg;
};

static int64_t position(const cxb_recorder *r, int64_t us) {
  int64_t p = (us - r->start_us) * r->rate / 1000000;
  return p > 0 ? p : 0;
}

static int64_t now_us(void) {
  return (int64_t)(uv_hrtime() / 1000);
}

/* ---- the ring ---- */
static void extend(cxb_recorder *r, int64_t to) {
  if (to <= r->end)
    return;
  if (to - r->end >= r->size) {
    memset(r->ring, 0, (size_t)r->size * 4);
  } else {
    int64_t from = r->end % r->size, until = to % r->size;
    if (from < until) {
      memset(r->ring + from * 2, 0, (size_t)(until - from) * 4);
    } else {
      memset(r->ring + from * 2, 0, (size_t)(r->size - from) * 4);
      memset(r->ring, 0, (size_t)until * 4);
    }
  }
  r->end = to;
  if (r->base < to - r->size)
    r->base = to - r->size;
}

static void touch(cxb_recorder *r, int64_t at) {
  if (at < r->dirty)
    r->dirty = at;
}

/* NULL pcm: silence. Parts that left the ring are lost. */
static void place(cxb_recorder *r, int channel, int64_t at, const int16_t *pcm, int64_t n) {
  if (r->failed || n <= 0)
    return;
  extend(r, at + n);
  int64_t i = at < r->base ? r->base - at : 0;
  if (i >= n)
    return;
  touch(r, at + i);
  while (i < n) { /* once, or twice around the ring's end */
    int64_t slot = (at + i) % r->size, some = n - i < r->size - slot ? n - i : r->size - slot;
    int16_t *out = r->ring + slot * 2 + channel;
    if (pcm)
      for (int64_t k = 0; k < some; k++)
        out[k * 2] = pcm[i + k];
    else
      for (int64_t k = 0; k < some; k++)
        out[k * 2] = 0;
    i += some;
  }
}

/* ---- the caller ---- */
static void place_caller(cxb_recorder *r, const int16_t *pcm, size_t n) {
  if (!r->paused)
    place(r, LEFT, r->left, pcm, (int64_t)n);
  r->left += (int64_t)n;
}

/* The held frames prove to be a burst (they belong where the stream stopped) or follow a pause. */
static void release_held(cxb_recorder *r, bool pause) {
  if (r->held_frames == 0)
    return;
  if (pause)
    r->left = r->held_target;
  r->held_frames = 0;
  place_caller(r, r->held, r->held_n);
  r->held_n = 0;
  r->lag_frames = 0;
}

static bool hold(cxb_recorder *r, const int16_t *pcm, size_t n, int64_t target, int64_t end_us) {
  if (r->held_frames == 0) {
    r->held_at_us = end_us;
    r->held_target = target;
  }
  if (r->held_n + n > (size_t)(HOLD_FRAMES * r->rate / 50))
    return false;
  memcpy(r->held + r->held_n, pcm, n * sizeof *pcm);
  r->held_n += n;
  if (++r->held_frames == HOLD_FRAMES)
    release_held(r, end_us - r->held_at_us >= (int64_t)HOLD_MS * 1000);
  return true;
}

static void follow_drift(cxb_recorder *r, int64_t lag) {
  if (r->lag_frames == 0 || lag < r->lag_min)
    r->lag_min = lag;
  if (r->lag_frames == 0 || lag > r->lag_max)
    r->lag_max = lag;
  if (++r->lag_frames < DRIFT_FRAMES)
    return;
  r->lag_frames = 0;
  int64_t tolerance = r->rate * DRIFT_MS / 1000;
  if (r->lag_min > tolerance)
    r->left += r->lag_min;
  else if (r->lag_max < -tolerance)
    r->left += r->lag_max;
}

void cxb_recorder_caller(cxb_recorder *r, const int16_t *pcm, size_t n, int64_t end_us) {
  int64_t end = position(r, end_us), target = end > (int64_t)n ? end - (int64_t)n : 0;
  if (r->failed)
    return;
  if (r->left < 0)
    r->left = target;
  if (r->held_frames > 0 && end_us - r->held_at_us > (int64_t)HOLD_MAX_MS * 1000)
    release_held(r, true);
  int64_t lag = target - r->left - (int64_t)r->held_n;
  if (lag > (int64_t)BACK_MS * r->rate / 1000 && r->held_frames == 0)
    r->left = target, r->lag_frames = 0; /* too late for a burst */
  else if (r->held_frames > 0 || lag > (int64_t)HOLD_LAG_MS * r->rate / 1000) {
    if (hold(r, pcm, n, target, end_us))
      return;
    release_held(r, false);
  } else {
    follow_drift(r, lag);
  }
  place_caller(r, pcm, n);
}

/* ---- the bot ---- */
void cxb_recorder_bot(cxb_recorder *r, const int16_t *pcm, size_t n, int64_t start_us) {
  int64_t at = position(r, start_us);
  if (!r->paused && at <= position(r, now_us()) + (int64_t)AHEAD_MS * r->rate / 1000)
    place(r, RIGHT, at, pcm, (int64_t)n);
}

void cxb_recorder_cut(cxb_recorder *r, int64_t at_us) {
  int64_t at = position(r, at_us);
  place(r, RIGHT, at, NULL, r->end - at);
}

void cxb_recorder_pause(cxb_recorder *r, bool pause, int64_t at_us) {
  if (pause && !r->paused) {
    release_held(r, true);
    cxb_recorder_cut(r, at_us);
  }
  r->paused = pause;
}

int64_t cxb_recorder_bytes(const cxb_recorder *r) {
  return r->synced_bytes;
}

/* ---- the disk ---- */
static const char *why_of(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG ? "no_space" : "io";
}

static const char *write_all(int fd, const void *data, size_t len, int64_t at) {
  const char *p = data;
  while (len > 0) {
    ssize_t n = pwrite(fd, p, len, (off_t)at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return why_of(n < 0 ? errno : EIO);
    p += n;
    at += n;
    len -= (size_t)n;
  }
  return NULL;
}

/* Data, sync, then the header over it: the header never promises what the disk does not have. */
static void write_on_disk(void *arg) {
  cxb_recorder *r = arg;
  write_job *job = &r->job;
  uint8_t header[CXB_WAV_HEADER];
  job->why = write_all(r->fd, job->pcm, job->n * 4, CXB_WAV_HEADER + job->at * 4);
  if (!job->why && fdatasync(r->fd) != 0)
    job->why = why_of(errno);
  if (!job->why) {
    cxb_wav_header(header, r->rate, 2, (uint32_t)(job->end * 4));
    job->why = write_all(r->fd, header, sizeof header, 0);
  }
  if (job->last) {
    if (!job->why && fdatasync(r->fd) != 0)
      job->why = why_of(errno);
    close(r->fd);
  }
}

static void fail(cxb_recorder *r, const char *why) {
  if (!r->failed && r->close_us < 0)
    r->on_error(r->arg, why);
  r->failed = true;
}

static void on_disk_closed(void *arg) {
  cxb_recorder *r = arg;
  void (*done)(void *arg, int64_t bytes) = r->done;
  void *done_arg = r->done_arg;
  int64_t bytes = r->synced_bytes;
  free(r->job.pcm);
  free(r->held);
  free(r->ring);
  free(r);
  done(done_arg, bytes);
}

static void on_timer_closed(uv_handle_t *handle) {
  cxb_recorder *r = handle->data;
  cxb_disk_close(r->disk, on_disk_closed);
}

static void flush(cxb_recorder *r, int64_t at_us, bool last);

static void on_written(void *arg) {
  cxb_recorder *r = arg;
  const write_job *job = &r->job;
  r->writing = false;
  if (job->why)
    fail(r, job->why);
  else
    r->synced_bytes = CXB_WAV_HEADER + job->end * 4;
  if (job->last)
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
  else if (r->close_us >= 0)
    flush(r, r->close_us, true);
}

static bool copy_out(cxb_recorder *r, int64_t from, int64_t to) {
  size_t n = (size_t)(to - from);
  if (n > r->job.room) {
    int16_t *grown = realloc(r->job.pcm, n * 4);
    if (!grown)
      return false;
    r->job.pcm = grown;
    r->job.room = n;
  }
  int64_t slot = from % r->size, first = r->size - slot < (int64_t)n ? r->size - slot : (int64_t)n;
  memcpy(r->job.pcm, r->ring + slot * 2, (size_t)first * 4);
  memcpy(r->job.pcm + first * 2, r->ring, (n - (size_t)first) * 4);
  r->job.n = n;
  r->job.at = from;
  return true;
}

/* Hands what changed to the disk. After a failure only the file is closed. */
static void flush(cxb_recorder *r, int64_t at_us, bool last) {
  int64_t to = position(r, at_us);
  if (r->writing)
    return;
  if (r->held_frames > 0 && (last || at_us - r->held_at_us > (int64_t)HOLD_MAX_MS * 1000))
    release_held(r, true);
  r->job.n = 0;
  r->job.end = (r->synced_bytes - CXB_WAV_HEADER) / 4;
  if (!r->failed && CXB_WAV_HEADER + to * 4 > MAX_BYTES)
    fail(r, "too_big");
  if (!r->failed) {
    extend(r, to);
    int64_t from = r->dirty < r->copied ? r->dirty : r->copied;
    if (from < r->base) {
      from = r->base;
      if (r->copied < r->base && !r->told_slow && r->close_us < 0) {
        r->told_slow = true;
        r->on_error(r->arg, "slow_disk");
      }
    }
    if (to < from)
      to = from;
    if (copy_out(r, from, to)) {
      r->copied = r->job.end = to;
      r->dirty = INT64_MAX;
    } else if (!last) {
      return;
    }
  } else if (!last) {
    return;
  }
  r->job.last = last;
  r->writing = true;
  cxb_disk_run(r->disk);
}

static void on_timer(uv_timer_t *timer) {
  flush(timer->data, now_us(), false);
}

/* ---- life ---- */
/* Only a regular file is written, and removed again when not even the header fits: a device of that
 * name is left as it is. */
int cxb_recorder_open(const char *path) {
  uint8_t header[CXB_WAV_HEADER];
  struct stat st;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR ? CXB_ENOENT
           : errno == ENOSPC                   ? CXB_ENOSPC
                                               : CXB_EIO;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || ftruncate(fd, 0) != 0) {
    close(fd);
    return CXB_EIO;
  }
  cxb_wav_header(header, 8000, 2, 0);
  const char *why = write_all(fd, header, sizeof header, 0);
  if (!why)
    return fd;
  close(fd);
  unlink(path);
  return strcmp(why, "no_space") == 0 ? CXB_ENOSPC : CXB_EIO;
}

int cxb_recorder_new(uv_loop_t *loop, int fd, int rate, int64_t start_us,
                     cxb_recorder_error_cb on_error, void *arg, cxb_recorder **out) {
  cxb_recorder *r = calloc(1, sizeof *r);
  if (!r)
    goto fail;
  r->size = (int64_t)rate * RING_SECONDS;
  r->ring = calloc((size_t)r->size, 4);
  r->held = calloc((size_t)(HOLD_FRAMES * rate / 50), sizeof *r->held);
  if (!r->ring || !r->held || cxb_disk_new(loop, write_on_disk, on_written, r, &r->disk) != 0)
    goto fail;
  uv_timer_init(loop, &r->timer);
  r->fd = fd;
  r->rate = rate;
  r->start_us = start_us;
  r->on_error = on_error;
  r->arg = arg;
  r->left = -1;
  r->dirty = INT64_MAX;
  r->close_us = -1;
  r->synced_bytes = CXB_WAV_HEADER;
  r->timer.data = r;
  uv_timer_start(&r->timer, on_timer, FLUSH_MS, FLUSH_MS);
  *out = r;
  return 0;
fail:
  if (r) {
    free(r->held);
    free(r->ring);
  }
  free(r);
  close(fd);
  return CXB_ENOMEM;
}

void cxb_recorder_close(cxb_recorder *r, int64_t end_us, void (*done)(void *arg, int64_t bytes),
                        void *arg) {
  r->close_us = end_us;
  r->done = done;
  r->done_arg = arg;
  uv_timer_stop(&r->timer);
  flush(r, end_us, true);
}
