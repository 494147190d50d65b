#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "../base/err.h"

enum { MAX_THREADS = 16, IDLE_SECONDS = 1 };

typedef struct job_queue {
  cxb_pool_job *first, **last;
} job_queue;

struct cxb_pool {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  job_queue urgent, normal;
  void (*idle)(void);
  bool closing, busy_since_idle;
  int running;
  int nthreads;
  pthread_t threads[MAX_THREADS];
};

static void queue_push(job_queue *queue, cxb_pool_job *job) {
  job->next = NULL;
  *queue->last = job;
  queue->last = &job->next;
}

static cxb_pool_job *queue_pop(job_queue *queue) {
  cxb_pool_job *job = queue->first;
  if (job) {
    queue->first = job->next;
    if (!queue->first)
      queue->last = &queue->first;
  }
  return job;
}

/* Waits for a job, an idle second or the end; NULL for the latter two. Holds the lock. */
static cxb_pool_job *wait_for_job(cxb_pool *pool, bool *idle) {
  *idle = false;
  for (;;) {
    cxb_pool_job *job = queue_pop(&pool->urgent);
    if (!job)
      job = queue_pop(&pool->normal);
    if (job || pool->closing)
      return job;
    if (!pool->idle || !pool->busy_since_idle) {
      pthread_cond_wait(&pool->wake, &pool->lock);
      continue;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    int err = pthread_cond_timedwait(&pool->wake, &pool->lock, &until);
    if (err == ETIMEDOUT && pool->running == 0 && pool->busy_since_idle && !pool->urgent.first &&
        !pool->normal.first) {
      pool->busy_since_idle = false;
      *idle = true;
      return NULL;
    }
  }
}

static void *work(void *arg) {
  cxb_pool *pool = arg;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    bool idle;
    cxb_pool_job *job = wait_for_job(pool, &idle);
    if (!job && !idle)
      break;
    pool->running++;
    pthread_mutex_unlock(&pool->lock);
    if (job)
      job->run(job);
    else
      pool->idle();
    pthread_mutex_lock(&pool->lock);
    pool->running--;
    if (job)
      pool->busy_since_idle = true;
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

static int start_threads(cxb_pool *pool, int threads) {
  sigset_t all, before;
  sigfillset(&all); /* signals are the main thread's */
  pthread_sigmask(SIG_BLOCK, &all, &before);
  while (pool->nthreads < threads &&
         pthread_create(&pool->threads[pool->nthreads], NULL, work, pool) == 0)
    pool->nthreads++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return pool->nthreads == threads ? 0 : CXB_ENOMEM;
}

int cxb_pool_new(int threads, void (*idle)(void), cxb_pool **out) {
  if (threads < 1 || threads > MAX_THREADS)
    return CXB_EINVAL;
  cxb_pool *pool = calloc(1, sizeof *pool);
  if (!pool)
    return CXB_ENOMEM;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&pool->wake, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&pool->lock, NULL);
  pool->urgent.last = &pool->urgent.first;
  pool->normal.last = &pool->normal.first;
  pool->idle = idle;
  int err = start_threads(pool, threads);
  if (err) {
    cxb_pool_close(pool);
    return err;
  }
  *out = pool;
  return 0;
}

void cxb_pool_close(cxb_pool *pool) {
  if (!pool)
    return;
  pthread_mutex_lock(&pool->lock);
  pool->closing = true;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (int i = 0; i < pool->nthreads; i++)
    pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

void cxb_pool_post(cxb_pool *pool, cxb_pool_job *job, bool urgent) {
  pthread_mutex_lock(&pool->lock);
  queue_push(urgent ? &pool->urgent : &pool->normal, job);
  pthread_cond_signal(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
}

static bool queue_remove(job_queue *queue, cxb_pool_job *job) {
  for (cxb_pool_job **at = &queue->first; *at; at = &(*at)->next) {
    if (*at != job)
      continue;
    *at = job->next;
    if (!job->next)
      queue->last = at;
    return true;
  }
  return false;
}

bool cxb_pool_remove(cxb_pool *pool, cxb_pool_job *job) {
  pthread_mutex_lock(&pool->lock);
  bool removed = queue_remove(&pool->urgent, job) || queue_remove(&pool->normal, job);
  pthread_mutex_unlock(&pool->lock);
  return removed;
}
