/* The undelivered rows of an outbox in memory: queues, destinations, counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/err.h"
#include "../observe/metrics.h"
#include "outbox_internal.h"

static const char *const kinds[CXB_OUTBOX_KINDS] = {"result", "handoff", "event", "upload"};

int cxb_outbox_kind_index(const char *kind) {
  for (int i = 0; i < CXB_OUTBOX_KINDS; i++)
    if (strcmp(kinds[i], kind) == 0)
      return i;
  return -1;
}

static uint64_t hash_text(uint64_t h, const char *s) {
  for (; *s; s++)
    h = (h ^ (unsigned char)*s) * 1099511628211u;
  return h * 1099511628211u;
}

static bool same_queue(const outbox_row *a, const char *kind, const char *session_id) {
  return strcmp(a->session_id, session_id) == 0 &&
         strcmp(cxb_outbox_stream(a->kind), cxb_outbox_stream(kind)) == 0;
}

static outbox_queue *queue_for(cxb_outbox *box, const char *kind, const char *session_id) {
  uint64_t hash = hash_text(hash_text(14695981039346656037u, cxb_outbox_stream(kind)), session_id);
  outbox_queue **bucket = &box->buckets[hash % CXB_OUTBOX_BUCKETS];
  for (outbox_queue *q = *bucket; q; q = q->same)
    if (q->hash == hash && same_queue(q->head, kind, session_id))
      return q;
  outbox_queue *q = calloc(1, sizeof *q);
  if (!q)
    return NULL;
  q->hash = hash;
  q->same = *bucket;
  *bucket = q;
  q->before = box->last_queue;
  *(box->last_queue ? &box->last_queue->next : &box->queues) = q;
  box->last_queue = q;
  return q;
}

static void drop_queue(cxb_outbox *box, outbox_queue *q) {
  outbox_queue **at = &box->buckets[q->hash % CXB_OUTBOX_BUCKETS];
  while (*at != q)
    at = &(*at)->same;
  *at = q->same;
  *(q->before ? &q->before->next : &box->queues) = q->next;
  *(q->next ? &q->next->before : &box->last_queue) = q->before;
  free(q);
}

static outbox_destination *destination_for(cxb_outbox *box, const char *url) {
  const char *name;
  size_t len = cxb_outbox_destination(url, &name);
  for (outbox_destination *d = box->destinations; d; d = d->next)
    if (d->len == len && memcmp(d->name, name, len) == 0)
      return d;
  outbox_destination *d = calloc(1, sizeof *d + len);
  if (d) {
    d->len = len;
    memcpy(d->name, name, len);
    d->next = box->destinations;
    box->destinations = d;
  }
  return d;
}

static void leave_queue(outbox_row *row) {
  outbox_queue *q = row->queue;
  for (outbox_row **at = &q->head; *at; at = &(*at)->next)
    if (*at == row) {
      *at = row->next;
      break;
    }
  if (!q->head)
    drop_queue(row->box, q);
}

/* A destination that has failed is remembered while rows wait for it. */
static void leave_destination(outbox_row *row) {
  outbox_destination *d = row->destination;
  if (--d->rows > 0)
    return;
  for (outbox_destination **at = &row->box->destinations; *at; at = &(*at)->next)
    if (*at == d) {
      *at = d->next;
      break;
    }
  free(d);
}

static int *count_of(outbox_row *row) {
  int kind = cxb_outbox_kind_index(row->kind);
  if (row->state == ROW_WORK || row->state == ROW_OPENING)
    return &row->box->working[kind];
  return row->state == ROW_WAITING ? &row->box->waiting[kind] : &row->box->sending[kind];
}

