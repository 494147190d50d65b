/* MongoDB: commands over a pool of connections (mongo-c-driver). Calls block: they belong on the
 * thread pool. No retries: what a caller repeats must be repeatable. */
#pragma once
#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct cxb_mongo cxb_mongo;

enum {
  CXB_MONGO_SELECT_MS = 5000, /* waiting for a primary */
  CXB_MONGO_QUEUE_MS = 5000   /* waiting for a turn */
};

/* Parses `uri` (its own options win over ours); connects at the first command. Reads and writes go
 * to the primary; a command that gets no answer for `socket_timeout_ms` fails. NULL: no MongoDB
 * URI. Holds one reference. */
cxb_mongo *cxb_mongo_open(const char *uri, int socket_timeout_ms);
cxb_mongo *cxb_mongo_ref(cxb_mongo *mongo);
/* The last one closes the connections, on a thread of its own. NULL is fine. */
void cxb_mongo_unref(cxb_mongo *mongo);

typedef struct cxb_mongo_answer {
  bson_t **replies; /* the command's, then one a getMore */
  size_t count;
  const char *code; /* NULL: done; "unavailable", "duplicate", "too_large" or "server" */
  char message[512];
} cxb_mongo_answer;

/* Runs a command on the primary; `all`: fetches every batch of its cursor. `since` (cxb_mono_ms):
 * when it was asked for; one that waited CXB_MONGO_QUEUE_MS is "unavailable" unsent. While the
 * server is known to be away one command at a time looks for it, and the others are "unavailable"
 * at once. Other failures than that keep the server's reply. From any thread. */
void cxb_mongo_command(cxb_mongo *mongo, const char *db, const bson_t *command, bool all,
                       int64_t since, cxb_mongo_answer *out);
void cxb_mongo_answer_free(cxb_mongo_answer *answer);
