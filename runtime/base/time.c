/* Clocks. */
#include "time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_ns(clockid_t id) {
  struct timespec ts;
  clock_gettime(id, &ts);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t cxb_now_ms(void) {
  return clock_ns(CLOCK_REALTIME) / 1000000;
}

int64_t cxb_mono_ns(void) {
  return clock_ns(CLOCK_MONOTONIC);
}

int64_t cxb_mono_ms(void) {
  return cxb_mono_ns() / 1000000;
}

void cxb_iso_time(char out[CXB_ISO_LEN], int64_t utc_ms) {
  time_t s = (time_t)(utc_ms / 1000);
  int ms = (int)(utc_ms % 1000);
  if (ms < 0) {
    ms += 1000;
    s--;
  }
  struct tm tm;
  if (!gmtime_r(&s, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
    snprintf(out, CXB_ISO_LEN, "1970-01-01T00:00:00.000Z");
    return;
  }
  char day[21];
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
  memcpy(out, day, 19);
  out[19] = '.';
  out[20] = (char)('0' + ms / 100);
  out[21] = (char)('0' + ms / 10 % 10);
  out[22] = (char)('0' + ms % 10);
  memcpy(out + 23, "Z", 2);
}
