/* Outlines of recordings (contract in peaks.h). WAV: RIFF chunks, "fmt " before "data". */
#include "peaks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/err.h"

enum { HEADER_MAX = 64 << 10, CHANNELS_MAX = 2, PIECE = 64 << 10, PCM = 1, EXTENSIBLE = 0xfffe };

typedef struct part {
  int16_t low, high;
} part;

struct cxb_peaks {
  int points, channels, rate;
  int64_t file_bytes, frames, frame; /* frames there will be; that have come */
  int64_t edge;                      /* first frame of the next part */
  int at;                            /* the part that is filled */
  cxb_buf head;                      /* until the data chunk begins */
  uint8_t rest[2 * CHANNELS_MAX];    /* of a frame cut between pieces */
  size_t rest_len;
  part *parts; /* channels × points, once the header is known */
};

cxb_peaks *cxb_peaks_new(int points, int64_t file_bytes) {
  cxb_peaks *p = calloc(1, sizeof *p);
  if (p) {
    p->points = points;
    p->file_bytes = file_bytes;
  }
  return p;
}

void cxb_peaks_free(cxb_peaks *p) {
  if (!p)
    return;
  cxb_buf_free(&p->head);
  free(p->parts);
  free(p);
}

static uint32_t le32(const uint8_t *b) {
  return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static unsigned le16(const uint8_t *b) {
  return b[0] | (unsigned)b[1] << 8;
}

static int take_format(cxb_peaks *p, const uint8_t *body, uint32_t len) {
  if (len < 16)
    return CXB_EUNSUPPORTED;
  unsigned tag = le16(body), channels = le16(body + 2), bits = le16(body + 14);
  uint32_t rate = le32(body + 4);
  if ((tag != PCM && tag != EXTENSIBLE) || bits != 16 || channels < 1 || channels > CHANNELS_MAX ||
      rate < 1 || rate > 384000)
    return CXB_EUNSUPPORTED;
  p->channels = (int)channels;
  p->rate = (int)rate;
  return 0;
}

/* The data chunk of `len` bytes begins at `offset`; a recorder that was killed left no length. */
static int begin_data(cxb_peaks *p, size_t offset, uint32_t len) {
  int64_t room = p->file_bytes - (int64_t)offset, bytes = len;
  if (len == 0 || len == UINT32_MAX || bytes > room)
    bytes = room > 0 ? room : 0;
  p->frames = bytes / (2 * p->channels);
  if (p->frames < p->points)
    p->points = p->frames > 0 ? (int)p->frames : 1;
  p->parts = calloc((size_t)p->points * (size_t)p->channels, sizeof *p->parts);
  if (!p->parts)
    return CXB_ENOMEM;
  for (int i = 0; i < p->points * p->channels; i++)
    p->parts[i] = (part){INT16_MAX, INT16_MIN};
  p->at = -1;
  return 0;
}

/* Walks the chunks; *used is where the data begin, 0: more is needed. */
static int read_header(cxb_peaks *p, size_t *used) {
  const uint8_t *b = (const uint8_t *)p->head.data;
  size_t len = p->head.len, at = 12;
  *used = 0;
  if (len >= 12 && (memcmp(b, "RIFF", 4) != 0 || memcmp(b + 8, "WAVE", 4) != 0))
    return CXB_EUNSUPPORTED;
  while (len >= at + 8) {
    uint32_t size = le32(b + at + 4);
    if (memcmp(b + at, "data", 4) == 0) {
      *used = at + 8;
      return p->channels ? begin_data(p, at + 8, size) : CXB_EUNSUPPORTED;
    }
    if (size > HEADER_MAX)
      return CXB_EUNSUPPORTED;
    if (memcmp(b + at, "fmt ", 4) == 0) {
      if (len < at + 8 + size)
        break;
      int err = take_format(p, b + at + 8, size);
      if (err)
        return err;
    }
    at += 8 + size + (size & 1);
  }
  return len > HEADER_MAX ? CXB_EUNSUPPORTED : 0;
}

static void take_frame(cxb_peaks *p, const uint8_t *frame) {
  if (p->frame >= p->edge) {
    p->at++;
    p->edge = (p->at + 1) * p->frames / p->points;
  }
  for (int c = 0; c < p->channels; c++) {
    int16_t v = (int16_t)le16(frame + 2 * c);
    part *q = &p->parts[c * p->points + p->at];
    if (v < q->low)
      q->low = v;
    if (v > q->high)
      q->high = v;
  }
  p->frame++;
}

static void take_audio(cxb_peaks *p, const uint8_t *b, size_t len) {
  size_t size = 2 * (size_t)p->channels;
  while (p->rest_len > 0 && p->rest_len < size && len > 0) {
    p->rest[p->rest_len++] = *b++;
    len--;
  }
  if (p->rest_len == size && p->frame < p->frames) {
    take_frame(p, p->rest);
    p->rest_len = 0;
  }
  for (; len >= size && p->frame < p->frames; b += size, len -= size)
    take_frame(p, b);
  if (len < size && len > 0 && p->rest_len == 0) {
    memcpy(p->rest, b, len);
    p->rest_len = len;
  }
}

int cxb_peaks_feed(cxb_peaks *p, const void *data, size_t len) {
  if (p->parts) {
    take_audio(p, data, len);
    return 0;
  }
  if (cxb_buf_add(&p->head, data, len) != 0)
    return CXB_ENOMEM;
  size_t used;
  int err = read_header(p, &used);
  if (!err && p->parts) {
    take_audio(p, (const uint8_t *)p->head.data + used, p->head.len - used);
    cxb_buf_free(&p->head);
  }
  return err;
}

int cxb_peaks_json(const cxb_peaks *p, cxb_buf *out) {
  if (!p->parts)
    return CXB_EUNSUPPORTED;
  int err = cxb_buf_printf(out, "{\"duration\":%.3f,\"channels\":[", (double)p->frame / p->rate);
  for (int c = 0; c < p->channels && !err; c++) {
    err = cxb_buf_str(out, c ? ",[" : "[");
    for (int i = 0; i < p->points && !err; i++) {
      part q = p->parts[c * p->points + i];
      if (q.low > q.high)
        q = (part){0, 0};
      err = cxb_buf_printf(out, i ? ",%d,%d" : "%d,%d", q.low >> 8, q.high >> 8);
    }
    if (!err)
      err = cxb_buf_str(out, "]");
  }
  return err ? err : cxb_buf_str(out, "]}");
}

static int feed_file(cxb_peaks *p, int fd) {
  uint8_t *piece = malloc(PIECE);
  int err = piece ? 0 : CXB_ENOMEM;
  while (!err) {
    ssize_t n = read(fd, piece, PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      err = n < 0 ? CXB_EIO : 0;
      break;
    }
    err = cxb_peaks_feed(p, piece, (size_t)n);
  }
  free(piece);
  return err;
}

int cxb_peaks_of_file(const char *path, int points, cxb_buf *out) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct stat st;
  if (fd < 0)
    return cxb_err_from_errno(errno);
  int err = fstat(fd, &st) != 0 ? CXB_EIO : S_ISREG(st.st_mode) ? 0 : CXB_ENOENT;
  cxb_peaks *p = err ? NULL : cxb_peaks_new(points, st.st_size);
  if (!err && !p)
    err = CXB_ENOMEM;
  if (!err)
    err = feed_file(p, fd);
  if (!err)
    err = cxb_peaks_json(p, out);
  cxb_peaks_free(p);
  close(fd);
  return err;
}
