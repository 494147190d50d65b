/* SQLite on its own threads: group commit, isolation of failures, concurrent reads, verdicts. */
#include "store_support.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "store/sqlite.h"

typedef struct opening {
  bool done;
  cxb_sqlite *db;
  int err;
  char code[32], message[512];
} opening;

static void on_opened(void *arg, cxb_sqlite *db, int err, const char *code, const char *message) {
  opening *o = arg;
  o->db = db;
  o->err = err;
  snprintf(o->code, sizeof o->code, "%s", code);
  snprintf(o->message, sizeof o->message, "%s", message);
  o->done = true;
}

static opening open_with(const char *path, cxb_sqlite_options options) {
  opening o = {0};
  assert_int_equal(cxb_sqlite_open(&loop, path, &options, on_opened, &o), 0);
  run_until(&o.done);
  return o;
}

static cxb_sqlite *open_plain(const char *name) {
  opening o = open_with(in_folder(name), (cxb_sqlite_options){0});
  assert_int_equal(o.err, 0);
  return o.db;
}

typedef struct asked {
  bool done;
  cxb_sql *sql;
} asked;

static void on_answer(void *arg, cxb_sql *sql) {
  asked *a = arg;
  a->sql = sql;
  a->done = true;
}

static cxb_sql *request(const char *text) {
  cxb_sql *sql = cxb_sql_new();
  cxb_sql_add(sql, text, strlen(text));
  return sql;
}

static void ask(cxb_sqlite *db, asked *a, cxb_sql *sql) {
  a->done = false;
  assert_int_equal(cxb_sqlite_run(db, sql, on_answer, a), 0);
}

/* Runs one statement to its end; returns the verdict's code, and the first cell as a number. */
static const char *run(cxb_sqlite *db, const char *text, int64_t *cell) {
  asked a;
  ask(db, &a, request(text));
  run_until(&a.done);
  const char *code = a.sql->err ? a.sql->code : "ok";
  if (cell && !a.sql->err && a.sql->list[0].rows > 0)
    *cell = cxb_sql_cell(a.sql, 0, 0, 0)->i;
  cxb_sql_free(a.sql);
  return code;
}

static int64_t number(cxb_sqlite *db, const char *text) {
  int64_t n = -1;
  assert_string_equal(run(db, text, &n), "ok");
  return n;
}

static void close_all(cxb_sqlite *db) {
  cxb_sqlite_close(db);
  run_dry();
}

static void what_is_queued_in_one_turn_shares_commits(void **state) {
  cxb_sqlite *db = open_plain("group.db");
  assert_string_equal(run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY)", NULL), "ok");
  uint64_t before = cxb_sqlite_commits(db);
  asked a[200];
  for (int i = 0; i < 200; i++) {
    cxb_sql *sql = request("INSERT INTO t VALUES(?)");
    cxb_sql_int(sql, i);
    ask(db, &a[i], sql);
  }
  for (int i = 0; i < 200; i++) {
    run_until(&a[i].done);
    assert_int_equal(a[i].sql->err, 0);
    assert_int_equal(a[i].sql->list[0].changes, 1);
    cxb_sql_free(a[i].sql);
  }
  /* One, unless this machine needed more than 2 ms to ask. */
  assert_in_range(cxb_sqlite_commits(db) - before, 1, 20);
  assert_int_equal(number(db, "SELECT count(*) FROM t"), 200);
  close_all(db);
}

static void a_failing_statement_harms_no_other_of_its_turn(void **state) {
  cxb_sqlite *db = open_plain("harm.db");
  run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER CHECK (b > 0))", NULL);
  asked a[4];
  ask(db, &a[0], request("INSERT INTO t VALUES(1, 1)"));
  ask(db, &a[1], request("INSERT INTO t VALUES(1, 2)"));
  ask(db, &a[2], request("INSERT INTO t VALUES(2, 0)"));
  ask(db, &a[3], request("INSERT INTO t VALUES(3, 3)"));
  const char *wanted[] = {NULL, "duplicate", "constraint", NULL};
  for (int i = 0; i < 4; i++) {
    run_until(&a[i].done);
    if (wanted[i])
      assert_string_equal(a[i].sql->code, wanted[i]);
    else
      assert_int_equal(a[i].sql->err, 0);
    cxb_sql_free(a[i].sql);
  }
  assert_int_equal(number(db, "SELECT sum(a) FROM t"), 4);
  close_all(db);
}

