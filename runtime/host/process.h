/* The life of the process: command line, loop, signals, drain. */
#pragma once
#include "host.h"

int cxb_process_main(int argc, char **argv);

/* Begins a reload (SIGHUP); `done(arg, error)` once the outcome is known: NULL when the new
 * generation serves, else why the old one goes on. Reloads asked for meanwhile are one. */
void cxb_process_reload(void (*done)(void *arg, const char *error), void *arg);
void cxb_process_drain(bool on); /* no new calls; `false` takes them again */
void cxb_process_exit(int code); /* a tool's end, or a start that was refused */
/* When the last reload failed, its error; else "". */
const char *cxb_process_reload_error(void);
/* The longest turn of the loop since the last call, ms: what came during it had to wait. */
double cxb_process_loop_lag(void);
/* Hook of net: stop accepting, because the process will end. */
extern void (*cxb_process_on_stop_listening)(void);
/* Hook of net: how many requests are still being answered. */
extern int (*cxb_process_active_requests)(void);
/* Hook of net: listen on one address for HTTP; the listener lives as long as the process. Writes
 * the cause to `why` on failure. */
extern int (*cxb_process_listen)(const char *addr, int mode, char *why, size_t why_len);
/* Hook of transport: the same for AudioSocket calls; `entry` is the listener's table on L. */
extern int (*cxb_process_listen_audiosocket)(lua_State *L, int entry, const char *addr, char *why,
                                             size_t why_len);
