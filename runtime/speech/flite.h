/* Text to speech: flite, loaded at run time with its voices. English, 16-bit mono.
 * Not for several threads at once. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_flite cxb_flite;

/* Takes `n` samples at `rate` Hz; anything but 0 stops the synthesis. */
typedef int (*cxb_flite_chunk)(void *arg, const int16_t *pcm, size_t n, int rate);

/* CXB_ENOENT when the library or every voice is missing. */
int cxb_flite_open(cxb_flite **out);
void cxb_flite_close(cxb_flite *flite);

/* The name of the n-th voice that can be used, from 0; NULL after the last. The first one is the
 * default. */
const char *cxb_flite_voice(const cxb_flite *flite, size_t n);

/* Speaks ASCII text: `chunk` is called with each piece as it is made. `voice` NULL: the default.
 * `speed`: 0.5 … 2.0 times the voice's own. CXB_ENOENT: no such voice; CXB_EINVAL: speed;
 * CXB_ECANCELED: chunk stopped it. */
int cxb_flite_say(cxb_flite *flite, const char *voice, double speed, const char *text,
                  cxb_flite_chunk chunk, void *arg);
