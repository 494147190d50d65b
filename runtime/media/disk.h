/* One job at a time on a thread of its own, for a loop that must not wait for a disk.
 *
 * uv_queue_work() will not do for a loop that runs in real time: a thread of the pool wakes it
 * while it holds a lock the loop needs next, and is then kept from running by the very loop. Here
 * nothing but two eventfds lies between the two. */
#pragma once
#include <uv.h>

typedef struct cxb_disk cxb_disk;

/* `work` runs on the thread, then `done` on the loop. CXB_ENOMEM. */
int cxb_disk_new(uv_loop_t *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg,
                 cxb_disk **out);
/* Begins the job; not while one is under way. */
void cxb_disk_run(cxb_disk *d);
/* Not while a job is under way, but inside `done` it may be. Frees; then `closed` on the loop. */
void cxb_disk_close(cxb_disk *d, void (*closed)(void *arg));
