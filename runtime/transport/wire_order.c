/* A short sorter: the awaited message passes at once, later ones wait for it. */
#include "wire_order.h"

#include "../base/base64.h"
#include "../base/err.h"

enum { WAIT_MS = 60 };

static void pass(cxb_order_slot *slot, cxb_leg *leg, cxb_codec codec) {
  cxb_wire_bytes_in(leg, codec, slot->audio.data, slot->audio.len);
  cxb_buf_clear(&slot->audio);
}

static cxb_order_slot *slot_of(cxb_order *o, int number) {
  return &o->slots[number % CXB_ORDER_SLOTS];
}

/* Passes on what follows without a gap. */
static void pass_run(cxb_order *o, cxb_leg *leg, cxb_codec codec) {
  for (cxb_order_slot *s; (s = slot_of(o, o->next))->audio.len && s->number == o->next; o->next++)
    pass(s, leg, codec);
}

/* The first that waits; NULL: none. */
static cxb_order_slot *first(cxb_order *o) {
  for (int i = 0; i < CXB_ORDER_SLOTS; i++) {
    cxb_order_slot *s = slot_of(o, o->next + i);
    if (s->audio.len)
      return s;
  }
  return NULL;
}

static void set_timer(const cxb_order *o, cxb_leg *leg) {
  int64_t oldest = INT64_MAX;
  for (int i = 0; i < CXB_ORDER_SLOTS; i++)
    if (o->slots[i].audio.len && o->slots[i].at < oldest)
      oldest = o->slots[i].at;
  int64_t left = oldest == INT64_MAX ? 0 : oldest + WAIT_MS - cxb_leg_now(leg);
  cxb_leg_timer(leg, oldest == INT64_MAX ? 0 : left > 0 ? (int)left : 1);
}

void cxb_order_late(cxb_order *o, cxb_leg *leg, cxb_codec codec) {
  for (cxb_order_slot *s; (s = first(o)) && s->at + WAIT_MS <= cxb_leg_now(leg);) {
    o->next = s->number;
    pass_run(o, leg, codec);
  }
  set_timer(o, leg);
}

static int keep(cxb_order_slot *slot, int64_t now, cxb_codec codec, int number, const char *base64,
                size_t len) {
  int r = cxb_buf_reserve(&slot->audio, len / 4 * 3 + 4);
  if (r < 0)
    return r;
  long n = cxb_base64_decode(slot->audio.data, base64, len, false);
  if (n < 0 || n % (long)cxb_codec_width(codec))
    return CXB_ECORRUPT;
  slot->audio.len = (size_t)n;
  slot->number = number;
  slot->at = now;
  return 0;
}

int cxb_order_in(cxb_order *o, cxb_leg *leg, cxb_codec codec, int number, const char *base64,
                 size_t len) {
  if (number < 0 || number > 1 << 30)
    return cxb_wire_base64_in(leg, codec, base64, len);
  if (!o->begun) { /* the first two may have changed places */
    o->begun = true;
    o->next = number == 2 ? 1 : number;
  }
  while (number >= o->next + CXB_ORDER_SLOTS) { /* no place to keep it: waiting is over */
    cxb_order_slot *s = first(o);
    o->next = s ? s->number : number;
    pass_run(o, leg, codec);
  }
  int r = 0;
  cxb_order_slot *slot = slot_of(o, number);
  if (number == o->next) {
    r = cxb_wire_base64_in(leg, codec, base64, len);
    o->next++;
    pass_run(o, leg, codec);
  } else if (number < o->next || slot->audio.len || len == 0) {
    cxb_leg_ignore(leg);
  } else {
    r = keep(slot, cxb_leg_now(leg), codec, number, base64, len);
  }
  set_timer(o, leg);
  return r;
}

void cxb_order_free(cxb_order *o) {
  for (int i = 0; i < CXB_ORDER_SLOTS; i++)
    cxb_buf_free(&o->slots[i].audio);
}
