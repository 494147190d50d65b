/* Clocks. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "export.h"

int64_t cxb_now_ms(void);  /* UTC, milliseconds since 1970 */
int64_t cxb_mono_ns(void); /* CLOCK_MONOTONIC */
CXB_EXPORT int64_t cxb_mono_ms(void);
#define CXB_ISO_LEN 25
/* "2026-04-24T09:00:00.000Z" and a NUL. */
void cxb_iso_time(char out[CXB_ISO_LEN], int64_t utc_ms);