static void a_statement_that_breaks_the_whole_transaction_is_found(void **state) {
  cxb_sqlite *db = open_plain("whole.db");
  run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY)", NULL);
  asked a[3];
  ask(db, &a[0], request("INSERT INTO t VALUES(1)"));
  /* OR ROLLBACK ends the transaction that all share. */
  ask(db, &a[1], request("INSERT OR ROLLBACK INTO t VALUES(1)"));
  ask(db, &a[2], request("INSERT INTO t VALUES(2)"));
  for (int i = 0; i < 3; i++) {
    run_until(&a[i].done);
    assert_int_equal(a[i].sql->err, i == 1 ? CXB_EEXIST : 0);
    cxb_sql_free(a[i].sql);
  }
  assert_int_equal(number(db, "SELECT count(*) FROM t"), 2);
  close_all(db);
}

static void a_deferred_constraint_fails_only_its_own_request(void **state) {
  cxb_sqlite *db = open_plain("deferred.db");
  run(db, "PRAGMA foreign_keys=ON", NULL);
  run(db, "CREATE TABLE p(a INTEGER PRIMARY KEY)", NULL);
  run(db, "CREATE TABLE c(a REFERENCES p DEFERRABLE INITIALLY DEFERRED)", NULL);
  asked a[2];
  ask(db, &a[0], request("INSERT INTO c VALUES(7)"));
  ask(db, &a[1], request("INSERT INTO p VALUES(1)"));
  run_until(&a[0].done);
  run_until(&a[1].done);
  assert_string_equal(a[0].sql->code, "constraint");
  assert_int_equal(a[1].sql->err, 0);
  cxb_sql_free(a[0].sql);
  cxb_sql_free(a[1].sql);
  assert_int_equal(number(db, "SELECT count(*) FROM c"), 0);
  close_all(db);
}

static void a_batch_happens_whole_or_not_at_all(void **state) {
  cxb_sqlite *db = open_plain("batch.db");
  run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY)", NULL);
  cxb_sql *sql = request("INSERT INTO t VALUES(1)");
  cxb_sql_add(sql, "INSERT INTO t VALUES(2)", 23);
  cxb_sql_add(sql, "INSERT INTO t VALUES(1)", 23);
  asked a;
  ask(db, &a, sql);
  run_until(&a.done);
  assert_string_equal(a.sql->code, "duplicate");
  assert_non_null(strstr(a.sql->message, "statement 3"));
  cxb_sql_free(a.sql);
  assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
  close_all(db);
}

static void a_long_read_does_not_delay_commits(void **state) {
  cxb_sqlite *db = open_plain("reads.db");
  run(db, "CREATE TABLE t(a)", NULL);
  asked slow, fast;
  ask(db, &slow,
      request("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<4000000000) "
              "SELECT sum(i) FROM n"));
  for (int i = 0; i < 20; i++) {
    ask(db, &fast, request("INSERT INTO t VALUES(1)"));
    run_until(&fast.done);
    cxb_sql_free(fast.sql);
  }
  assert_int_equal(number(db, "SELECT count(*) FROM t"), 20); /* nor another read */
  assert_false(slow.done);
  /* Closing does not wait for it. */
  cxb_sqlite_close(db);
  run_until(&slow.done);
  assert_string_equal(slow.sql->code, "cancelled");
  cxb_sql_free(slow.sql);
  run_dry();
}

static void a_long_read_does_not_delay_one_of_the_same_turn(void **state) {
  cxb_sqlite *db = open_plain("turn.db");
  asked slow, fast;
  ask(db, &slow,
      request("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<4000000000) "
              "SELECT sum(i) FROM n"));
  ask(db, &fast, request("SELECT 1"));
  run_until(&fast.done);
  assert_false(slow.done);
  cxb_sql_free(fast.sql);
  cxb_sqlite_close(db);
  run_until(&slow.done);
  cxb_sql_free(slow.sql);
  run_dry();
}

/* The first cell of a look; -1: it was left to others. */
static int64_t looked(cxb_sqlite *db, const char *text) {
  cxb_sql *sql = request(text);
  bool told = cxb_sqlite_look(db, sql);
  int64_t n = told ? cxb_sql_cell(sql, 0, 0, 0)->i : -1;
  assert_int_equal(sql->err, 0);
  cxb_sql_free(sql);
  return n;
}

