/* Blocking jobs. */
#include "job.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "host.h"
#include "task.h"

typedef struct cxb_job_run run;
struct cxb_job_run {
  uv_work_t req;
  cxb_job *job;
  cxb_wait wait;
  cxb_job_cap *cap; /* NULL: none */
  run *next;        /* while it waits its turn */
};

static void start(run *r);

static void on_work(uv_work_t *req) {
  run *r = req->data;
  r->job->work(r->job);
}

static void drop(run *r) {
  r->job->free(r->job);
  free(r);
}

static void start_next(cxb_job_cap *cap) {
  while (cap->first && cap->running < cap->max) {
    run *r = cap->first;
    cap->first = r->next;
    if (!cap->first)
      cap->last = NULL;
    if (cxb_wait_stack(&r->wait))
      start(r);
    else
      drop(r);
  }
}

static void on_done(uv_work_t *req, int status) {
  (void)status;
  run *r = req->data;
  lua_State *L = cxb_wait_stack(&r->wait);
  int n = L ? r->job->push(r->job, L) : 0;
  cxb_wait wait = r->wait;
  cxb_job_cap *cap = r->cap;
  drop(r);
  if (cap) {
    cap->running--;
    start_next(cap);
  }
  if (L)
    cxb_wait_resume(&wait, n);
}

static void start(run *r) {
  if (r->cap)
    r->cap->running++;
  uv_queue_work(cxb_loop(), &r->req, on_work, on_done);
}

static void enqueue(run *r) {
  if (r->cap->last)
    r->cap->last->next = r;
  else
    r->cap->first = r;
  r->cap->last = r;
}

int cxb_job_run_capped(lua_State *L, cxb_job *job, cxb_job_cap *cap) {
  run *r = calloc(1, sizeof *r);
  if (!r) {
    job->free(job);
    return luaL_error(L, "out of memory");
  }
  r->req.data = r;
  r->job = job;
  r->cap = cap;
  if (cap && cap->running >= cap->max)
    enqueue(r);
  else
    start(r);
  return cxb_task_wait(L, &r->wait, NULL, NULL);
}

int cxb_job_run(lua_State *L, cxb_job *job) {
  return cxb_job_run_capped(L, job, NULL);
}

/* ---- the pool ---- */

static int pool_size;

static void no_work(uv_work_t *req) {
  (void)req;
}

void cxb_pool_start(uv_loop_t *loop) {
  static uv_work_t first;
  const char *given = getenv("UV_THREADPOOL_SIZE");
  pool_size = given ? atoi(given) : getenv("MONGODB_URI") ? 12 : 4;
  if (!given) {
    char text[8];
    snprintf(text, sizeof text, "%d", pool_size);
    setenv("UV_THREADPOOL_SIZE", text, 1);
  }
  uv_queue_work(loop, &first, no_work, NULL);
  if (!given)
    unsetenv("UV_THREADPOOL_SIZE");
}

int cxb_pool_size(void) {
  return pool_size;
}
