/* Between call_lua.c (a call's life) and leg_lua.c (what its object can do). Main loop only. */
#pragma once
#include <lua.h>

#include "../host/task.h"
#include "leg.h"

#define CXB_LEG_MT "cxb.leg"

/* One call. Lives while the script's object or the session does. */
typedef struct cxb_call {
  struct cxb_call *next;
  const cxb_serializer *ser;
  cxb_session *session; /* NULL: freed */
  lua_State *L;         /* the generation's; NULL: the object was collected */
  int *queue;           /* registry references of events not yet read */
  size_t first, count, cap;
  cxb_leg_counts counts;
  cxb_wait reader, closer;
  bool reading; /* reader waits */
  bool closing; /* leg:close(), or the object was collected */
  bool holds_slot;
  bool closed;    /* CXB_EV_CLOSED was queued */
  uint64_t owner; /* the task that used it last */
  int orphan_ms;  /* for how long that task has been gone */
} cxb_call;

/* A call of `gen` with its session, not yet on any socket; pushes its object on L. CXB_ENOMEM. */
int cxb_call_new(lua_State *L, cxb_generation *gen, const cxb_serializer *ser, int timeout_s,
                 cxb_call **out);
cxb_media *cxb_call_media(void); /* the media loop; made by the first call */
/* The call is on its socket: it holds the slot that was taken for it, and is watched. */
void cxb_call_hold_slot(cxb_call *c);
/* Takes the value on top of L (a stack of the generation) to the reader, or keeps it for one. */
void cxb_call_offer(cxb_call *c, lua_State *L);
/* Closes the session; idempotent. */
void cxb_call_end(cxb_call *c);
/* Makes the metatables of the leg object (a userdata holding one cxb_call *) and of sinks. */
void cxb_leg_lua_open(lua_State *L, lua_CFunction leg_gc);