static void a_look_sees_what_was_committed(void **state) {
  cxb_sqlite *db = open_plain("look.db");
  run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)", NULL);
  for (int i = 1; i <= 3; i++) {
    char text[80];
    snprintf(text, sizeof text, "INSERT OR REPLACE INTO t VALUES(1, %d)", i);
    assert_string_equal(run(db, text, NULL), "ok");
    assert_int_equal(looked(db, "SELECT a FROM t WHERE id=1"), i);
  }
  asked a;
  ask(db, &a, request("UPDATE t SET a=9"));
  assert_int_equal(looked(db, "SELECT a FROM t WHERE id=1"), 3);
  run_until(&a.done);
  assert_int_equal(looked(db, "SELECT a FROM t WHERE id=1"), 9);
  cxb_sql_free(a.sql);
  close_all(db);
}

static void a_look_leaves_to_others_what_is_none(void **state) {
  cxb_sqlite *db = open_plain("none.db");
  run(db, "CREATE TABLE t(a)", NULL);
  assert_int_equal(looked(db, "INSERT INTO t VALUES(1) RETURNING a"), -1);
  assert_int_equal(looked(db, "WITH v AS (SELECT 1) INSERT INTO t SELECT * FROM v RETURNING a"),
                   -1);
  assert_int_equal(looked(db, "SELECT a FROM nowhere"), -1);
  assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
  const char *lengthy =
      "SELECT count(*) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
      "SELECT x+1 FROM c WHERE x<200000) SELECT x FROM c)";
  cxb_sql *sql = request(lengthy);
  assert_false(cxb_sqlite_look(db, sql));
  asked a;
  ask(db, &a, sql); /* the same request */
  run_until(&a.done);
  assert_int_equal(a.sql->err, 0);
  assert_int_equal(cxb_sql_cell(a.sql, 0, 0, 0)->i, 200000);
  cxb_sql_free(a.sql);
  assert_int_equal(looked(db, "SELECT 1"), 1);
  close_all(db);
}

/* However often it was asked before: what counts is how long this one takes. */
static void a_look_is_never_too_many_of_its_kind(void **state) {
  cxb_sqlite *db = open_plain("kind.db");
  run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)", NULL);
  run(db, "INSERT INTO t VALUES(1, 7)", NULL);
  for (int i = 0; i < 600; i++) {
    if (i % 16 == 0)
      uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(looked(db,
                            "SELECT a+1+2+3+4+5+6+7+8+9+10+11+12+13+14+15+16+17+18+19+20 "
                            "FROM t WHERE id=1"),
                     7 + 210);
  }
  close_all(db);
}

static void looks_without_an_end_come_to_one(void **state) {
  cxb_sqlite *db = open_plain("end.db");
  int n = 0;
  while (n < 100000 && looked(db, "SELECT 1") == 1)
    n++;
  assert_int_equal(n, 16);
  uv_update_time(&loop);
  assert_int_equal(looked(db, "SELECT 1"), -1); /* however late it is */
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(looked(db, "SELECT 1"), 1);
  close_all(db);
}

static void a_with_that_writes_is_written(void **state) {
  cxb_sqlite *db = open_plain("with.db");
  run(db, "CREATE TABLE t(a)", NULL);
  assert_string_equal(
      run(db, "/* c */ WITH n(i) AS (VALUES(1),(2)) INSERT INTO t SELECT i FROM n", NULL), "ok");
  assert_int_equal(number(db, "-- sum\n SELECT sum(a) FROM t"), 3);
  close_all(db);
}

