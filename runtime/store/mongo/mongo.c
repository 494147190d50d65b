/* Commands to MongoDB. */
#include "mongo.h"

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "observe/log.h"

struct cxb_mongo {
  mongoc_client_pool_t *pool;
  atomic_int refs;
  atomic_bool away;    /* no primary was found within CXB_MONGO_SELECT_MS */
  atomic_bool looking; /* while away: one command is looking for it */
};

/* A document, and what a command has around it. */
enum { MOST_BYTES = 16 * 1024 * 1024 + 16 * 1024 };

/* Server errors that mean "ask again soon", not "your command is wrong": no primary (189, 10058,
 * 10107, 13435, 13436), stepping down or shutting down (91, 11600, 11602), interrupted waiting for
 * the write concern (64), out of reach (6, 7, 89, 9001). */
static const int passing[] = {6,     7,     64,    89,    91,    189,  9001,
                              10058, 10107, 11600, 11602, 13435, 13436};
static const int duplicate[] = {11000, 11001, 12582};
static const int too_large[] = {10334, 17419, 17420};

static bool among(int code, const int *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (list[i] == code)
      return true;
  return false;
}

/* ---- the library ---- */

static _Thread_local bool parsing; /* an address, which may hold a password */

static void on_log(mongoc_log_level_t level, const char *domain, const char *message, void *arg) {
  (void)arg;
  if (level <= MONGOC_LOG_LEVEL_WARNING && !parsing)
    cxb_logf(level == MONGOC_LOG_LEVEL_WARNING ? CXB_LOG_DEBUG : CXB_LOG_WARN, "%s: %s", domain,
             message);
}

static void init_library(void) {
  mongoc_log_set_handler(on_log, NULL);
  mongoc_init();
}

static void set_default(mongoc_uri_t *uri, const char *option, int ms) {
  if (!mongoc_uri_has_option(uri, option))
    mongoc_uri_set_option_as_int32(uri, option, ms);
}

cxb_mongo *cxb_mongo_open(const char *text, int socket_timeout_ms) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_library);
  bson_error_t error;
  parsing = true;
  mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &error);
  parsing = false;
  cxb_mongo *mongo = uri ? calloc(1, sizeof *mongo) : NULL;
  if (mongo) {
    set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, CXB_MONGO_SELECT_MS);
    set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, CXB_MONGO_SELECT_MS);
    set_default(uri, MONGOC_URI_SOCKETTIMEOUTMS, socket_timeout_ms);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    mongo->pool = mongoc_client_pool_new_with_error(uri, &error);
  }
  mongoc_uri_destroy(uri);
  if (!mongo || !mongo->pool) {
    free(mongo);
    return NULL;
  }
  mongoc_client_pool_set_error_api(mongo->pool, MONGOC_ERROR_API_VERSION_2);
  mongoc_client_pool_set_appname(mongo->pool, "cxb");
  mongo->refs = 1;
  return mongo;
}

cxb_mongo *cxb_mongo_ref(cxb_mongo *mongo) {
  atomic_fetch_add(&mongo->refs, 1);
  return mongo;
}

/* Joins the library's monitors, which may be waiting for a server. */
static void *close_main(void *arg) {
  cxb_mongo *mongo = arg;
  mongoc_client_pool_destroy(mongo->pool);
  free(mongo);
  return NULL;
}

void cxb_mongo_unref(cxb_mongo *mongo) {
  pthread_t thread;
  if (!mongo || atomic_fetch_sub(&mongo->refs, 1) > 1)
    return;
  if (pthread_create(&thread, NULL, close_main, mongo) == 0)
    pthread_detach(thread);
}

/* ---- answers ---- */

static void fail(cxb_mongo_answer *out, const char *code, const char *fmt, ...) {
  va_list args;
  out->code = code;
  va_start(args, fmt);
  vsnprintf(out->message, sizeof out->message, fmt, args);
  va_end(args);
}

static void fail_with(cxb_mongo_answer *out, const bson_error_t *error) {
  const char *code = "unavailable";
  if (error->domain == MONGOC_ERROR_SERVER) {
    int number = (int)error->code;
    if (among(number, duplicate, sizeof duplicate / sizeof *duplicate))
      code = "duplicate";
    else if (among(number, too_large, sizeof too_large / sizeof *too_large))
      code = "too_large";
    else if (!among(number, passing, sizeof passing / sizeof *passing))
      code = "server";
  }
  fail(out, code, "%s", error->message);
}

/* A write that too few members have confirmed may be lost: it does not count. */
static void check_concern(const bson_t *reply, cxb_mongo_answer *out) {
  bson_iter_t iter, inner;
  if (bson_iter_init_find(&iter, reply, "writeConcernError"))
    fail(out, "unavailable", "the write is not confirmed: %s",
         bson_iter_recurse(&iter, &inner) && bson_iter_find(&inner, "errmsg") &&
                 BSON_ITER_HOLDS_UTF8(&inner)
             ? bson_iter_utf8(&inner, NULL)
             : "no reason given");
}

