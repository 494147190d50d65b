/* What the JSON wires share: tolerant reading of messages, base64 audio both ways. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buf.h"
#include "leg.h"

enum { CXB_WIRE_ID_LEN = 44 };

/* One message; NULL when it is not a JSON object. The caller decrefs. */
json_t *cxb_wire_parse(const char *data, size_t len);
/* What is done with a kind of message, in the phases (bits 1 << phase) it belongs to. */
typedef struct cxb_wire_taker {
  const char *name;
  unsigned phases;
  int (*take)(cxb_leg *leg, json_t *msg);
} cxb_wire_taker;
#define CXB_ANY_PHASE (~0u)
/* Gives a message to the taker named by its member `key`; one without taker, or out of its phases,
 * is ignored and counted. The taker's result, or CXB_EINVAL: not a JSON object. */
int cxb_wire_take(cxb_leg *leg, const char *data, size_t len, const char *key,
                  const cxb_wire_taker *takers, size_t count, int phase);
/* The same for a message already read. */
int cxb_wire_dispatch(cxb_leg *leg, json_t *msg, const char *key, const cxb_wire_taker *takers,
                      size_t count, int phase);

/* A member that is a string, else `absent` (also when obj is NULL or the type is wrong). */
const char *cxb_wire_str(const json_t *obj, const char *key, const char *absent);
/* A member that is a string, with its length; NULL and 0 when it is none. */
const char *cxb_wire_text(const json_t *obj, const char *key, size_t *len);
/* A member that is a number, else `absent`. */
double cxb_wire_num(const json_t *obj, const char *key, double absent);
/* As above; a text of digits counts too. */
int cxb_wire_int(const json_t *obj, const char *key, int absent);
/* A member that is an object, else NULL. */
json_t *cxb_wire_obj(const json_t *obj, const char *key);
/* obj[key] = value unless the wire gave something there: its fields stay untouched. */
void cxb_wire_set(json_t *obj, const char *key, const char *value);
/* The members of `more` that obj has not. */
void cxb_wire_merge(json_t *obj, const json_t *more);
/* Who called whom, by the word for the direction: caller_id is the customer's number. */
void cxb_wire_numbers(cxb_start *start, const char *direction, const char *from, const char *to);
/* The call begins: our four names join `event` (taken) unless it has them, the handshake is over,
 * start and answer are told. 0 or CXB_ENOMEM. */
int cxb_wire_begin(cxb_leg *leg, const cxb_start *start, json_t *event);
/* "outgoing" for it and for words that begin with "outbound", else "incoming". */
const char *cxb_wire_direction(const char *word);
/* "ws-<uuid>": the stream id of a wire that names none. */
void cxb_wire_make_id(char out[CXB_WIRE_ID_LEN]);
/* Passes the digit on, or ignores and counts it when it is none of 0-9 * # A-D. */
void cxb_wire_dtmf(cxb_leg *leg, const char *digit);

/* Marks on the wire, oldest first: those open at a clear come back as cleared, not as played. */
typedef struct cxb_wire_marks {
  uint32_t open, cleared;
} cxb_wire_marks;
void cxb_wire_mark_sent(cxb_wire_marks *marks);
void cxb_wire_marks_clear(cxb_wire_marks *marks);
/* One came back: true when it had been cleared. */
bool cxb_wire_mark_back(cxb_wire_marks *marks);
