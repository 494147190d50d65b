/* What the two bindings of this room share: the engine and the way from its threads to the loop. */
#pragma once
#include <lua.h>
#include <stdbool.h>

#include "engine.h"

/* NULL until cxb.speech.load() has succeeded. */
cxb_engine *cxb_speech_engine(void);

/* Something that gets news from the engine's threads. */
typedef struct cxb_speech_mail cxb_speech_mail;
struct cxb_speech_mail {
  void (*deliver)(cxb_speech_mail *mail); /* on the main loop, some time after each waking */
  void (*stop)(cxb_speech_mail *mail);    /* on the main loop: the engine is about to be closed */
  cxb_speech_mail *next, *prev, *next_ready;
  bool ready;
};

/* Main loop only: from enrol to dismiss the mail may be woken, from any thread. */
void cxb_speech_enrol(cxb_speech_mail *mail);
void cxb_speech_dismiss(cxb_speech_mail *mail);
void cxb_speech_wake(cxb_speech_mail *mail);

/* Adds recognizer() to the table on top of the stack. */
void cxb_speech_open_recognizer(lua_State *L);
/* Adds say() to it. */
void cxb_speech_open_say(lua_State *L);
