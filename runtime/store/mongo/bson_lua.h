/* BSON and Lua values, as cxb.json has them: json.array() a list though empty, json.null null.
 * Whole numbers up to 2^53 are int64, others double. A table with the metatable name "mongo.date"
 * holds milliseconds and is a date; dates come back as milliseconds.
 *
 * Keys are data and may be anything; MongoDB's look-alikes refuse some, so "." "%" NUL and a
 * leading
 * "$" are written %2E %25 %00 %24, and turned back. For the same reason a list inside a list is
 * written {"%L": [...]}. A list {{key, value}, ...} with the metatable name "mongo.own" is the
 * program's own (a command, an operator): ordered as json.object's, keys as they are. */
#pragma once
#include <bson/bson.h>
#include <lua.h>

/* Prepares a state; needs require("cxb.json"). */
void cxb_bson_lua_open(lua_State *L);
/* Appends the fields of the table at `index` to `out`. Raises a Lua error for what BSON cannot
 * hold. */
void cxb_bson_append_table(lua_State *L, int index, bson_t *out);
/* Pushes a document as a table. */
void cxb_bson_push(lua_State *L, const bson_t *document);
/* Appends the documents of an array field "cursor".batch to the list on top of the stack, from
 * `at` on; the next place. */
int cxb_bson_push_batch(lua_State *L, const bson_t *reply, int at);
