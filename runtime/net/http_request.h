/* One request on our HTTP server, as C rooms above net see it (scripts see `req`). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <lua.h>

typedef struct cxb_http_request cxb_http_request;

/* The request behind a script's `req`; raises a Lua argument error otherwise. */
cxb_http_request *cxb_http_check_request(lua_State *L, int index);

const char *cxb_http_method(const cxb_http_request *req);
const char *cxb_http_path(const cxb_http_request *req);  /* decoded, without query */
const char *cxb_http_query(const cxb_http_request *req); /* raw, "" when none */
const char *cxb_http_header(const cxb_http_request *req, const char *name); /* NULL: absent */
bool cxb_http_is_upgrade(const cxb_http_request *req);    /* a well-formed WebSocket upgrade */
const char *cxb_http_remote(const cxb_http_request *req); /* "127.0.0.1" or "unix" */

/* Takes the socket out of the HTTP server: a duplicate fd the caller owns, and every byte read so
 * far (malloc'd, request line first). The request then counts as answered. CXB_EINVAL when it is
 * no upgrade or has been answered. */
int cxb_http_take_socket(cxb_http_request *req, int *fd, char **head, size_t *head_len);
