/* The vocabulary of the speech-to-text model: token numbers to text. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct cxb_vocab cxb_vocab;

/* Reads a file written by models/vocab.mjs: "CXBV", count (32-bit little-endian), then one length
 * byte and the token's UTF-8 bytes for each. CXB_ENOENT, CXB_ECORRUPT, CXB_ENOMEM. */
int cxb_vocab_open(const char *path, cxb_vocab **out);
/* The same from memory; `data` is borrowed for the call. */
int cxb_vocab_parse(const uint8_t *data, size_t len, cxb_vocab **out);
void cxb_vocab_close(cxb_vocab *vocab);
size_t cxb_vocab_count(const cxb_vocab *vocab);

/* The tokens the model would write `text` in: of the pairs that make a token, the one with the
 * lowest number is merged first, as in SentencePiece's byte-pair encoding. A space is put in front.
 * At most `max` tokens; answers their count, 0 when `text` is empty, too long (120 bytes) or has no
 * tokens. */
size_t cxb_vocab_encode(const cxb_vocab *vocab, const char *text, int64_t *tokens, size_t max);

/* Text of `n` tokens into `out` (NUL-terminated, cut to fit at a character's edge); answers its
 * length. Word marks (U+2581) become spaces, byte tokens (<0x41>) bytes, control tokens (0–2) and
 * unknown numbers nothing; bytes that are no UTF-8 are dropped, as are spaces at both ends. */
size_t cxb_vocab_text(const cxb_vocab *vocab, const int64_t *tokens, size_t n, char *out,
                      size_t size);
