/* cxb.fs.spool: a file written piece by piece, on the pool. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/err.h"
#include "host.h"
#include "job.h"
#include "task.h"

#define SPOOL_MT "cxb.spool"

/* Open as long as the script or a job on the pool holds it. */
typedef struct spool {
  int fd, holders;
} spool;

typedef struct spool_job {
  cxb_job job;
  spool *spool;
  char *data;
  size_t len;
  int err;
} spool_job;

static void let_go(spool *s) {
  if (--s->holders > 0)
    return;
  close(s->fd);
  free(s);
}

static void work_write(cxb_job *job) {
  spool_job *j = (spool_job *)job;
  for (size_t done = 0; done < j->len;) {
    ssize_t n = write(j->spool->fd, j->data + done, j->len - done);
    if (n < 0 && errno != EINTR) {
      j->err = cxb_err_from_errno(errno);
      return;
    }
    done += n > 0 ? (size_t)n : 0;
  }
}

static int push_written(cxb_job *job, lua_State *L) {
  spool_job *j = (spool_job *)job;
  if (j->err)
    return cxb_push_error(L, j->err, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static void free_job(cxb_job *job) {
  spool_job *j = (spool_job *)job;
  let_go(j->spool);
  free(j->data);
  free(j);
}

static int l_write(lua_State *L) {
  spool **held = luaL_checkudata(L, 1, SPOOL_MT);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, *held, 1, "an open file");
  spool_job *j = calloc(1, sizeof *j);
  char *copy = malloc(len + 1);
  if (!j || !copy) {
    free(j);
    free(copy);
    return luaL_error(L, "out of memory");
  }
  memcpy(copy, data, len);
  *j = (spool_job){{work_write, push_written, free_job}, *held, copy, len, 0};
  (*held)->holders++;
  return cxb_job_run(L, &j->job);
}

static int l_close(lua_State *L) {
  spool **held = luaL_checkudata(L, 1, SPOOL_MT);
  if (*held)
    let_go(*held);
  *held = NULL;
  return 0;
}

static int l_spool(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  spool **held = lua_newuserdata(L, sizeof(spool *));
  *held = NULL;
  luaL_getmetatable(L, SPOOL_MT);
  lua_setmetatable(L, -2);
  spool *s = calloc(1, sizeof *s);
  if (!s)
    return luaL_error(L, "out of memory");
  s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (s->fd < 0) {
    int err = cxb_err_from_errno(errno);
    free(s);
    return cxb_push_error(L, err, "%s: %s", path, cxb_strerror(err));
  }
  s->holders = 1;
  *held = s;
  return 1;
}

static void open_spool(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {{"write", l_write}, {"close", l_close}, {NULL, NULL}};
  luaL_newmetatable(L, SPOOL_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_getfield(L, -1, "fs");
  lua_pushcfunction(L, l_spool);
  lua_setfield(L, -2, "spool");
  lua_pop(L, 1);
}

const cxb_module cxb_spool_module = {.name = "spool", .open = open_spool};
