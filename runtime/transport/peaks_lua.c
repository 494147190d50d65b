/* Outlines of recordings for scripts. */
#include "peaks_lua.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/job.h"
#include "../host/task.h"
#include "../media/peaks.h"

#define PEAKS_MT "cxb.media.peaks"
enum { POINTS_MAX = 8000, AT_ONCE = 2 };

static int check_points(lua_State *L, int arg) {
  int points = (int)luaL_checkinteger(L, arg);
  luaL_argcheck(L, points >= 1 && points <= POINTS_MAX, arg, "1 to 8000");
  return points;
}

static cxb_peaks *check(lua_State *L) {
  cxb_peaks **p = luaL_checkudata(L, 1, PEAKS_MT);
  return *p;
}

static int l_new(lua_State *L) {
  int points = check_points(L, 1);
  lua_Number bytes = luaL_checknumber(L, 2);
  cxb_peaks **p = lua_newuserdata(L, sizeof *p);
  *p = NULL;
  luaL_getmetatable(L, PEAKS_MT);
  lua_setmetatable(L, -2);
  *p = cxb_peaks_new(points, (int64_t)bytes);
  return *p ? 1 : luaL_error(L, "out of memory");
}

static int l_gc(lua_State *L) {
  cxb_peaks **p = luaL_checkudata(L, 1, PEAKS_MT);
  cxb_peaks_free(*p);
  *p = NULL;
  return 0;
}

static int l_push(lua_State *L) {
  size_t len;
  const char *piece = luaL_checklstring(L, 2, &len);
  int err = cxb_peaks_feed(check(L), piece, len);
  if (err)
    return cxb_push_error(L, err, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int push_json(lua_State *L, int err, cxb_buf *json) {
  if (err) {
    cxb_buf_free(json);
    return cxb_push_error(L, err, NULL);
  }
  lua_pushlstring(L, json->data, json->len);
  cxb_buf_free(json);
  return 1;
}

static int l_done(lua_State *L) {
  cxb_buf json = {0};
  int err = cxb_peaks_json(check(L), &json);
  return push_json(L, err, &json);
}

typedef struct file_job {
  cxb_job job;
  char *path;
  int points, err;
  cxb_buf json;
} file_job;

static void work(cxb_job *job) {
  file_job *f = (file_job *)job;
  f->err = cxb_peaks_of_file(f->path, f->points, &f->json);
}

static int push(cxb_job *job, lua_State *L) {
  file_job *f = (file_job *)job;
  return push_json(L, f->err, &f->json);
}

static void free_job(cxb_job *job) {
  file_job *f = (file_job *)job;
  cxb_buf_free(&f->json);
  free(f->path);
  free(f);
}

static int l_of_file(lua_State *L) {
  static cxb_job_cap cap = {.max = AT_ONCE};
  const char *path = luaL_checkstring(L, 1);
  int points = check_points(L, 2);
  file_job *f = calloc(1, sizeof *f);
  if (!f || !(f->path = strdup(path))) {
    free(f);
    return cxb_push_error(L, CXB_ENOMEM, NULL);
  }
  f->job = (cxb_job){.work = work, .push = push, .free = free_job};
  f->points = points;
  return cxb_job_run_capped(L, &f->job, &cap);
}

void cxb_peaks_lua_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"push", l_push}, {"done", l_done}, {NULL, NULL}};
  luaL_newmetatable(L, PEAKS_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "peaks");
  lua_pushcfunction(L, l_of_file);
  lua_setfield(L, -2, "peaks_of_file");
}