/* Takes the reply's memory. */
static bson_t *keep(cxb_mongo_answer *out, bson_t *reply) {
  bson_t **list = realloc(out->replies, (out->count + 1) * sizeof *list);
  bson_t *kept = bson_new();
  bson_steal(kept, reply);
  if (!list) {
    bson_destroy(kept);
    fail(out, "server", "out of memory");
    return NULL;
  }
  out->replies = list;
  list[out->count++] = kept;
  return kept;
}

void cxb_mongo_answer_free(cxb_mongo_answer *answer) {
  for (size_t i = 0; i < answer->count; i++)
    bson_destroy(answer->replies[i]);
  free(answer->replies);
  *answer = (cxb_mongo_answer){0};
}

/* ---- commands ---- */

/* The cursor of a reply that has more: its id and its collection's name. */
static int64_t open_cursor(const bson_t *reply, char *name, size_t name_len) {
  bson_iter_t iter, cursor, field;
  if (!bson_iter_init_find(&iter, reply, "cursor") || !bson_iter_recurse(&iter, &cursor))
    return 0;
  field = cursor;
  if (!bson_iter_find(&field, "ns") || !BSON_ITER_HOLDS_UTF8(&field))
    return 0;
  const char *dot = strchr(bson_iter_utf8(&field, NULL), '.');
  snprintf(name, name_len, "%s", dot ? dot + 1 : "");
  return bson_iter_find(&cursor, "id") ? bson_iter_as_int64(&cursor) : 0;
}

static bson_t *run(mongoc_client_t *client, const char *db, const bson_t *command,
                   const bson_t *options, cxb_mongo_answer *out) {
  bson_t reply;
  bson_error_t error;
  bool ok = mongoc_client_command_with_opts(client, db, command, NULL, options, &reply, &error);
  if (!ok)
    fail_with(out, &error);
  else
    check_concern(&reply, out);
  return keep(out, &reply);
}

/* Further batches of a cursor: of the same server and session as the first. */
static void fetch_rest(mongoc_client_t *client, const char *db, const bson_t *options,
                       bson_t *reply, cxb_mongo_answer *out) {
  char name[256];
  int64_t id;
  while (reply && !out->code && (id = open_cursor(reply, name, sizeof name)) != 0) {
    bson_t more = BSON_INITIALIZER;
    BSON_APPEND_INT64(&more, "getMore", id);
    BSON_APPEND_UTF8(&more, "collection", name);
    reply = run(client, db, &more, options, out);
    bson_destroy(&more);
  }
}

/* NULL: the server has none. */
static mongoc_client_session_t *start_session(mongoc_client_t *client) {
  mongoc_session_opt_t *options = mongoc_session_opts_new();
  mongoc_session_opts_set_causal_consistency(options, false);
  mongoc_client_session_t *session = mongoc_client_start_session(client, options, NULL);
  mongoc_session_opts_destroy(options);
  return session;
}

static void run_all(mongoc_client_t *client, uint32_t server, const char *db, const bson_t *command,
                    bool all, cxb_mongo_answer *out) {
  bson_t options = BSON_INITIALIZER;
  BSON_APPEND_INT32(&options, "serverId", (int32_t)server);
  mongoc_client_session_t *session = all ? start_session(client) : NULL;
  if (session)
    mongoc_client_session_append(session, &options, NULL);
  bson_t *reply = run(client, db, command, &options, out);
  if (all)
    fetch_rest(client, db, &options, reply, out);
  if (session)
    mongoc_client_session_destroy(session);
  bson_destroy(&options);
}

static uint32_t primary(cxb_mongo *mongo, mongoc_client_t *client, cxb_mongo_answer *out) {
  bson_error_t error;
  mongoc_server_description_t *found = mongoc_client_select_server(client, true, NULL, &error);
  if (!found) {
    fail_with(out, &error);
    if (!atomic_exchange(&mongo->away, true))
      cxb_logf(CXB_LOG_WARN, "MongoDB is away: %s", error.message);
    return 0;
  }
  if (atomic_exchange(&mongo->away, false))
    cxb_logf(CXB_LOG_INFO, "MongoDB is back");
  uint32_t id = mongoc_server_description_id(found);
  mongoc_server_description_destroy(found);
  return id;
}

void cxb_mongo_command(cxb_mongo *mongo, const char *db, const bson_t *command, bool all,
                       int64_t since, cxb_mongo_answer *out) {
  *out = (cxb_mongo_answer){0};
  bool looks = false;
  if (command->len > MOST_BYTES) {
    fail(out, "too_large", "%u bytes, expected at most %d", command->len, MOST_BYTES);
    return;
  }
  if (atomic_load(&mongo->away)) {
    looks = !atomic_exchange(&mongo->looking, true);
    if (!looks) {
      fail(out, "unavailable", "MongoDB is away");
      return;
    }
  } else if (cxb_mono_ms() - since >= CXB_MONGO_QUEUE_MS) {
    fail(out, "unavailable", "waited %d ms for its turn", CXB_MONGO_QUEUE_MS);
    return;
  }
  mongoc_client_t *client = mongoc_client_pool_pop(mongo->pool);
  uint32_t server = primary(mongo, client, out);
  if (looks)
    atomic_store(&mongo->looking, false);
  if (server)
    run_all(client, server, db, command, all, out);
  mongoc_client_pool_push(mongo->pool, client);
}
