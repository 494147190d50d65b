/* Keypad digits: found in the audio, merged with the wire's own events, and made for tests. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_dtmf cxb_dtmf;
typedef void (*cxb_dtmf_cb)(void *arg, char digit);

bool cxb_dtmf_valid(char digit); /* 0-9 * # A-D */

/* Detects digits in audio at `rate` (≥ 8,000 Hz; decimated to 8,000). `cb` from within
 * cxb_dtmf_feed(). CXB_EINVAL, CXB_ENOMEM. */
int cxb_dtmf_new(int rate, cxb_dtmf_cb cb, void *arg, cxb_dtmf **out);
void cxb_dtmf_free(cxb_dtmf *d); /* NULL is fine */
void cxb_dtmf_feed(cxb_dtmf *d, const int16_t *pcm, size_t n);

/* One key press can arrive twice: as tone and as event. Zeroed is empty. */
#define CXB_DTMF_WINDOW_MS 200
typedef struct cxb_dtmf_merge {
  struct {
    int64_t t_ms;
    char digit;
    bool wire, open; /* open: its twin has not come yet */
  } recent[8];
  unsigned next;
} cxb_dtmf_merge;
/* True when this digit is news; false when it is the twin, from the other source and at most
 * 200 ms later, of one already told. Two presses from one source are always two. */
bool cxb_dtmf_merge_add(cxb_dtmf_merge *m, char digit, bool wire, int64_t t_ms);

/* Writes the tones of `digits` at `rate` (each `on_ms` long, `off_ms` apart, each tone `level`
 * dBm0); *pcm is malloc()ed. CXB_EINVAL for a letter that is no digit. */
int cxb_dtmf_generate(const char *digits, int rate, int on_ms, int off_ms, double level,
                      int16_t **pcm, size_t *n);
