/* A lock between the media thread and threads it comes before: who holds it while the media thread
 * waits runs with the media thread's priority, or a preempted script would hold up a frame. */
#pragma once
#include <pthread.h>
#include <uv.h>

/* For uv_mutex_lock(), uv_mutex_unlock(), uv_mutex_destroy(). 0 or an errno. */
static inline int cxb_lock_init(uv_mutex_t *lock) {
  pthread_mutexattr_t attr;
  int err = pthread_mutexattr_init(&attr);
  if (err)
    return err;
  pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
  err = pthread_mutex_init(lock, &attr);
  pthread_mutexattr_destroy(&attr);
  return err;
}
