/* Judges a transfer by the caller's media. */
#include "wire_transfer.h"

enum { LATE_MS = 10000, QUIET_MS = 2000 };

void cxb_wire_transfer_begin(cxb_wire_transfer *t, cxb_leg *leg) {
  t->began = cxb_leg_now(leg);
  cxb_leg_timer(leg, QUIET_MS);
}

void cxb_wire_transfer_media(cxb_wire_transfer *t, const cxb_leg *leg) {
  t->media_at = cxb_leg_now(leg);
}

void cxb_wire_transfer_end(cxb_wire_transfer *t, cxb_leg *leg, bool ok, const char *reason) {
  if (!t->began)
    return;
  t->began = 0;
  cxb_leg_timer(leg, 0);
  cxb_session_in_transfer(cxb_leg_session(leg), ok, reason);
}

void cxb_wire_transfer_look(cxb_wire_transfer *t, cxb_leg *leg) {
  if (!t->began)
    return;
  int64_t now = cxb_leg_now(leg);
  int64_t quiet_since = t->media_at > t->began ? t->media_at : t->began;
  int64_t gone_at = quiet_since + QUIET_MS, late_at = t->began + LATE_MS;
  if (now >= gone_at)
    cxb_wire_transfer_end(t, leg, true, "media_stopped");
  else if (now >= late_at)
    cxb_wire_transfer_end(t, leg, false, "timeout");
  else
    cxb_leg_timer(leg, (int)((gone_at < late_at ? gone_at : late_at) - now));
}
