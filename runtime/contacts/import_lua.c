/* cxb.contacts */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/time.h"
#include "../host/host.h"
#include "../host/job.h"
#include "../host/task.h"
#include "contacts_lua.h"
#include "import.h"

#define IMPORT_MT "cxb.contacts.import"

enum { SCAN_ROWS = 2000, MAX_ROWS = 500000 };

/* Open as long as the script or a job on the pool holds it. */
typedef struct held {
  cxb_import *import;
  cxb_import_refusal refusal;
  int holders;
  bool busy, scanned;
} held;

typedef struct import_job {
  cxb_job job;
  held *held;
  cxb_import_options options; /* of open; texts owned */
  cxb_import_bases bases;     /* of write; texts owned */
  size_t rows;
  char **texts; /* prefixes */
  size_t text_count;
  cxb_buf contacts, rejects;
  bool done;
  int err;
} import_job;

static void let_go(held *h) {
  if (--h->holders > 0)
    return;
  cxb_import_free(h->import);
  free(h);
}

static void free_job(cxb_job *job) {
  import_job *j = (import_job *)job;
  j->held->busy = false;
  let_go(j->held);
  free((char *)j->options.path);
  free((char *)j->options.region);
  free((char *)j->options.zone);
  free((char *)j->bases.contact);
  free((char *)j->bases.reject);
  for (size_t i = 0; i < j->text_count; i++)
    free(j->texts[i]);
  free(j->texts);
  cxb_buf_free(&j->contacts);
  cxb_buf_free(&j->rejects);
  free(j);
}

static import_job *new_job(lua_State *L, held *h, void (*work)(cxb_job *),
                           int (*push)(cxb_job *, lua_State *)) {
  import_job *j = calloc(1, sizeof *j);
  if (!j)
    luaL_error(L, "out of memory");
  j->job = (cxb_job){work, push, free_job};
  j->held = h;
  h->holders++;
  h->busy = true;
  return j;
}

static held *check_import(lua_State *L) {
  held *h = *(held **)luaL_checkudata(L, 1, IMPORT_MT);
  luaL_argcheck(L, h && !h->busy, 1, "an open import that nothing else is working on");
  return h;
}

/* nil, code, message, line */
static int push_failure(import_job *j, lua_State *L) {
  if (j->err != CXB_EINVAL)
    return cxb_push_error(L, j->err, NULL);
  lua_pushnil(L);
  lua_pushstring(L, j->held->refusal.code);
  lua_pushstring(L, j->held->refusal.message);
  lua_pushinteger(L, j->held->refusal.line);
  return 4;
}

/* ---- open, scan ---- */

static void work_open(cxb_job *job) {
  import_job *j = (import_job *)job;
  j->err = cxb_import_open(&j->options, &j->held->import, &j->held->refusal);
}

static int push_open(cxb_job *job, lua_State *L) {
  import_job *j = (import_job *)job;
  if (j->err)
    return push_failure(j, L);
  held **ud = lua_newuserdata(L, sizeof *ud);
  *ud = j->held;
  j->held->holders++;
  luaL_getmetatable(L, IMPORT_MT);
  lua_setmetatable(L, -2);
  return 1;
}

static char *text_option(lua_State *L, const char *name, const char *otherwise) {
  lua_getfield(L, 2, name);
  char *copy = strdup(luaL_optstring(L, -1, otherwise));
  lua_pop(L, 1);
  return copy;
}

static int l_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  cxb_contacts_need_phones(L);
  cxb_contacts_need_zones(L);
  held *h = calloc(1, sizeof *h);
  if (!h)
    return luaL_error(L, "out of memory");
  import_job *j = new_job(L, h, work_open, push_open);
  lua_getfield(L, 2, "max_rows");
  uint32_t max_rows = (uint32_t)luaL_optinteger(L, -1, MAX_ROWS);
  lua_getfield(L, 2, "numbers_only");
  j->options = (cxb_import_options){
      .path = strdup(path),
      .region = text_option(L, "region", "IN"),
      .zone = text_option(L, "zone", "UTC"),
      .zoneinfo = "/usr/share/zoneinfo",
      .max_rows = max_rows,
      .numbers_only = lua_toboolean(L, -1),
  };
  return cxb_job_run(L, &j->job);
}

static void work_scan(cxb_job *job) {
  import_job *j = (import_job *)job;
  j->err = cxb_import_scan(j->held->import, SCAN_ROWS, &j->done, &j->held->refusal);
}

static int push_scan(cxb_job *job, lua_State *L) {
  import_job *j = (import_job *)job;
  if (j->err)
    return push_failure(j, L);
  j->held->scanned = j->done;
  lua_pushboolean(L, j->done);
  return 1;
}

static int l_scan(lua_State *L) {
  held *h = check_import(L);
  luaL_argcheck(L, !h->scanned, 1, "an import that is not scanned yet");
  return cxb_job_run(L, &new_job(L, h, work_scan, push_scan)->job);
}

/* ---- report ---- */

static void set_count(lua_State *L, const char *name, uint32_t n) {
  lua_pushnumber(L, n);
  lua_setfield(L, -2, name);
}

