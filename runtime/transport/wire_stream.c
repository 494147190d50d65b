/* What the carriers' media streams share. */
#include "wire_stream.h"

#include <string.h>

#include "wire_json.h"
#include "wire_scan.h"

bool cxb_stream_quick_media(cxb_leg *leg, const char *data, size_t len, cxb_codec codec,
                            bool tracked, int *r) {
  enum { EVENT, PAYLOAD, TRACK, COUNT };
  cxb_scan found[COUNT] = {[EVENT] = {.name = "event"},
                           [PAYLOAD] = {.outer = "media", .name = "payload"},
                           [TRACK] = {.outer = "media", .name = "track"}};
  if (!cxb_scan_object(data, len, found, tracked ? COUNT : TRACK) ||
      !cxb_scan_is(&found[EVENT], "media") || !found[PAYLOAD].value ||
      (tracked && !cxb_scan_is(&found[TRACK], "inbound")))
    return false;
  *r = cxb_wire_base64_in(leg, codec, found[PAYLOAD].value, found[PAYLOAD].len);
  return true;
}

int cxb_stream_take_dtmf(cxb_leg *leg, json_t *msg) {
  cxb_wire_dtmf(leg, cxb_wire_str(cxb_wire_obj(msg, "dtmf"), "digit", ""));
  return 0;
}

int cxb_stream_take_mark(cxb_leg *leg, json_t *msg) {
  return cxb_stream_played(leg, cxb_wire_str(cxb_wire_obj(msg, "mark"), "name", ""));
}

int cxb_stream_take_cleared(cxb_leg *leg, json_t *msg) {
  (void)msg;
  cxb_session_in_alive(cxb_leg_session(leg));
  return 0;
}

int cxb_stream_played(cxb_leg *leg, const char *name) {
  if (!*name)
    return cxb_leg_ignore(leg);
  cxb_session_in_mark(cxb_leg_session(leg), name, -1, false);
  return 0;
}

int cxb_stream_send_media(cxb_leg *leg, cxb_buf *out, cxb_codec codec, const int16_t *pcm,
                          size_t n) {
  int r = cxb_wire_base64_out(out, codec, pcm, n);
  if (!r)
    r = cxb_buf_add(out, "\"}}", 3);
  return r < 0 ? r : cxb_leg_send_text(leg, out->data, out->len);
}

int cxb_stream_send_name(cxb_leg *leg, cxb_buf *out, const char *name, const char *tail) {
  int r = cxb_buf_json(out, name, strlen(name));
  if (!r)
    r = cxb_buf_str(out, tail);
  return r < 0 ? r : cxb_leg_send_text(leg, out->data, out->len);
}
