/* The outline of a recording, for drawing it: of each of a number of equal parts the least and the
 * greatest sample of each channel. The file comes in pieces of any size; nothing of it is kept. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"

typedef struct cxb_peaks cxb_peaks;

/* `points` parts; `file_bytes` of the whole file, for a header that does not know its length. NULL:
 * no memory. */
cxb_peaks *cxb_peaks_new(int points, int64_t file_bytes);
void cxb_peaks_free(cxb_peaks *peaks);
/* The next bytes of a WAV file of 16-bit PCM. CXB_EUNSUPPORTED: it is none; CXB_ENOMEM. */
int cxb_peaks_feed(cxb_peaks *peaks, const void *data, size_t len);
/* {"duration":seconds,"channels":[[min,max,…],…]}, samples as -128…127; parts that never came are
 * 0. CXB_EUNSUPPORTED: the header was not whole; CXB_ENOMEM. */
int cxb_peaks_json(const cxb_peaks *peaks, cxb_buf *out);
/* The same of a file, blocking. CXB_ENOENT, CXB_EIO and the above. */
int cxb_peaks_of_file(const char *path, int points, cxb_buf *out);