static void scripts_cannot_tear_the_shared_transaction(void **state) {
  cxb_sqlite *db = open_plain("tear.db");
  static const char *const texts[] = {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "RELEASE one"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    assert_string_equal(run(db, texts[i], NULL), "sql");
  assert_string_equal(run(db, "VACUUM", NULL), "ok");
  assert_string_equal(run(db, "PRAGMA user_version=7", NULL), "ok");
  assert_int_equal(number(db, "PRAGMA user_version"), 7);
  assert_string_equal(run(db, "SELECT 1; SELECT 2", NULL), "sql");
  assert_string_equal(run(db, "  ;", NULL), "sql");
  close_all(db);
}

static void values_keep_their_type(void **state) {
  cxb_sqlite *db = open_plain("values.db");
  cxb_sql *sql = request("SELECT ?,?,?,?,?, typeof(?5)");
  cxb_sql_int(sql, INT64_MAX);
  cxb_sql_real(sql, 0.25);
  cxb_sql_text(sql, "a\0b", 3);
  cxb_sql_null(sql);
  cxb_sql_blob(sql, "\0\1", 2);
  asked a;
  ask(db, &a, sql);
  run_until(&a.done);
  assert_int_equal(a.sql->err, 0);
  assert_true(cxb_sql_cell(a.sql, 0, 0, 0)->i == INT64_MAX);
  assert_true(cxb_sql_cell(a.sql, 0, 0, 1)->r == 0.25);
  const cxb_sql_value *text = cxb_sql_cell(a.sql, 0, 0, 2);
  assert_int_equal(text->len, 3);
  assert_memory_equal(text->s, "a\0b", 4);
  assert_int_equal(cxb_sql_cell(a.sql, 0, 0, 3)->type, CXB_SQL_NULL);
  assert_int_equal(cxb_sql_cell(a.sql, 0, 0, 4)->type, CXB_SQL_BLOB);
  assert_string_equal(cxb_sql_cell(a.sql, 0, 0, 5)->s, "blob");
  cxb_sql_free(a.sql);
  close_all(db);
}

static void a_commit_waits_for_the_disk_unless_told_otherwise(void **state) {
  cxb_sqlite *db = open_plain("full.db");
  assert_int_equal(number(db, "PRAGMA synchronous"), 2); /* FULL */
  cxb_sqlite_close(db);
  opening o = open_with(in_folder("normal.db"), (cxb_sqlite_options){.sync_normal = true});
  assert_int_equal(number(o.db, "PRAGMA synchronous"), 1);
  close_all(o.db);
}

static void the_same_path_is_one_connection(void **state) {
  cxb_sqlite *a = open_plain("same.db");
  char other[256];
  snprintf(other, sizeof other, "%s/./same.db", folder);
  opening b = open_with(other, (cxb_sqlite_options){0});
  assert_ptr_equal(a, b.db);
  cxb_sqlite_close(a);
  assert_string_equal(run(b.db, "CREATE TABLE t(a)", NULL), "ok");
  close_all(b.db);
  struct stat st;
  assert_int_equal(stat(in_folder("same.db-wal"), &st), -1); /* closed cleanly */
}

static void opening_while_it_is_being_closed_waits_for_that(void **state) {
  cxb_sqlite_options locked = {.lock = true};
  opening first = open_with(in_folder("again.db"), locked);
  assert_int_equal(first.err, 0);
  for (int i = 0; i < 20; i++) {
    cxb_sqlite_close(first.db);
    first = open_with(in_folder("again.db"), locked);
    assert_int_equal(first.err, 0);
  }
  close_all(first.db);
}

static void a_locked_file_belongs_to_one_process(void **state) {
  opening mine = open_with(in_folder("locked.db"), (cxb_sqlite_options){.lock = true});
  assert_int_equal(mine.err, 0);
  pid_t pid = fork();
  if (pid == 0) { /* a loop and threads of its own */
    uv_loop_init(&loop);
    char other[256]; /* another name of the file, so that it is another connection */
    snprintf(other, sizeof other, "%s/alias.db", folder);
    if (link(in_folder("locked.db"), other) != 0)
      _exit(9);
    opening theirs = open_with(other, (cxb_sqlite_options){.lock = true});
    _exit(theirs.err == CXB_EBUSY && strcmp(theirs.code, "busy") == 0 ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
  close_all(mine.db);
}

static void a_file_that_is_no_database_is_corrupt(void **state) {
  FILE *f = fopen(in_folder("junk.db"), "w");
  for (int i = 0; i < 500; i++)
    fputs("this is no database ", f);
  fclose(f);
  opening o = open_with(in_folder("junk.db"), (cxb_sqlite_options){0});
  assert_int_equal(o.err, CXB_ECORRUPT);
  assert_string_equal(o.code, "corrupt");
  assert_non_null(strstr(o.message, "junk.db"));
  run_dry();
}

static void a_damaged_page_is_reported_where_it_is_read(void **state) {
  cxb_sqlite *db = open_plain("page.db");
  run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)", NULL);
  run(db,
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100) "
      "INSERT INTO t SELECT i, randomblob(1000) FROM n",
      NULL);
  close_all(db);
  int fd = open(in_folder("page.db"), O_RDWR);
  off_t end = lseek(fd, 0, SEEK_END);
  char garbage[4096];
  memset(garbage, 0xa5, sizeof garbage);
  assert_int_equal(pwrite(fd, garbage, 4096, end - 4096), 4096);
  close(fd);
  db = open_plain("page.db");
  assert_string_equal(run(db, "SELECT sum(length(b)) FROM t", NULL), "corrupt");
  assert_string_equal(run(db, "UPDATE t SET b=1", NULL), "corrupt");
  assert_string_equal(run(db, "SELECT b FROM t WHERE a=1", NULL), "ok");
  close_all(db);
}

static void a_path_that_cannot_be_is_named(void **state) {
  opening o = open_with("/proc/1/none/x.db", (cxb_sqlite_options){0});
  assert_true(o.err < 0);
  assert_non_null(strstr(o.message, "/proc/1/none/x.db"));
  o = open_with(in_folder("absent.db"), (cxb_sqlite_options){.readonly = true});
  assert_string_equal(o.code, "not_found");
  run_dry();
}

static void a_read_only_file_is_read_and_not_written(void **state) {
  cxb_sqlite *db = open_plain("ro.db");
  run(db, "CREATE TABLE t(a)", NULL);
  close_all(db);
  opening o = open_with(in_folder("ro.db"), (cxb_sqlite_options){.readonly = true});
  assert_int_equal(o.err, 0);
  assert_int_equal(number(o.db, "SELECT count(*) FROM t"), 0);
  assert_string_equal(run(o.db, "INSERT INTO t VALUES(1)", NULL), "io");
  close_all(o.db);
}

static void when_another_process_writes_ours_waits(void **state) {
  cxb_sqlite *db = open_plain("busy.db");
  run(db, "CREATE TABLE t(a)", NULL);
  sqlite3 *other;
  assert_int_equal(sqlite3_open(in_folder("busy.db"), &other), SQLITE_OK);
  assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
  asked a;
  ask(db, &a, request("INSERT INTO t VALUES(1)"));
  for (int i = 0; i < 200; i++) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(500);
  }
  assert_false(a.done);
  assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  run_until(&a.done);
  assert_int_equal(a.sql->err, 0);
  cxb_sql_free(a.sql);
  sqlite3_close(other);
  close_all(db);
}

