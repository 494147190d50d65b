/* WAV reading and the recorder's header (RIFF, little-endian; Microsoft "Multimedia Programming
 * Interface and Data Specifications 1.0", WAVE_FORMAT_EXTENSIBLE for the sub-format). */
#include "wav.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "g711.h"

enum { FMT_PCM = 1, FMT_FLOAT = 3, FMT_ALAW = 6, FMT_ULAW = 7, FMT_EXTENSIBLE = 0xFFFE };
#define MAX_BYTES (64l << 20)

typedef struct wav_format {
  unsigned code, channels, bits;
  uint32_t rate;
} wav_format;

static uint32_t le16(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const uint8_t *p) {
  return le16(p) | le16(p + 2) << 16;
}

static void put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v) {
  put16(p, v);
  put16(p + 2, v >> 16);
}

void cxb_wav_header(uint8_t out[CXB_WAV_HEADER], int rate, int channels, uint32_t data_bytes) {
  uint32_t frame = (uint32_t)channels * 2;
  memcpy(out, "RIFF", 4);
  put32(out + 4, data_bytes + CXB_WAV_HEADER - 8);
  memcpy(out + 8, "WAVEfmt ", 8);
  put32(out + 16, 16);
  put16(out + 20, FMT_PCM);
  put16(out + 22, (uint32_t)channels);
  put32(out + 24, (uint32_t)rate);
  put32(out + 28, (uint32_t)rate * frame);
  put16(out + 32, frame);
  put16(out + 34, 16);
  memcpy(out + 36, "data", 4);
  put32(out + 40, data_bytes);
}

static int slurp(const char *path, uint8_t **data, size_t *size) {
  FILE *f = fopen(path, "rbe");
  if (!f)
    return errno == ENOENT || errno == ENOTDIR ? CXB_ENOENT : CXB_EIO;
  int err = CXB_EIO;
  uint8_t *buffer = NULL;
  long len = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
  if (len < 0 || fseek(f, 0, SEEK_SET) != 0)
    goto out;
  err = CXB_ETOOBIG;
  if (len > MAX_BYTES)
    goto out;
  err = CXB_ENOMEM;
  buffer = malloc((size_t)len + 1);
  if (!buffer)
    goto out;
  err = CXB_EIO;
  if (fread(buffer, 1, (size_t)len, f) != (size_t)len)
    goto out;
  *data = buffer;
  *size = (size_t)len;
  buffer = NULL;
  err = 0;
out:
  free(buffer);
  fclose(f);
  return err;
}

static int read_format(const uint8_t *p, size_t len, wav_format *fmt) {
  if (len < 16)
    return CXB_EUNSUPPORTED;
  fmt->code = le16(p);
  fmt->channels = le16(p + 2);
  fmt->rate = le32(p + 4);
  fmt->bits = le16(p + 14);
  if (fmt->code == FMT_EXTENSIBLE && len >= 26)
    fmt->code = le16(p + 24);
  if (fmt->channels < 1 || fmt->channels > 16 || fmt->rate < 1000 || fmt->rate > 192000)
    return CXB_EUNSUPPORTED;
  unsigned b = fmt->bits;
  switch (fmt->code) {
  case FMT_PCM:
    return b == 8 || b == 16 || b == 24 || b == 32 ? 0 : CXB_EUNSUPPORTED;
  case FMT_FLOAT:
    return b == 32 ? 0 : CXB_EUNSUPPORTED;
  case FMT_ALAW:
  case FMT_ULAW:
    return b == 8 ? 0 : CXB_EUNSUPPORTED;
  default:
    return CXB_EUNSUPPORTED;
  }
}

/* One sample as 16 bits. */
static int sample_at(const wav_format *fmt, const uint8_t *p) {
  int16_t v = 0;
  float f = 0;
  switch (fmt->code) {
  case FMT_ULAW:
    cxb_ulaw_decode(p, 1, &v);
    return v;
  case FMT_ALAW:
    cxb_alaw_decode(p, 1, &v);
    return v;
  case FMT_FLOAT:
    memcpy(&f, p, sizeof f);
    if (!(f > -1.0f)) /* also NaN */
      return f < 0 ? -32768 : 0;
    return f >= 1.0f ? 32767 : (int)lrintf(f * 32767.0f);
  default:
    return fmt->bits == 8 ? ((int)p[0] - 128) * 256 : (int16_t)le16(p + fmt->bits / 8 - 2);
  }
}

static int to_mono(const wav_format *fmt, const uint8_t *data, size_t len, int16_t **pcm,
                   size_t *n) {
  size_t width = fmt->bits / 8, step = width * fmt->channels, frames = len / step;
  int16_t *out = malloc((frames + 1) * sizeof *out);
  if (!out)
    return CXB_ENOMEM;
  for (size_t i = 0; i < frames; i++) {
    int sum = 0;
    for (unsigned c = 0; c < fmt->channels; c++)
      sum += sample_at(fmt, data + i * step + c * width);
    out[i] = (int16_t)(sum / (int)fmt->channels);
  }
  *pcm = out;
  *n = frames;
  return 0;
}

int cxb_wav_read(const char *path, int16_t **pcm, size_t *n, int *rate) {
  uint8_t *file = NULL;
  size_t size = 0;
  int err = slurp(path, &file, &size);
  if (err)
    return err;
  err = CXB_EUNSUPPORTED;
  wav_format fmt = {0};
  if (size < 12 || memcmp(file, "RIFF", 4) != 0 || memcmp(file + 8, "WAVE", 4) != 0)
    goto out;
  for (size_t at = 12; at + 8 <= size;) {
    size_t len = le32(file + at + 4), left = size - at - 8;
    if (memcmp(file + at, "fmt ", 4) == 0) {
      err = read_format(file + at + 8, len < left ? len : left, &fmt);
      if (err)
        goto out;
    } else if (memcmp(file + at, "data", 4) == 0) {
      err = fmt.rate ? to_mono(&fmt, file + at + 8, len < left ? len : left, pcm, n)
                     : CXB_EUNSUPPORTED;
      if (!err)
        *rate = (int)fmt.rate;
      goto out;
    }
    if (len > left)
      break;
    at += 8 + len + (len & 1);
  }
  err = CXB_EUNSUPPORTED;
out:
  free(file);
  return err;
}
