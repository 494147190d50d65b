/* WAV files: reading what people have lying around, and the header the recorder writes. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Reads a RIFF/WAVE file: PCM of 8, 16, 24 or 32 bits, 32-bit float, µ-law or A-law; channels are
 * averaged to one. *pcm is malloc()ed. A data chunk cut short is read as far as it goes.
 * CXB_ENOENT, CXB_EIO, CXB_ENOMEM, CXB_ETOOBIG (> 64 MiB), CXB_EUNSUPPORTED (not a WAV or another
 * encoding). */
int cxb_wav_read(const char *path, int16_t **pcm, size_t *n, int *rate);

#define CXB_WAV_HEADER 44
/* The 44-byte header of a 16-bit file with `data_bytes` of audio. */
void cxb_wav_header(uint8_t out[CXB_WAV_HEADER], int rate, int channels, uint32_t data_bytes);