static void push_errors(lua_State *L, const cxb_import *import) {
  size_t count;
  const cxb_import_error *errors = cxb_import_errors(import, &count);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 3);
    set_count(L, "line", errors[i].line);
    lua_pushstring(L, errors[i].rule);
    lua_setfield(L, -2, "rule");
    lua_pushstring(L, errors[i].value);
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static int l_report(lua_State *L) {
  held *h = check_import(L);
  const cxb_import_counts *counts = cxb_import_result(h->import);
  lua_createtable(L, 0, 9);
  set_count(L, "rows_total", counts->rows);
  set_count(L, "accepted", counts->good);
  set_count(L, "dnc", counts->dnc);
  set_count(L, "skipped_invalid", counts->invalid);
  set_count(L, "skipped_duplicate", counts->duplicate);
  set_count(L, "over_limit", counts->over_limit);
  set_count(L, "unknown_timezone", counts->unknown_timezone);
  push_errors(L, h->import);
  lua_setfield(L, -2, "errors");
  lua_newtable(L);
  const char *name;
  for (size_t i = 0; (name = cxb_import_column(h->import, i)); i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "columns");
  return 1;
}

/* ---- numbers that must not be called ---- */

static int l_numbers(lua_State *L) {
  held *h = check_import(L);
  uint32_t row = (uint32_t)luaL_checkinteger(L, 2);
  size_t count = (size_t)luaL_checkinteger(L, 3);
  cxb_buf out = {0};
  if (cxb_import_numbers(h->import, &row, count, &out) != 0) {
    cxb_buf_free(&out);
    return luaL_error(L, "out of memory");
  }
  lua_newtable(L);
  int n = 0;
  for (size_t at = 0; at < out.len; at += strlen(out.data + at) + 1) {
    lua_pushstring(L, out.data + at);
    lua_rawseti(L, -2, ++n);
  }
  cxb_buf_free(&out);
  lua_pushnumber(L, row);
  return 2;
}

static int l_suppress(lua_State *L) {
  held *h = check_import(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  for (int i = 1; i <= (int)lua_objlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    cxb_import_suppress(h->import, luaL_checkstring(L, -1));
    lua_pop(L, 1);
  }
  return 0;
}

static void work_prefixes(cxb_job *job) {
  import_job *j = (import_job *)job;
  j->err =
      cxb_import_suppress_prefixes(j->held->import, (const char *const *)j->texts, j->text_count);
}

static int push_true(cxb_job *job, lua_State *L) {
  import_job *j = (import_job *)job;
  if (j->err)
    return push_failure(j, L);
  lua_pushboolean(L, 1);
  return 1;
}

static int l_suppress_prefixes(lua_State *L) {
  held *h = check_import(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t count = lua_objlen(L, 2);
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, (int)i);
    luaL_argcheck(L, lua_isstring(L, -1), 2, "a list of prefixes");
    lua_pop(L, 1);
  }
  import_job *j = new_job(L, h, work_prefixes, push_true);
  j->texts = calloc(count + 1, sizeof *j->texts);
  for (size_t i = 0; j->texts && i < count; i++) {
    lua_rawgeti(L, 2, (int)i + 1);
    j->texts[j->text_count++] = strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  return cxb_job_run(L, &j->job);
}

/* ---- write ---- */

static void work_write(cxb_job *job) {
  import_job *j = (import_job *)job;
  j->err =
      cxb_import_write(j->held->import, &j->bases, j->rows, &j->contacts, &j->rejects, &j->done);
}

static void push_list(lua_State *L, const cxb_buf *list) {
  if (list->len > 0)
    lua_pushlstring(L, list->data, list->len);
  else
    lua_pushnil(L);
}

static int push_write(cxb_job *job, lua_State *L) {
  import_job *j = (import_job *)job;
  if (j->err)
    return push_failure(j, L);
  lua_pushboolean(L, !j->done);
  push_list(L, &j->contacts);
  push_list(L, &j->rejects);
  return 3;
}

static int l_write(lua_State *L) {
  held *h = check_import(L);
  size_t rows = (size_t)luaL_checkinteger(L, 2);
  const char *contact = luaL_checkstring(L, 3), *reject = luaL_optstring(L, 4, NULL);
  luaL_argcheck(L, h->scanned, 1, "an import that is scanned");
  import_job *j = new_job(L, h, work_write, push_write);
  j->rows = rows;
  j->bases = (cxb_import_bases){strdup(contact), reject ? strdup(reject) : NULL, cxb_now_ms()};
  return cxb_job_run(L, &j->job);
}

static int l_close(lua_State *L) {
  held **ud = luaL_checkudata(L, 1, IMPORT_MT);
  if (*ud)
    let_go(*ud);
  *ud = NULL;
  return 0;
}

static void open_contacts(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {{"scan", l_scan},
                                     {"report", l_report},
                                     {"numbers", l_numbers},
                                     {"suppress", l_suppress},
                                     {"suppress_prefixes", l_suppress_prefixes},
                                     {"write", l_write},
                                     {"close", l_close},
                                     {NULL, NULL}};
  luaL_newmetatable(L, IMPORT_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "open");
  lua_setfield(L, -2, "contacts");
}

const cxb_module cxb_contacts_module = {.name = "contacts", .open = open_contacts};
