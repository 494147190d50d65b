/* What the JSON wires share. */
#include "wire_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/crypto.h"
#include "../base/err.h"

json_t *cxb_wire_parse(const char *data, size_t len) {
  json_t *doc = json_loadb(data, len, 0, NULL);
  if (doc && !json_is_object(doc)) {
    json_decref(doc);
    return NULL;
  }
  return doc;
}

int cxb_wire_dispatch(cxb_leg *leg, json_t *msg, const char *key, const cxb_wire_taker *takers,
                      size_t count, int phase) {
  const char *name = cxb_wire_str(msg, key, "");
  size_t i = 0;
  while (i < count && strcmp(takers[i].name, name) != 0)
    i++;
  if (i < count && (takers[i].phases >> phase & 1))
    return takers[i].take(leg, msg);
  return cxb_leg_ignore(leg);
}

int cxb_wire_take(cxb_leg *leg, const char *data, size_t len, const char *key,
                  const cxb_wire_taker *takers, size_t count, int phase) {
  json_t *msg = cxb_wire_parse(data, len);
  if (!msg)
    return CXB_EINVAL;
  int r = cxb_wire_dispatch(leg, msg, key, takers, count, phase);
  json_decref(msg);
  return r;
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

int cxb_wire_int(const json_t *obj, const char *key, int absent) {
  const json_t *value = json_object_get(obj, key);
  const char *text = json_string_value(value);
  double n = json_is_number(value) ? json_number_value(value) : absent;
  if (text && *text) {
    char *end;
    n = strtod(text, &end);
    if (*end)
      return absent;
  }
  return n >= -1e9 && n <= 1e9 && n == (int)n ? (int)n : absent;
}

json_t *cxb_wire_obj(const json_t *obj, const char *key) {
  json_t *value = json_object_get(obj, key);
  return json_is_object(value) ? value : NULL;
}

void cxb_wire_set(json_t *obj, const char *key, const char *value) {
  if (!json_object_get(obj, key))
    json_object_set_new(obj, key, json_string(value));
}

void cxb_wire_merge(json_t *obj, const json_t *more) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)more, key, value) {
    if (!json_object_get(obj, key))
      json_object_set(obj, key, value);
  }
}

const char *cxb_wire_direction(const char *word) {
  bool out = strcasecmp(word, "outgoing") == 0 || strncasecmp(word, "outbound", 8) == 0;
  return out ? "outgoing" : "incoming";
}

void cxb_wire_numbers(cxb_start *start, const char *direction, const char *from, const char *to) {
  start->direction = cxb_wire_direction(direction);
  bool out = strcmp(start->direction, "outgoing") == 0;
  start->caller_id = out ? to : from;
  start->did = out ? from : to;
  start->from_number = out ? from : NULL;
}

int cxb_wire_begin(cxb_leg *leg, const cxb_start *start, json_t *event) {
  cxb_wire_set(event, "callerId", start->caller_id);
  cxb_wire_set(event, "did", start->did);
  cxb_wire_set(event, "callDirection", start->direction);
  cxb_wire_set(event, "streamId", start->stream_id);
  char *text = json_dumps(event, JSON_COMPACT);
  cxb_start s = *start;
  s.connected_event = text;
  if (text) {
    cxb_leg_handshake_done(leg);
    cxb_session_in_start(cxb_leg_session(leg), &s);
    cxb_session_in_answer(cxb_leg_session(leg));
  }
  json_decref(event);
  free(text);
  return text ? 0 : CXB_ENOMEM;
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