outbox_row *cxb_outbox_row_add(cxb_outbox *box, int64_t id, const char *kind,
                               const char *session_id, int64_t n, const char *url) {
  size_t k = strlen(kind) + 1, s = strlen(session_id) + 1, u = strlen(url) + 1;
  outbox_row *row = calloc(1, sizeof *row + k + s + u);
  outbox_destination *d = row ? destination_for(box, url) : NULL;
  outbox_queue *q = d ? queue_for(box, kind, session_id) : NULL;
  if (!q) {
    free(row); /* an unused destination is found again by the next row */
    return NULL;
  }
  row->box = box;
  row->state = ROW_WAITING;
  row->id = id;
  row->n = n;
  row->kind = memcpy(row->text, kind, k);
  row->session_id = memcpy(row->text + k, session_id, s);
  row->url = memcpy(row->text + k + s, url, u);
  row->queue = q;
  row->destination = d;
  d->rows++;
  outbox_row **at = &q->head;
  while (*at && (*at)->id < id)
    at = &(*at)->next;
  row->next = *at;
  *at = row;
  (*count_of(row))++;
  return row;
}

outbox_row *cxb_outbox_row_find(const cxb_outbox *box, int64_t id) {
  for (outbox_queue *q = box->queues; q; q = q->next)
    for (outbox_row *row = q->head; row; row = row->next)
      if (row->id == id)
        return row;
  return NULL;
}

void cxb_outbox_row_remove(outbox_row *row) {
  (*count_of(row))--;
  leave_queue(row);
  leave_destination(row);
  cxb_sql_free(row->body);
  free(row);
}

void cxb_outbox_row_set_state(outbox_row *row, outbox_row_state state) {
  (*count_of(row))--;
  row->state = state;
  (*count_of(row))++;
}

void cxb_outbox_rows_free(cxb_outbox *box) {
  while (box->queues)
    cxb_outbox_row_remove(box->queues->head);
  for (outbox_destination *d = box->destinations, *next; d; d = next) {
    next = d->next;
    free(d);
  }
  box->destinations = NULL;
}

void cxb_outbox_get_stats(const cxb_outbox *box, cxb_outbox_stats *out) {
  *out = (cxb_outbox_stats){0};
  for (int i = 0; i < CXB_OUTBOX_KINDS; i++) {
    out->analysis += box->working[i];
    out->ready += box->waiting[i];
    out->sending += box->sending[i];
    out->dead += box->dead[i];
  }
  int64_t now = cxb_outbox_mono(box), oldest = now;
  for (outbox_queue *q = box->queues; q; q = q->next)
    if (q->head->born < oldest)
      oldest = q->head->born;
  out->oldest_age_s = (double)(now - oldest) / 1000;
}

static void add_counts(const cxb_outbox *box, int kind, int counts[4], double *oldest_s) {
  counts[0] += box->working[kind];
  counts[1] += box->waiting[kind];
  counts[2] += box->sending[kind];
  counts[3] += box->dead[kind];
  int64_t now = cxb_outbox_mono(box);
  for (outbox_queue *q = box->queues; q; q = q->next) {
    double age = (double)(now - q->head->born) / 1000;
    if (strcmp(q->head->kind, kinds[kind]) == 0 && age > *oldest_s)
      *oldest_s = age;
  }
}

void cxb_outbox_show(void) {
  static const char *const states[] = {"analysis", "ready", "sending", "dead"};
  char labels[64];
  for (int i = 0; i < CXB_OUTBOX_KINDS; i++) {
    int counts[4] = {0};
    double oldest_s = 0;
    for (const cxb_outbox *box = cxb_outbox_first(); box; box = box->next)
      add_counts(box, i, counts, &oldest_s);
    for (int k = 0; k < 4; k++) {
      snprintf(labels, sizeof labels, "kind=\"%s\",state=\"%s\"", kinds[i], states[k]);
      cxb_metric_set("cxb_outbox_rows", labels, counts[k]);
    }
    snprintf(labels, sizeof labels, "kind=\"%s\"", kinds[i]);
    cxb_metric_set("cxb_outbox_oldest_age_seconds", labels, oldest_s);
  }
}
