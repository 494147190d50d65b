/* A blocking job on libuv's thread pool that a task waits for. */
#pragma once
#include <lua.h>
#include <uv.h>

#include "../base/export.h"

typedef struct cxb_job cxb_job;
struct cxb_job {
  void (*work)(cxb_job *job); /* on a pool thread */
  int (*push)(cxb_job *job,
              lua_State *L);  /* on the main loop: pushes results, returns their count */
  void (*free)(cxb_job *job); /* main loop, always, last */
};

/* Runs it and waits: `return cxb_job_run(L, &mine->job)`. The job may outlive the waiting task. */
CXB_EXPORT int cxb_job_run(lua_State *L, cxb_job *job);

/* A kind of job of which at most `max` run at once, so that it cannot fill the pool: the others
 * wait their turn, and one whose task is gone by then is dropped. Static; main loop only. */
typedef struct cxb_job_cap {
  int max, running;
  struct cxb_job_run *first, *last;
} cxb_job_cap;
CXB_EXPORT int cxb_job_run_capped(lua_State *L, cxb_job *job, cxb_job_cap *cap);

/* Starts uv's pool with UV_THREADPOOL_SIZE threads; default 4, and 8 more for the jobs of a MongoDB
 * (MONGODB_URI). uv reads that variable at its first job; children do not inherit our default. */
void cxb_pool_start(uv_loop_t *loop);
CXB_EXPORT int cxb_pool_size(void);
