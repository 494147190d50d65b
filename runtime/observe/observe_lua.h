/* Shared by the bindings of this room. */
#pragma once
#include "scoreboard.h"

cxb_scoreboard *cxb_scoreboard_process(void); /* the one this process attached to, or NULL */
