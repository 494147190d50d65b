/* CRC-32C by a table made at the first use. */
#include "crc32c.h"

#include <pthread.h>

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++)
      c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
    table[i] = c;
  }
}

uint32_t cxb_crc32c(uint32_t crc, const void *data, size_t len) {
  pthread_once(&once, make_table);
  const unsigned char *p = data;
  crc = ~crc;
  while (len--)
    crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
  return ~crc;
}
