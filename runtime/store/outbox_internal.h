/* What the files of the outbox share. */
#pragma once
#include "outbox.h"
#include "outbox_schedule.h"
#include "sqlite.h"

enum {
  CXB_OUTBOX_KINDS = 4,
  CXB_OUTBOX_FLYING = 16,
  CXB_OUTBOX_FLYING_EACH = 4,
  CXB_OUTBOX_BUCKETS = 512,
};

typedef struct outbox_destination {
  struct outbox_destination *next;
  int flying, failures; /* failures in a row */
  int rows;             /* it is freed with the last */
  size_t len;
  char name[];
} outbox_destination;

/* Rows that go one after the other: those of one session and stream. */
typedef struct outbox_queue {
  struct outbox_queue *next, *before; /* in the order they were made: the oldest rows first */
  struct outbox_queue *same;          /* bucket */
  uint64_t hash;
  struct outbox_row *head; /* by id */
} outbox_queue;

typedef enum {
  ROW_WORK,    /* in analysis; it may be claimed from `due` on */
  ROW_OPENING, /* it has been in analysis for too long: being made ready */
  ROW_WAITING, /* until `due` */
  ROW_TAKING,  /* its body is being read */
  ROW_FLYING,  /* an attempt is under way */
  ROW_SETTLING /* its outcome is being written; at `due` again when that failed */
} outbox_row_state;

/* A row that is not delivered yet; its body stays in the file. */
typedef struct outbox_row {
  struct outbox_row *next;
  struct cxb_outbox *box;
  outbox_queue *queue;
  outbox_destination *destination;
  const char *kind, *session_id, *url; /* in text[] */
  int64_t id, n, created_utc;
  int64_t due, not_before, expires, born; /* monotonic, so that a clock jump changes nothing */
  int attempts;
  outbox_row_state state;
  bool flush, writing;
  cxb_sql *body; /* while TAKING and FLYING */
  void *flight;  /* while FLYING: what can be cancelled, and how */
  cxb_outbox_cancel cancel;
  /* the outcome, while SETTLING */
  cxb_outbox_verdict verdict;
  int status;
  char error[96];
  char text[];
} outbox_row;

typedef struct outbox_flush {
  struct outbox_flush *next;
  int64_t until;
  cxb_outbox_done done;
  void *arg;
} outbox_flush;

typedef struct outbox_hook {
  struct outbox_hook *next;
  cxb_outbox_headers headers;
  void *arg;
} outbox_hook;

typedef struct outbox_opener {
  struct outbox_opener *next;
  cxb_outbox_opened opened;
  void *arg;
} outbox_opener;

struct cxb_outbox {
  cxb_outbox *next;
  uv_loop_t *loop;
  char *path;
  cxb_outbox_options options;
  cxb_sqlite *db;
  uv_timer_t timer;
  int refs, handles;
  int asked;  /* requests to the file that are not answered yet */
  int flying; /* attempts under way */
  bool open, closing, finished, salvaged;
  outbox_opener *openers;
  outbox_queue *queues, *last_queue, *buckets[CXB_OUTBOX_BUCKETS];
  outbox_destination *destinations;
  outbox_hook *hooks;
  outbox_flush *flushes;
  int64_t tidy_at, sweep_at; /* monotonic: old keys, files of uploads are removed */
  struct outbox_s3 *s3;      /* NULL: uploads wait */
  int working[CXB_OUTBOX_KINDS], waiting[CXB_OUTBOX_KINDS], sending[CXB_OUTBOX_KINDS],
      dead[CXB_OUTBOX_KINDS];
};

/* outbox.c */
extern const char cxb_outbox_schema[];
const cxb_outbox *cxb_outbox_first(void); /* of the list of all */
int64_t cxb_outbox_utc(const cxb_outbox *box);
int64_t cxb_outbox_mono(const cxb_outbox *box);
int cxb_outbox_kind_index(const char *kind); /* -1: none */
/* Asks the file; `asked` counts it. Takes `sql`, on failure too. */
int cxb_outbox_ask(cxb_outbox *box, cxb_sql *sql, void (*done)(void *arg, cxb_sql *sql), void *arg);
cxb_sql *cxb_outbox_sql(const char *text); /* NULL: no memory */
/* An answer was dealt with. */
void cxb_outbox_answered(cxb_outbox *box);
/* Ends a closing box once nothing is under way. */
void cxb_outbox_end_when_idle(cxb_outbox *box);

/* outbox_rows.c */
/* Puts a row into its queue; NULL: no memory. Times are monotonic. */
outbox_row *cxb_outbox_row_add(cxb_outbox *box, int64_t id, const char *kind,
                               const char *session_id, int64_t n, const char *url);
outbox_row *cxb_outbox_row_find(const cxb_outbox *box, int64_t id);
void cxb_outbox_row_remove(outbox_row *row);
void cxb_outbox_rows_free(cxb_outbox *box);
void cxb_outbox_row_set_state(outbox_row *row, outbox_row_state state);
void cxb_outbox_show(void); /* metrics, of all boxes of this process together */

/* outbox_deliver.c */
/* Begins every attempt that may begin and sets the timer for the next. */
void cxb_outbox_pump(cxb_outbox *box);
/* The same, once, in the next turn of the loop. */
void cxb_outbox_pump_soon(cxb_outbox *box);
void cxb_outbox_on_timer(uv_timer_t *timer);
void cxb_outbox_cancel_flights(cxb_outbox *box);

/* outbox_analysis.c: a row in analysis that is older than it may be is sent as it is; returns when
 * it wants to be looked at again. */
int64_t cxb_outbox_look_at_work(outbox_row *row, int64_t now);

/* outbox_upload.c */
struct outbox_s3 *cxb_outbox_s3_copy(const cxb_s3_settings *from); /* NULL: no memory */
/* CXB_EUNSUPPORTED: there are no settings. */
int cxb_outbox_upload_post(outbox_row *row, const char *file, cxb_outbox_replied replied);
/* Files that were uploaded long enough ago, once a minute or when `sweep_at` says so. */
void cxb_outbox_sweep_files(cxb_outbox *box, int64_t now);

/* outbox_salvage.c: sets a damaged file aside and puts its readable rows into a new one, on the
 * thread pool; `box->db` has been closed. CXB_ENOMEM: `done` is not called. */
int cxb_outbox_salvage(cxb_outbox *box,
                       void (*done)(cxb_outbox *box, int err, const char *message));

/* outbox_file.c: a row to file:, written beside and renamed, on the thread pool. */
int cxb_outbox_file_post(uv_loop_t *loop, const char *path, const char *body, size_t len,
                         cxb_outbox_replied replied, void *arg);