static void closing_all_lets_holders_fail_cleanly(void **state) {
  cxb_sqlite *db = open_plain("all.db");
  run(db, "CREATE TABLE t(a)", NULL);
  asked a;
  ask(db, &a, request("INSERT INTO t VALUES(1)"));
  cxb_sqlite_close_all();
  run_dry();
  assert_true(a.done);
  assert_int_equal(a.sql->err, 0);
  cxb_sql_free(a.sql);
  cxb_sql *late = request("SELECT 1");
  assert_int_equal(cxb_sqlite_run(db, late, on_answer, &a), CXB_ECLOSED);
  cxb_sql_free(late);
  cxb_sqlite_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_queued_in_one_turn_shares_commits),
      cmocka_unit_test(a_failing_statement_harms_no_other_of_its_turn),
      cmocka_unit_test(a_statement_that_breaks_the_whole_transaction_is_found),
      cmocka_unit_test(a_deferred_constraint_fails_only_its_own_request),
      cmocka_unit_test(a_batch_happens_whole_or_not_at_all),
      cmocka_unit_test(a_long_read_does_not_delay_commits),
      cmocka_unit_test(a_long_read_does_not_delay_one_of_the_same_turn),
      cmocka_unit_test(a_look_sees_what_was_committed),
      cmocka_unit_test(a_look_leaves_to_others_what_is_none),
      cmocka_unit_test(a_look_is_never_too_many_of_its_kind),
      cmocka_unit_test(looks_without_an_end_come_to_one),
      cmocka_unit_test(a_with_that_writes_is_written),
      cmocka_unit_test(scripts_cannot_tear_the_shared_transaction),
      cmocka_unit_test(values_keep_their_type),
      cmocka_unit_test(a_commit_waits_for_the_disk_unless_told_otherwise),
      cmocka_unit_test(the_same_path_is_one_connection),
      cmocka_unit_test(opening_while_it_is_being_closed_waits_for_that),
      cmocka_unit_test(a_locked_file_belongs_to_one_process),
      cmocka_unit_test(a_file_that_is_no_database_is_corrupt),
      cmocka_unit_test(a_damaged_page_is_reported_where_it_is_read),
      cmocka_unit_test(a_path_that_cannot_be_is_named),
      cmocka_unit_test(a_read_only_file_is_read_and_not_written),
      cmocka_unit_test(when_another_process_writes_ours_waits),
      cmocka_unit_test(closing_all_lets_holders_fail_cleanly),
  };
  return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
