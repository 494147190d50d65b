/* Between leg.c (what every leg does) and what carries it: a socket, or nothing (detached). */
#pragma once
#include "leg.h"

enum { CXB_LEG_HANDSHAKE, CXB_LEG_ANSWER, CXB_LEG_SERIALIZER, CXB_LEG_TIMERS };

/* What carries a leg. All on the leg's thread. */
typedef struct cxb_leg_link {
  int (*send)(cxb_leg *leg, bool binary, const void *data, size_t len);
  /* Begins the close; cxb_leg_gone() follows. */
  void (*close)(cxb_leg *leg, int code, const char *reason);
  int64_t (*now)(const cxb_leg *leg);
  /* Calls cxb_leg_fire_due() at `next` (of now()); 0: no more. Replaces what was asked before. */
  void (*wake_at)(cxb_leg *leg, int64_t next);
  /* The session let go and the far end is gone: frees the leg, now or soon. */
  void (*free)(cxb_leg *leg);
} cxb_leg_link;

struct cxb_leg {
  const cxb_serializer *ser;
  const cxb_leg_link *link;
  cxb_session *session;
  cxb_leg_options options;
  cxb_wire ops;
  void *state;                      /* the serializer's */
  int64_t deadline[CXB_LEG_TIMERS]; /* 0: none */
  cxb_leg_counts own, *counts;      /* counts: own, or the caller's */
  int close_code;                   /* 0: not closing */
  char close_reason[124];
  bool gone, released;
};

/* Fills a zeroed leg. CXB_ENOMEM. */
int cxb_leg_init(cxb_leg *leg, const cxb_serializer *ser, const cxb_leg_link *link,
                 cxb_session *session, const cxb_leg_options *options);
void cxb_leg_fini(cxb_leg *leg);
/* Attaches the wire and starts the handshake's clock. */
void cxb_leg_begin(cxb_leg *leg);
void cxb_leg_opened(cxb_leg *leg, const char *query);
void cxb_leg_message(cxb_leg *leg, bool binary, const void *data, size_t len);
void cxb_leg_fire_due(cxb_leg *leg);
/* The far end is gone: the last thing a leg does for its session, which may release it inside. */
void cxb_leg_gone(cxb_leg *leg, int code, const char *reason);
