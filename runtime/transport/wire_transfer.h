/* A transfer asked for on the wire, of which the far end may say nothing: media that stops for 2 s
 * means that the caller has left us, media that still flows after 10 s that nobody took them. Uses
 * the serializer's timer while it is under way. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "leg.h"

typedef struct cxb_wire_transfer {
  int64_t began;     /* 0: none under way */
  int64_t media_at;  /* when the caller was heard last */
} cxb_wire_transfer; /* zeroed */

void cxb_wire_transfer_begin(cxb_wire_transfer *t, cxb_leg *leg);
void cxb_wire_transfer_media(cxb_wire_transfer *t, const cxb_leg *leg);
/* Tells the session its outcome, once; nothing when none is under way. */
void cxb_wire_transfer_end(cxb_wire_transfer *t, cxb_leg *leg, bool ok, const char *reason);
/* The serializer's timer ran out. */
void cxb_wire_transfer_look(cxb_wire_transfer *t, cxb_leg *leg);
