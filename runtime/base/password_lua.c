/* cxb.crypto.password_hash, password_verify: jobs on the thread pool, two at once. */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "../host/job.h"
#include "../host/task.h"
#include "err.h"
#include "password.h"
#include "password_lua.h"

enum { AT_ONCE = 2 };

typedef struct password_job {
  cxb_job job;
  char *text;
  size_t len;
  char hash[CXB_PASSWORD_HASH_LEN];
  bool same;
  int err;
} password_job;

static cxb_job_cap cap = {.max = AT_ONCE};

static void work_hash(cxb_job *job) {
  password_job *j = (password_job *)job;
  j->err = cxb_password_hash(j->text, j->len, j->hash);
}

static int push_hash(cxb_job *job, lua_State *L) {
  password_job *j = (password_job *)job;
  if (j->err)
    return cxb_push_error(L, j->err, NULL);
  lua_pushstring(L, j->hash);
  return 1;
}

static void work_verify(cxb_job *job) {
  password_job *j = (password_job *)job;
  j->same = cxb_password_verify(j->text, j->len, j->hash);
}

static int push_verify(cxb_job *job, lua_State *L) {
  lua_pushboolean(L, ((password_job *)job)->same);
  return 1;
}

static void free_job(cxb_job *job) {
  password_job *j = (password_job *)job;
  OPENSSL_cleanse(j->text, j->len);
  free(j->text);
  free(j);
}

static password_job *new_job(lua_State *L, cxb_job hooks) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  password_job *j = calloc(1, sizeof *j);
  char *copy = j ? malloc(len + 1) : NULL;
  if (!copy) {
    free(j);
    luaL_error(L, "out of memory");
    return NULL;
  }
  memcpy(copy, text, len + 1); /* Lua ends it with a NUL, which crypt needs */
  j->job = hooks;
  j->text = copy;
  j->len = len;
  return j;
}

int cxb_l_password_hash(lua_State *L) {
  password_job *j = new_job(L, (cxb_job){work_hash, push_hash, free_job});
  return cxb_job_run_capped(L, &j->job, &cap);
}

int cxb_l_password_verify(lua_State *L) {
  size_t len;
  const char *hash = luaL_checklstring(L, 2, &len);
  if (len >= CXB_PASSWORD_HASH_LEN || strlen(hash) != len) {
    lua_pushboolean(L, 0);
    return 1;
  }
  password_job *j = new_job(L, (cxb_job){work_verify, push_verify, free_job});
  memcpy(j->hash, hash, len + 1);
  return cxb_job_run_capped(L, &j->job, &cap);
}
