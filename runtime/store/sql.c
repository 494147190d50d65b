/* Requests to a SQLite file: statements, their parameters and answers, in memory of their own. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sqlite_internal.h"

enum { CHUNK = 4096 };

typedef struct cxb_sql_chunk {
  struct cxb_sql_chunk *next;
  size_t used, cap;
  char data[];
} cxb_sql_chunk;

cxb_sql *cxb_sql_new(void) {
  return calloc(1, sizeof(cxb_sql));
}

/* Lets go of all but one chunk, which is returned if there is one. */
static cxb_sql_chunk *empty(cxb_sql *sql) {
  cxb_sql_chunk *kept = NULL;
  for (int i = 0; i < sql->count; i++) {
    free(sql->list[i].params);
    free(sql->list[i].cells);
  }
  for (cxb_sql_chunk *c = sql->chunks, *next; c; c = next) {
    next = c->next;
    if (!kept && c->cap == CHUNK)
      kept = c;
    else
      free(c);
  }
  return kept;
}

void cxb_sql_free(cxb_sql *sql) {
  if (!sql)
    return;
  free(empty(sql));
  free(sql->list);
  free(sql);
}

void cxb_sql_clear(cxb_sql *sql) {
  cxb_sql_chunk *kept = empty(sql);
  if (kept)
    *kept = (cxb_sql_chunk){.cap = CHUNK};
  *sql = (cxb_sql){.list = sql->list, .chunks = kept};
}

void *cxb_sql_alloc(cxb_sql *sql, size_t len) {
  cxb_sql_chunk *c = sql->chunks;
  len = (len + 7) & ~(size_t)7;
  if (!c || c->cap - c->used < len) {
    size_t cap = len > CHUNK / 2 ? len : CHUNK;
    c = malloc(sizeof *c + cap);
    if (!c) {
      sql->out_of_memory = true;
      return NULL;
    }
    *c = (cxb_sql_chunk){.next = sql->chunks, .cap = cap};
    /* A big one must not hide the room left in the chunk before it. */
    if (cap != CHUNK && sql->chunks) {
      c->next = sql->chunks->next;
      sql->chunks->next = c;
    } else {
      sql->chunks = c;
    }
  }
  void *p = c->data + c->used;
  c->used += len;
  return p;
}

static const char *copy(cxb_sql *sql, const char *s, size_t len) {
  char *p = cxb_sql_alloc(sql, len + 1);
  if (!p)
    return "";
  memcpy(p, s, len);
  p[len] = '\0';
  return p;
}

void cxb_sql_add(cxb_sql *sql, const char *text, size_t len) {
  if ((sql->count & (sql->count - 1)) == 0) { /* 0, 1, 2, 4, 8 …: full */
    size_t cap = sql->count ? (size_t)sql->count * 2 : 1;
    cxb_sql_statement *list = realloc(sql->list, cap * sizeof *list);
    if (!list) {
      sql->out_of_memory = true;
      return;
    }
    sql->list = list;
  }
  sql->list[sql->count++] = (cxb_sql_statement){.text = copy(sql, text, len), .len = len};
}

static cxb_sql_value *param(cxb_sql *sql) {
  static cxb_sql_value nowhere;
  if (sql->count == 0)
    return &nowhere;
  cxb_sql_statement *s = &sql->list[sql->count - 1];
  if (s->nparams == s->params_cap) {
    int cap = s->params_cap ? s->params_cap * 2 : 8;
    cxb_sql_value *list = realloc(s->params, (size_t)cap * sizeof *list);
    if (!list) {
      sql->out_of_memory = true;
      return &nowhere;
    }
    s->params = list;
    s->params_cap = cap;
  }
  return &s->params[s->nparams++];
}

void cxb_sql_null(cxb_sql *sql) {
  *param(sql) = (cxb_sql_value){.type = CXB_SQL_NULL};
}

void cxb_sql_int(cxb_sql *sql, int64_t value) {
  *param(sql) = (cxb_sql_value){.type = CXB_SQL_INT, .i = value};
}

void cxb_sql_real(cxb_sql *sql, double value) {
  *param(sql) = (cxb_sql_value){.type = CXB_SQL_REAL, .r = value};
}

void cxb_sql_text(cxb_sql *sql, const char *s, size_t len) {
  *param(sql) = (cxb_sql_value){.type = CXB_SQL_TEXT, .len = len, .s = copy(sql, s, len)};
}

void cxb_sql_blob(cxb_sql *sql, const char *s, size_t len) {
  *param(sql) = (cxb_sql_value){.type = CXB_SQL_BLOB, .len = len, .s = copy(sql, s, len)};
}

const cxb_sql_value *cxb_sql_cell(const cxb_sql *sql, int i, size_t row, int column) {
  const cxb_sql_statement *s = &sql->list[i];
  return &s->cells[row * (size_t)s->columns + (size_t)column];
}

/* The first word of a statement, blanks and comments skipped. */
static const char *first_word(const cxb_sql_statement *s, size_t *len) {
  const char *p = s->text, *end = s->text + s->len;
  for (;;) {
    while (p < end && (isspace((unsigned char)*p) || *p == ';'))
      p++;
    if (end - p >= 2 && p[0] == '-' && p[1] == '-') {
      while (p < end && *p != '\n')
        p++;
    } else if (end - p >= 2 && p[0] == '/' && p[1] == '*') {
      for (p += 2; p < end && !(end - p >= 2 && p[0] == '*' && p[1] == '/');)
        p++;
      p = end - p >= 2 ? p + 2 : end;
    } else {
      break;
    }
  }
  const char *from = p;
  while (p < end && isalpha((unsigned char)*p))
    p++;
  *len = (size_t)(p - from);
  return from;
}

static bool is_one_of(const cxb_sql_statement *s, const char *const *words, int n) {
  size_t len;
  const char *word = first_word(s, &len);
  for (int i = 0; i < n; i++)
    if (strlen(words[i]) == len && strncasecmp(word, words[i], len) == 0)
      return true;
  return false;
}

bool cxb_sql_looks_reading(const cxb_sql *sql) {
  static const char *const words[] = {"SELECT", "VALUES", "EXPLAIN", "WITH"};
  for (int i = 0; i < sql->count; i++)
    if (!is_one_of(&sql->list[i], words, 4))
      return false;
  return true;
}

bool cxb_sql_stands_alone(const cxb_sql *sql) {
  static const char *const words[] = {"PRAGMA", "VACUUM"};
  return sql->count == 1 && is_one_of(&sql->list[0], words, 2);
}
