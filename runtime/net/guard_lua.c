/* cxb.http.check: may this URL be kept for later? (Used, it is judged again.) */
#include <lauxlib.h>
#include <lua.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../host/host.h"
#include "../host/task.h"
#include "guard.h"

typedef struct lookup {
  uv_getaddrinfo_t dns;
  cxb_wait wait;
  char *exceptions;
} lookup;

static int push_refusal(lua_State *L, const char *code, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, code);
  lua_pushstring(L, why);
  return 3;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list) {
  lookup *l = req->data;
  lua_State *L = cxb_wait_stack(&l->wait);
  bool allowed = true;
  for (const struct addrinfo *i = list; i && allowed; i = i->ai_next)
    allowed = cxb_guard_address(i->ai_addr, l->exceptions);
  uv_freeaddrinfo(list);
  if (L && status == 0 && allowed) {
    lua_pushboolean(L, 1);
    cxb_wait_resume(&l->wait, 1);
  } else if (L) {
    const char *code = status ? "resolve" : "url_not_allowed";
    const char *why =
        status ? "the host's name is not known" : "the host has an address that is not public";
    cxb_wait_resume(&l->wait, push_refusal(L, code, why));
  }
  free(l->exceptions);
  free(l);
}

/* Square brackets belong to the URL, not to the address. */
static void strip_brackets(char *host) {
  size_t len = strlen(host);
  if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
    memmove(host, host + 1, len - 2);
    host[len - 2] = '\0';
  }
}

static int l_check(lua_State *L) {
  const char *url = luaL_checkstring(L, 1), *exceptions = luaL_optstring(L, 2, "");
  char host[CXB_GUARD_HOST];
  const char *why;
  if (cxb_guard_url(url, host, &why) != 0)
    return push_refusal(L, "url_not_allowed", why);
  if (cxb_guard_host(host, exceptions)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  strip_brackets(host);
  lookup *l = calloc(1, sizeof *l);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  if (!l || !(l->exceptions = strdup(exceptions)))
    abort();
  l->dns.data = l;
  int err = uv_getaddrinfo(cxb_loop(), &l->dns, on_resolved, host, NULL, &hints);
  if (err) {
    free(l->exceptions);
    free(l);
    return push_refusal(L, "resolve", uv_strerror(err));
  }
  return cxb_task_wait(L, &l->wait, NULL, NULL);
}

static void open_guard(lua_State *L, cxb_generation *gen) {
  (void)gen;
  lua_getfield(L, -1, "http");
  lua_pushcfunction(L, l_check);
  lua_setfield(L, -2, "check");
  lua_pop(L, 1);
}

const cxb_module cxb_guard_module = {.name = "guard", .open = open_guard};
