/* One chunk of speech to text, with what makes short words work. */
#pragma once
#include "moonshine.h"

#include <stdint.h>

/* `pcm`: 16 kHz speech, at most 28 s. As cxb_moonshine_transcribe(). */
int cxb_decode(const cxb_moonshine *moonshine, const int16_t *pcm, size_t n, const cxb_hints *hints,
               const atomic_bool *cancel, cxb_transcript *out);
