/* For tests of the net room: child processes that play the other side, and loops with a deadline.
 */
#pragma once
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

/* Where the peers' scripts are (CMakeLists.txt names the folder). */
static const char peer_dir[] = CXB_SPEC_C_DIR;

/* Who waits in vain fails anyway; a busy machine is slow. */
enum { PEER_PATIENCE_MS = 30000 };

static inline void peer_setup(void) {
  signal(SIGPIPE, SIG_IGN);
}

static inline void peer_tick(uv_timer_t *timer) {
}

/* Turns the loop until `done(arg)` or fails after `ms`. */
static inline void peer_run_until(uv_loop_t *loop, bool (*done)(void *arg), void *arg,
                                  uint64_t ms) {
  uv_timer_t tick;
  uv_timer_init(loop, &tick);
  uv_timer_start(&tick, peer_tick, 5, 5);
  uv_update_time(loop);
  uint64_t end = uv_now(loop) + ms;
  while (!done(arg) && uv_now(loop) < end)
    uv_run(loop, UV_RUN_ONCE);
  bool in_time = done(arg);
  uv_close((uv_handle_t *)&tick, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
  assert_true(in_time);
}

/* Nothing may be left on the loop. */
static inline void peer_loop_close(uv_loop_t *loop) {
  for (int i = 0; i < 100 && uv_loop_alive(loop); i++)
    uv_run(loop, UV_RUN_NOWAIT);
  assert_int_equal(uv_loop_close(loop), 0);
}

typedef struct peer_process {
  uv_process_t process;
  bool exited;
  int64_t status;
} peer_process;

static inline void peer_on_exit(uv_process_t *process, int64_t status, int signal_number) {
  peer_process *p = process->data;
  p->exited = true;
  p->status = signal_number ? 128 + signal_number : status;
}

static inline bool peer_exited(void *arg) {
  return ((peer_process *)arg)->exited;
}

static inline void peer_spawn(peer_process *p, uv_loop_t *loop, char **args, int in, int out) {
  uv_stdio_container_t stdio[3] = {{.flags = in >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = in},
                                   {.flags = UV_INHERIT_FD, .data.fd = out >= 0 ? out : 2},
                                   {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {
      .file = args[0], .args = args, .exit_cb = peer_on_exit, .stdio = stdio, .stdio_count = 3};
  memset(p, 0, sizeof *p);
  p->process.data = p;
  assert_int_equal(uv_spawn(loop, &p->process, &options), 0);
}

static inline void peer_close_process(uv_loop_t *loop, peer_process *p) {
  uv_close((uv_handle_t *)&p->process, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

/* Runs a Python script of this folder to its end while the loop turns; its exit code. */
static inline int peer_run_script(uv_loop_t *loop, const char *script, const char *name,
                                  const char *address, uint64_t ms) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", peer_dir, script);
  char *args[] = {"/usr/bin/python3", path, (char *)(uintptr_t)name, (char *)(uintptr_t)address,
                  NULL};
  peer_process p;
  peer_spawn(&p, loop, args, -1, -1);
  peer_run_until(loop, peer_exited, &p, ms);
  peer_close_process(loop, &p);
  return (int)p.status;
}

/* A server script that prints its port when it is ready and ends when its input closes. */
typedef struct peer_server {
  peer_process process;
  uv_loop_t *loop;
  int in;
  int port;
  bool running;
} peer_server;

static inline void peer_server_start(peer_server *s, uv_loop_t *loop, const char *script,
                                     const char *name, const char *address) {
  int in[2], out[2];
  assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
  char path[600], line[64] = "";
  snprintf(path, sizeof path, "%s/%s", peer_dir, script);
  char *args[] = {"/usr/bin/python3", path, (char *)(uintptr_t)name, (char *)(uintptr_t)address,
                  NULL};
  s->loop = loop;
  peer_spawn(&s->process, loop, args, in[0], out[1]);
  close(in[0]);
  close(out[1]);
  FILE *f = fdopen(out[0], "r");
  assert_non_null(fgets(line, sizeof line, f));
  fclose(f);
  s->port = atoi(line);
  s->in = in[1];
  s->running = true;
}

static inline void peer_server_stop(peer_server *s) {
  close(s->in);
  uv_process_kill(&s->process.process, SIGTERM);
  peer_run_until(s->loop, peer_exited, &s->process, PEER_PATIENCE_MS);
  peer_close_process(s->loop, &s->process);
  s->running = false;
}
