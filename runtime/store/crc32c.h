/* CRC-32C (Castagnoli, RFC 3720 appendix B.4). */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Of `len` bytes that follow what `crc` was made of; 0 to begin. */
uint32_t cxb_crc32c(uint32_t crc, const void *data, size_t len);
