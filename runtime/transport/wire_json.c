/* What the JSON wires share. */
#include "wire_json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../base/base64.h"
#include "../base/crypto.h"
#include "../base/err.h"
#include "../media/g711.h"

enum { MAX_AUDIO = 49152 + 4, MAX_FRAME = CXB_MAX_RATE / 1000 * CXB_FRAME_MS };

json_t *cxb_wire_parse(const char *data, size_t len) {
  json_t *doc = json_loadb(data, len, 0, NULL);
  if (doc && !json_is_object(doc)) {
    json_decref(doc);
    return NULL;
  }
  return doc;
}

const char *cxb_wire_str(const json_t *obj, const char *key, const char *absent) {
  const char *value = json_string_value(json_object_get(obj, key));
  return value ? value : absent;
}

const char *cxb_wire_text(const json_t *obj, const char *key, size_t *len) {
  const json_t *value = json_object_get(obj, key);
  *len = json_string_length(value);
  return json_string_value(value);
}

double cxb_wire_num(const json_t *obj, const char *key, double absent) {
  const json_t *value = json_object_get(obj, key);
  return json_is_number(value) ? json_number_value(value) : absent;
}

json_t *cxb_wire_obj(const json_t *obj, const char *key) {
  json_t *value = json_object_get(obj, key);
  return json_is_object(value) ? value : NULL;
}

void cxb_wire_set(json_t *obj, const char *key, const char *value) {
  if (!json_object_get(obj, key))
    json_object_set_new(obj, key, json_string(value));
}

const char *cxb_wire_direction(const char *word) {
  bool out = strcasecmp(word, "outgoing") == 0 || strncasecmp(word, "outbound", 8) == 0;
  return out ? "outgoing" : "incoming";
}

void cxb_wire_make_id(char out[CXB_WIRE_ID_LEN]) {
  char uuid[CXB_UUID_LEN];
  cxb_uuid4(uuid);
  snprintf(out, CXB_WIRE_ID_LEN, "ws-%s", uuid);
}

void cxb_wire_dtmf(cxb_leg *leg, const char *digit) {
  char c = digit[0];
  if (c >= 'a' && c <= 'd')
    c = (char)(c - 'a' + 'A');
  if (c && !digit[1] && strchr("0123456789*#ABCD", c))
    cxb_session_in_dtmf(cxb_leg_session(leg), c);
  else
    cxb_leg_ignore(leg);
}

/* The bytes of a payload; 0: nothing in it (counted), else as cxb_base64_decode(). */
static long audio_bytes(cxb_leg *leg, const char *base64, size_t len, void *out) {
  if (len == 0) {
    cxb_leg_ignore(leg);
    return 0;
  }
  if (len / 4 * 3 + 3 > MAX_AUDIO)
    return CXB_ETOOBIG;
  return cxb_base64_decode(out, base64, len, false);
}

int cxb_wire_pcm_in(cxb_leg *leg, const char *base64, size_t len) {
  int16_t pcm[MAX_AUDIO / 2];
  long n = audio_bytes(leg, base64, len, pcm);
  if (n < 0 || n % 2)
    return CXB_ECORRUPT;
  if (n > 0)
    cxb_session_in_audio(cxb_leg_session(leg), pcm, (size_t)n / 2);
  return 0;
}

int cxb_wire_ulaw_in(cxb_leg *leg, const char *base64, size_t len) {
  uint8_t bytes[MAX_AUDIO];
  int16_t pcm[MAX_FRAME];
  long n = audio_bytes(leg, base64, len, bytes);
  if (n < 0)
    return CXB_ECORRUPT;
  for (long at = 0; at < n;) {
    long some = n - at < MAX_FRAME ? n - at : MAX_FRAME;
    cxb_ulaw_decode(bytes + at, (size_t)some, pcm);
    cxb_session_in_audio(cxb_leg_session(leg), pcm, (size_t)some);
    at += some;
  }
  return 0;
}

static int base64_out(cxb_buf *out, const void *data, size_t len) {
  int r = cxb_buf_reserve(out, CXB_BASE64_LEN(len) + 1);
  if (r < 0)
    return r;
  out->len += cxb_base64_encode(out->data + out->len, data, len);
  return 0;
}

int cxb_wire_pcm_out(cxb_buf *out, const int16_t *pcm, size_t n) {
  return base64_out(out, pcm, n * 2);
}

int cxb_wire_ulaw_out(cxb_buf *out, const int16_t *pcm, size_t n) {
  uint8_t bytes[MAX_FRAME];
  if (n > MAX_FRAME)
    return CXB_EINVAL;
  cxb_ulaw_encode(pcm, n, bytes);
  return base64_out(out, bytes, n);
}

void cxb_wire_mark_sent(cxb_wire_marks *marks) {
  marks->open++;
}

void cxb_wire_marks_clear(cxb_wire_marks *marks) {
  marks->cleared = marks->open;
}

bool cxb_wire_mark_back(cxb_wire_marks *marks) {
  if (marks->open)
    marks->open--;
  if (!marks->cleared)
    return false;
  marks->cleared--;
  return true;
}
