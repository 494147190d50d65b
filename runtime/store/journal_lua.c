/* cxb.journal. A record's bytes are {"kind":…,"at":…,"data":…}. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../base/fault.h"
#include "../base/time.h"
#include "../host/host.h"
#include "../host/job.h"
#include "../host/state.h"
#include "../host/task.h"
#include "journal.h"

#define JOURNAL_MT "cxb.journal.file"

typedef struct handle {
  cxb_journal *j; /* NULL: closed */
  struct handle *next;
} handle;

typedef struct waiter {
  cxb_wait wait;
} waiter;

static handle *handles; /* open ones, of every generation */

static void detach(handle *h) {
  for (handle **at = &handles; *at; at = &(*at)->next)
    if (*at == h) {
      *at = h->next;
      break;
    }
  h->j = NULL;
}

static handle *check_journal(lua_State *L) {
  return luaL_checkudata(L, 1, JOURNAL_MT);
}

/* ---- writing ---- */

static void on_created(void *arg, cxb_journal *j, int err, const char *message) {
  waiter *w = arg;
  cxb_wait wait = w->wait;
  free(w);
  lua_State *L = cxb_wait_stack(&wait);
  if (!L) {
    if (j)
      cxb_journal_close(j, true, NULL, NULL);
    return;
  }
  if (err) {
    cxb_wait_resume(&wait, cxb_push_error(L, err, "%s", message));
    return;
  }
  handle *h = lua_newuserdata(L, sizeof *h);
  *h = (handle){j, handles};
  handles = h;
  luaL_getmetatable(L, JOURNAL_MT);
  lua_setmetatable(L, -2);
  cxb_wait_resume(&wait, 1);
}

static waiter *new_waiter(lua_State *L) {
  waiter *w = calloc(1, sizeof *w);
  if (!w)
    luaL_error(L, "out of memory");
  return w;
}

