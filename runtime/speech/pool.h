/* A lane of worker threads with a queue of jobs. A job is a part of its owner's memory, so posting
 * cannot fail and the queue is as long as there are owners. */
#pragma once
#include <stdbool.h>

typedef struct cxb_pool cxb_pool;
typedef struct cxb_pool_job cxb_pool_job;

struct cxb_pool_job {
  void (*run)(cxb_pool_job *job); /* on a thread of the lane; the job is the owner's again */
  cxb_pool_job *next;             /* the lane's */
};

/* `idle` (may be NULL) runs on a thread of the lane once after each busy time, a second after its
 * end. CXB_ENOMEM when threads cannot be made. */
int cxb_pool_new(int threads, void (*idle)(void), cxb_pool **out);
/* Queued jobs are run first; nobody may post any more. NULL is ignored. */
void cxb_pool_close(cxb_pool *pool);

/* Takes back a job that has not begun to run; false when it has, or was never posted. */
bool cxb_pool_remove(cxb_pool *pool, cxb_pool_job *job);

/* Runs the job once. It must not be posted again before it has begun to run. Urgent jobs come
 * before the others, in the order of posting. */
void cxb_pool_post(cxb_pool *pool, cxb_pool_job *job, bool urgent);
