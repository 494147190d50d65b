/* The tap's box: filled by the media loop, emptied by the main loop, one letter at a time on the
 * way. */
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "lock.h"
#include "resample.h"

enum { KEEP_SECONDS = 10, SLICE = 960 };

struct cxb_tap {
  cxb_media *media;
  int rate;
  /* main loop */
  cxb_sink *sink; /* NULL: stopped, or the sink has closed */
  uint8_t *part;  /* a chunk that is not full yet; NULL: no chunks */
  size_t chunk, part_len;
  /* media loop */
  cxb_resampler *resampler;
  int16_t *scratch;
  /* both, under the lock */
  uv_mutex_t lock;
  unsigned refs;
  bool posted, dead; /* dead: nobody reads any more */
  uint8_t *data;
  size_t len, room;
};

static void unref(cxb_tap *tap) {
  uv_mutex_lock(&tap->lock);
  bool last = --tap->refs == 0;
  uv_mutex_unlock(&tap->lock);
  if (!last)
    return;
  uv_mutex_destroy(&tap->lock);
  cxb_resampler_free(tap->resampler);
  free(tap->scratch);
  free(tap->part);
  free(tap->data);
  free(tap);
}

int cxb_tap_new(cxb_media *media, cxb_sink *sink, int rate, int chunk_ms, cxb_tap **out) {
  if (rate < 8000 || rate > CXB_MAX_RATE || chunk_ms < 0 || chunk_ms > 1000)
    return CXB_EINVAL;
  cxb_tap *tap = calloc(1, sizeof *tap);
  if (!tap)
    return CXB_ENOMEM;
  tap->chunk = (size_t)rate * (size_t)chunk_ms / 1000 * 2;
  tap->part = tap->chunk ? malloc(tap->chunk) : NULL;
  if ((tap->chunk && !tap->part) || cxb_lock_init(&tap->lock) != 0) {
    free(tap->part);
    free(tap);
    return CXB_ENOMEM;
  }
  tap->media = media;
  tap->rate = rate;
  tap->sink = sink;
  tap->refs = 2;
  *out = tap;
  return 0;
}

static void drop_sink(cxb_tap *tap) {
  cxb_sink *sink = tap->sink;
  tap->sink = NULL;
  uv_mutex_lock(&tap->lock);
  tap->dead = true;
  uv_mutex_unlock(&tap->lock);
  if (sink)
    sink->release(sink);
}

static int write_chunks(cxb_tap *tap, const uint8_t *data, size_t len) {
  int err = 0;
  while (len > 0 && !err) {
    size_t room = tap->chunk - tap->part_len, take = len < room ? len : room;
    memcpy(tap->part + tap->part_len, data, take);
    tap->part_len += take;
    data += take;
    len -= take;
    if (tap->part_len == tap->chunk) {
      tap->part_len = 0;
      err = tap->sink->write(tap->sink, tap->part, tap->chunk);
    }
  }
  return err;
}

static int write_out(cxb_tap *tap, const uint8_t *data, size_t len) {
  return tap->chunk ? write_chunks(tap, data, len) : tap->sink->write(tap->sink, data, len);
}

/* Main loop. The data is taken out of the box, so the media loop never waits for a sink. */
static void deliver(cxb_tap *tap) {
  uv_mutex_lock(&tap->lock);
  uint8_t *data = tap->data;
  size_t len = tap->len, room = tap->room;
  tap->data = NULL;
  tap->len = tap->room = 0;
  uv_mutex_unlock(&tap->lock);
  if (len > 0 && tap->sink && write_out(tap, data, len) != 0)
    drop_sink(tap);
  uv_mutex_lock(&tap->lock);
  if (!tap->data && room <= 65536) { /* used again */
    tap->data = data;
    tap->room = room;
    data = NULL;
  }
  uv_mutex_unlock(&tap->lock);
  free(data);
}

static void on_main(void *arg) {
  cxb_tap *tap = arg;
  uv_mutex_lock(&tap->lock);
  tap->posted = false;
  uv_mutex_unlock(&tap->lock);
  deliver(tap);
  unref(tap);
}

void cxb_tap_stop(cxb_tap *tap, bool end) {
  if (end) {
    deliver(tap);
    if (tap->sink && tap->part_len > 0)
      tap->sink->write(tap->sink, tap->part, tap->part_len);
    if (tap->sink && tap->sink->end)
      tap->sink->end(tap->sink, 0);
  }
  drop_sink(tap);
  unref(tap);
}

/* Under the lock. */
static bool make_room(cxb_tap *tap, size_t len) {
  size_t second = (size_t)tap->rate * 2, most = second * KEEP_SECONDS;
  if (tap->len + len > most) {
    size_t drop = second / 2 + len;
    if (drop > tap->len)
      drop = tap->len;
    tap->len -= drop;
    memmove(tap->data, tap->data + drop, tap->len);
  }
  if (tap->len + len <= tap->room)
    return true;
  size_t room = tap->room ? tap->room : 4096;
  while (room < tap->len + len)
    room *= 2;
  uint8_t *grown = realloc(tap->data, room);
  if (!grown)
    return false;
  tap->data = grown;
  tap->room = room;
  return true;
}

static void append(cxb_tap *tap, const int16_t *pcm, size_t n) {
  bool post = false;
  uv_mutex_lock(&tap->lock);
  if (n > 0 && !tap->dead && make_room(tap, n * 2)) {
    memcpy(tap->data + tap->len, pcm, n * 2);
    tap->len += n * 2;
    post = !tap->posted;
    if (post) {
      tap->posted = true;
      tap->refs++;
    }
  }
  uv_mutex_unlock(&tap->lock);
  if (post)
    cxb_media_post_main(tap->media, on_main, tap);
}

void cxb_tap_feed(cxb_tap *tap, const int16_t *pcm, size_t n, int rate) {
  if (rate == tap->rate) {
    append(tap, pcm, n);
    return;
  }
  if (!tap->resampler) {
    if (cxb_resampler_new(rate, tap->rate, &tap->resampler) != 0)
      return;
    tap->scratch = malloc(cxb_resampler_bound(tap->resampler, SLICE) * sizeof *tap->scratch);
  }
  while (n > 0 && tap->scratch) {
    size_t take = n < SLICE ? n : SLICE;
    append(tap, tap->scratch, cxb_resampler_run(tap->resampler, pcm, take, tap->scratch));
    pcm += take;
    n -= take;
  }
}

void cxb_tap_detach(cxb_tap *tap) {
  if (tap)
    unref(tap);
}