static int l_create(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  waiter *w = new_waiter(L);
  int err = cxb_journal_create(cxb_loop(), path, on_created, w);
  if (err) {
    free(w);
    return cxb_push_error(L, err, NULL);
  }
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static int append(cxb_journal *j, const char *kind, size_t kind_len, const char *data, size_t len) {
  cxb_buf b = {0};
  int err = cxb_buf_str(&b, "{\"kind\":");
  if (!err)
    err = cxb_buf_json(&b, kind, kind_len);
  if (!err)
    err = cxb_buf_printf(&b, ",\"at\":%lld,\"data\":", (long long)cxb_now_ms());
  if (!err)
    err = cxb_buf_add(&b, data, len);
  if (!err)
    err = cxb_buf_str(&b, "}");
  if (!err)
    err = cxb_journal_append(j, b.data, b.len);
  cxb_buf_free(&b);
  if (cxb_fault_armed) {
    char step[64];
    snprintf(step, sizeof step, "journal.%.*s", (int)kind_len, kind);
    cxb_fault(step);
  }
  return err;
}

static int l_append(lua_State *L) {
  handle *h = check_journal(L);
  size_t kind_len, len;
  const char *kind = luaL_checklstring(L, 2, &kind_len);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  if (!h->j)
    return cxb_push_error(L, CXB_ECLOSED, NULL);
  if (cxb_json_encode(L) != 0)
    return cxb_push_error(L, CXB_EINVAL, "%s: %s", kind, lua_tostring(L, -1));
  const char *data = lua_tolstring(L, -1, &len);
  int err = append(h->j, kind, kind_len, data, len);
  if (err)
    return cxb_push_error(L, err, "%s: %s", cxb_journal_path(h->j), cxb_strerror(err));
  lua_pushboolean(L, 1);
  return 1;
}

static void on_done(void *arg, int err) {
  waiter *w = arg;
  cxb_wait wait = w->wait;
  free(w);
  lua_State *L = cxb_wait_stack(&wait);
  if (!L)
    return;
  if (err) {
    cxb_wait_resume(&wait, cxb_push_error(L, err, "journal: %s", cxb_strerror(err)));
    return;
  }
  lua_pushboolean(L, 1);
  cxb_wait_resume(&wait, 1);
}

static int l_sync(lua_State *L) {
  handle *h = check_journal(L);
  if (!h->j)
    return cxb_push_error(L, CXB_ECLOSED, NULL);
  waiter *w = new_waiter(L);
  int err = cxb_journal_sync(h->j, on_done, w);
  if (err) {
    free(w);
    return cxb_push_error(L, err, NULL);
  }
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static int l_close(lua_State *L) {
  handle *h = check_journal(L);
  cxb_journal *j = h->j;
  bool remove = lua_toboolean(L, 2);
  if (!j)
    return cxb_push_error(L, CXB_ECLOSED, NULL);
  waiter *w = new_waiter(L);
  detach(h);
  cxb_journal_close(j, remove, on_done, w);
  return cxb_task_wait(L, &w->wait, NULL, NULL);
}

static int l_gc(lua_State *L) {
  handle *h = check_journal(L);
  cxb_journal *j = h->j;
  if (j) {
    detach(h);
    cxb_journal_close(j, false, NULL, NULL);
  }
  return 0;
}

/* ---- reading ---- */

typedef struct reading {
  cxb_job job;
  char *path;
  cxb_buf records; /* length (size_t) and bytes of each; or names, NUL after each */
  int err;
} reading;

static void reading_free(cxb_job *job) {
  reading *r = (reading *)job;
  free(r->path);
  cxb_buf_free(&r->records);
  free(r);
}

static void keep_record(void *arg, const char *data, size_t len) {
  reading *r = arg;
  if (!r->err && !(r->err = cxb_buf_add(&r->records, &len, sizeof len)))
    r->err = cxb_buf_add(&r->records, data, len);
}

static void read_work(cxb_job *job) {
  reading *r = (reading *)job;
  int err = cxb_journal_read(r->path, keep_record, r, NULL);
  if (err)
    r->err = err;
}

static int push_reading_error(reading *r, lua_State *L) {
  return cxb_push_error(L, r->err, "%s: %s", r->path, cxb_strerror(r->err));
}

static int push_records(cxb_job *job, lua_State *L) {
  reading *r = (reading *)job;
  if (r->err)
    return push_reading_error(r, L);
  lua_newtable(L);
  int n = 0;
  size_t len;
  for (size_t at = 0; at < r->records.len; at += len) {
    memcpy(&len, r->records.data + at, sizeof len);
    at += sizeof len;
    if (cxb_json_decode(L, r->records.data + at, len) == 0)
      lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static void orphans_work(cxb_job *job) {
  reading *r = (reading *)job;
  r->err = cxb_journal_orphans(r->path, &r->records);
}

static int push_paths(cxb_job *job, lua_State *L) {
  reading *r = (reading *)job;
  if (r->err)
    return push_reading_error(r, L);
  lua_newtable(L);
  int n = 0;
  for (size_t at = 0; at < r->records.len; at += strlen(r->records.data + at) + 1) {
    lua_pushstring(L, r->records.data + at);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static int run_reading(lua_State *L, void (*work)(cxb_job *), int (*push)(cxb_job *, lua_State *)) {
  const char *path = luaL_checkstring(L, 1);
  reading *r = calloc(1, sizeof *r);
  if (!r || !(r->path = strdup(path))) {
    free(r);
    return luaL_error(L, "out of memory");
  }
  r->job = (cxb_job){work, push, reading_free};
  return cxb_job_run(L, &r->job);
}

static int l_read(lua_State *L) {
  return run_reading(L, read_work, push_records);
}

static int l_orphans(lua_State *L) {
  return run_reading(L, orphans_work, push_paths);
}

static void open_journal(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg methods[] = {
      {"append", l_append}, {"sync", l_sync}, {"close", l_close}, {NULL, NULL}};
  static const luaL_Reg fns[] = {
      {"create", l_create}, {"read", l_read}, {"orphans", l_orphans}, {NULL, NULL}};
  luaL_newmetatable(L, JOURNAL_MT);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "journal");
}

/* What scripts left open goes to the disk while the loop still runs. */
static void stop_journal(void) {
  while (handles) {
    cxb_journal *j = handles->j;
    detach(handles);
    cxb_journal_close(j, false, NULL, NULL);
  }
}

const cxb_module cxb_journal_module = {
    .name = "journal", .open = open_journal, .stop = stop_journal};
