/* The host's scoreboard: a file in shared memory with one row a worker, and each worker's metrics.
 * A row belongs to the process that holds its record lock; a heartbeat younger than 5 s and a
 * living pid make it live. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "metrics.h"

enum { CXB_SCOREBOARD_ROWS = 512, CXB_SCOREBOARD_STALE_MS = 5000 };

typedef struct cxb_scoreboard_row {
  int32_t pid;
  int32_t calls, max;
  int32_t draining, disk, generation;
  int32_t outbox;       /* rows not yet delivered */
  int64_t heartbeat_ms; /* monotonic */
  int64_t since_ms;     /* UTC: start of the running call, else of the worker's idleness */
  char session_id[208]; /* as long as one may be (200) */
  char reservation[72]; /* of the fleet's slots: the last one that a call was started with here */
} cxb_scoreboard_row;

typedef struct cxb_scoreboard cxb_scoreboard;

/* Opens or makes "<path>-<bytes of the layout>": programs of two versions side by side, while a
 * release rolls, have a file each. CXB_ECORRUPT: not such a file; CXB_EINVAL: path too long;
 * CXB_EIO. */
int cxb_scoreboard_open(const char *path, cxb_scoreboard **out);
/* Makes this process row `id` (from 1). CXB_EBUSY: another process holds it. Metrics move there. */
int cxb_scoreboard_attach(cxb_scoreboard *sb, int id);
cxb_scoreboard_row *cxb_scoreboard_own(cxb_scoreboard *sb); /* NULL when not attached */
void cxb_scoreboard_beat(cxb_scoreboard *sb);
/* The configured count of workers, shared by all. */
int cxb_scoreboard_workers(const cxb_scoreboard *sb);
void cxb_scoreboard_set_workers(cxb_scoreboard *sb, int workers);
/* Whether the whole host takes no new calls, as its fleet asked; outlives the worker that set it.
 */
bool cxb_scoreboard_host_draining(const cxb_scoreboard *sb);
void cxb_scoreboard_set_host_draining(cxb_scoreboard *sb, bool draining);
/* Copies row `id`; false when it was never used, its process is gone or its heartbeat is stale. */
bool cxb_scoreboard_row_get(const cxb_scoreboard *sb, int id, cxb_scoreboard_row *out);
cxb_metric_block *cxb_scoreboard_metrics(cxb_scoreboard *sb, int id);
void cxb_scoreboard_close(cxb_scoreboard *sb); /* clears the own row */
