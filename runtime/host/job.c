/* Blocking jobs. */
#include "job.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "host.h"
#include "task.h"

typedef struct run {
  uv_work_t req;
  cxb_job *job;
  cxb_wait wait;
} run;

static void on_work(uv_work_t *req) {
  run *r = req->data;
  r->job->work(r->job);
}

static void on_done(uv_work_t *req, int status) {
  (void)status;
  run *r = req->data;
  lua_State *L = cxb_wait_stack(&r->wait);
  int n = L ? r->job->push(r->job, L) : 0;
  r->job->free(r->job);
  cxb_wait wait = r->wait;
  free(r);
  if (L)
    cxb_wait_resume(&wait, n);
}

int cxb_job_run(lua_State *L, cxb_job *job) {
  run *r = calloc(1, sizeof *r);
  if (!r) {
    job->free(job);
    return luaL_error(L, "out of memory");
  }
  r->req.data = r;
  r->job = job;
  uv_queue_work(cxb_loop(), &r->req, on_work, on_done);
  return cxb_task_wait(L, &r->wait, NULL, NULL);
}
