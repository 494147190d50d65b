/* Messages of a wire that does not keep their order: numbered audio, put right within 60 ms. Uses
 * the serializer's timer. */
#pragma once
#include "wire_audio.h"

enum { CXB_ORDER_SLOTS = 16 };

typedef struct cxb_order_slot {
  cxb_buf audio; /* empty: free */
  int number;
  int64_t at; /* when it came */
} cxb_order_slot;

typedef struct cxb_order {
  bool begun;
  int next; /* the number that is awaited */
  cxb_order_slot slots[CXB_ORDER_SLOTS];
} cxb_order; /* zeroed */

/* One message: passed on in its turn, kept until then, or ignored and counted when its turn is
 * over. As cxb_wire_base64_in(). */
int cxb_order_in(cxb_order *o, cxb_leg *leg, cxb_codec codec, int number, const char *base64,
                 size_t len);
/* The serializer's timer ran out: what is missing is waited for no longer. */
void cxb_order_late(cxb_order *o, cxb_leg *leg, cxb_codec codec);
void cxb_order_free(cxb_order *o);
