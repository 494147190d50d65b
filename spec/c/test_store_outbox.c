/* waits: 14 */
/* The outbox against a scripted receiver and a clock of its own: seven days take milliseconds. */
#include "store_support.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "host/host.h"
#include "store/outbox.h"
#include "store/outbox_internal.h"

/* The room's way out leads through the host, which asks for its list of rooms. */
const cxb_module *const cxb_modules[] = {NULL};
const int cxb_modules_count = 0;

/* ---- clock and receiver ---- */

static int64_t utc = 1777021200000, mono = 5000;

static int64_t fake_utc(void) {
  return utc;
}

static int64_t fake_mono(void) {
  return mono;
}

static double luck = 0.75; /* how much of a delay is waited */

static double fake_chance(void) {
  return luck;
}

typedef struct sent {
  char url[128], headers[1024], body[64];
  cxb_outbox_replied replied;
  void *arg;
} sent;
static sent sends[4096];
static int sent_count;

static int fake_post(uv_loop_t *at, const cxb_outbox_attempt *attempt, cxb_outbox_replied replied,
                     void *arg, void **flight) {
  assert_true(sent_count < 4096);
  sent *s = &sends[sent_count++];
  snprintf(s->url, sizeof s->url, "%s", attempt->url);
  snprintf(s->headers, sizeof s->headers, "%s", attempt->headers);
  snprintf(s->body, sizeof s->body, "%.*s", (int)attempt->body_len, attempt->body);
  s->replied = replied;
  s->arg = arg;
  return 0;
}

/* ---- the box ---- */

typedef struct opening {
  bool done;
  cxb_outbox *box;
  int err;
  char code[32], message[512];
} opening;

static void on_opened(void *arg, cxb_outbox *box, int err, const char *code, const char *message) {
  opening *o = arg;
  *o = (opening){.done = true, .box = box, .err = err};
  snprintf(o->code, sizeof o->code, "%s", code);
  snprintf(o->message, sizeof o->message, "%s", message);
}

static opening try_open(const char *path) {
  cxb_outbox_options options = {
      .post = fake_post, .utc_ms = fake_utc, .mono_ms = fake_mono, .chance = fake_chance};
  opening o = {0};
  assert_int_equal(cxb_outbox_open(&loop, path, &options, on_opened, &o), 0);
  run_until(&o.done);
  return o;
}

/* Has to do something soon. */
static bool is_busy(const cxb_outbox *box) {
  return box->asked > 0 || (!box->flushes && uv_has_ref((const uv_handle_t *)&box->timer));
}

static void quiet(cxb_outbox *box) {
  int64_t until = cxb_mono_ms() + 20000;
  do {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(50);
  } while (is_busy(box) && cxb_mono_ms() < until);
  assert_false(is_busy(box));
}

static cxb_outbox *open_box(const char *name) {
  sent_count = 0;
  opening o = try_open(in_folder(name));
  assert_int_equal(o.err, 0);
  quiet(o.box);
  return o.box;
}

static void give(int i, cxb_outbox_reply r) {
  cxb_outbox_replied replied = sends[i].replied;
  assert_non_null(replied);
  sends[i].replied = NULL;
  replied(sends[i].arg, &r);
}

/* What is under way then ends without an answer. */
static void close_box(cxb_outbox *box) {
  cxb_outbox_close(box);
  for (int i = 0; i < sent_count; i++)
    if (sends[i].replied)
      give(i, (cxb_outbox_reply){.err = CXB_ECLOSED});
  run_dry();
}

static void advance(cxb_outbox *box, int64_t ms) {
  utc += ms;
  mono += ms;
  cxb_outbox_pump(box);
  quiet(box);
}

typedef struct putting {
  bool done;
  int64_t id;
  int err;
  char code[32];
} putting;

static void on_put(void *arg, int64_t id, int err, const char *code, const char *message) {
  putting *p = arg;
  p->id = id;
  p->err = err;
  snprintf(p->code, sizeof p->code, "%s", code);
  p->done = true;
}

static putting put_to(cxb_outbox *box, const char *kind, const char *session, int64_t n,
                      const char *url) {
  putting p = {0};
  char body[64];
  snprintf(body, sizeof body, "%s %s %d", kind, session, (int)n);
  cxb_outbox_new row = {.kind = kind,
                        .session_id = session,
                        .n = n,
                        .url = url,
                        .body = body,
                        .body_len = strlen(body)};
  p.err = cxb_outbox_put(box, &row, on_put, &p);
  if (p.err == 0)
    run_until(&p.done);
  return p;
}

#define HOOK "http://api/results"

static int64_t put(cxb_outbox *box, const char *kind, const char *session, int64_t n) {
  putting p = put_to(box, kind, session, n, HOOK);
  assert_int_equal(p.err, 0);
  quiet(box);
  return p.id;
}

static void reply(cxb_outbox *box, int i, cxb_outbox_reply r) {
  assert_true(i < sent_count);
  give(i, r);
  quiet(box);
}

static void reply_status(cxb_outbox *box, int i, int status) {
  reply(box, i, (cxb_outbox_reply){.status = status});
}

static void reply_later(cxb_outbox *box, int i, int status, const char *retry_after) {
  reply(box, i, (cxb_outbox_reply){.status = status, .retry_after = retry_after});
}

static cxb_outbox_stats stats(const cxb_outbox *box) {
  cxb_outbox_stats s;
  cxb_outbox_get_stats(box, &s);
  return s;
}

typedef struct listing {
  bool done;
  int count, err;
  char state[16][16], error[16][96], session[16][32];
  int64_t id[16], due[16];
  int attempts[16];
} listing;

static void on_listed(void *arg, const cxb_outbox_row *rows, int count, int err) {
  listing *l = arg;
  l->count = count;
  l->err = err;
  for (int i = 0; i < count && i < 16; i++) {
    l->id[i] = rows[i].id;
    l->due[i] = rows[i].due_ms;
    l->attempts[i] = rows[i].attempts;
    snprintf(l->state[i], 16, "%s", rows[i].state);
    snprintf(l->session[i], 32, "%s", rows[i].session_id);
    snprintf(l->error[i], 96, "%s", rows[i].last_error);
  }
  l->done = true;
}

static listing list(cxb_outbox *box, const char *state) {
  static listing l;
  l = (listing){0};
  assert_int_equal(cxb_outbox_list(box, state, 100, on_listed, &l), 0);
  run_until(&l.done);
  assert_int_equal(l.err, 0);
  return l;
}

typedef struct outcome {
  bool done;
  int64_t count;
  int err;
} outcome;

static void on_outcome(void *arg, int64_t count, int err) {
  outcome *o = arg;
  *o = (outcome){true, count, err};
}

/* ---- rules ---- */

static void every_status_has_its_verdict(void **state) {
  static const struct {
    int from, to;
    cxb_outbox_verdict verdict;
  } table[] = {
      {100, 199, CXB_OUTBOX_RETRY}, {200, 299, CXB_OUTBOX_DONE},  {300, 399, CXB_OUTBOX_RETRY},
      {400, 407, CXB_OUTBOX_DEAD},  {408, 408, CXB_OUTBOX_RETRY}, {409, 424, CXB_OUTBOX_DEAD},
      {425, 425, CXB_OUTBOX_RETRY}, {426, 428, CXB_OUTBOX_DEAD},  {429, 429, CXB_OUTBOX_RETRY},
      {430, 499, CXB_OUTBOX_DEAD},  {500, 599, CXB_OUTBOX_RETRY}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    for (int status = table[i].from; status <= table[i].to; status++)
      assert_int_equal(cxb_outbox_judge(0, status), table[i].verdict);
  assert_int_equal(cxb_outbox_judge(CXB_ETIMEDOUT, 0), CXB_OUTBOX_RETRY);
}

static void the_delay_doubles_up_to_five_minutes_with_full_jitter(void **state) {
  static const int64_t tops[] = {1000,  2000,  4000,   8000,   16000,
                                 32000, 64000, 128000, 256000, 300000};
  for (int n = 0; n < 10; n++) {
    assert_int_equal(cxb_outbox_delay(n, 0), 0);
    assert_int_equal(cxb_outbox_delay(n, 0.5), tops[n] / 2);
    assert_true(cxb_outbox_delay(n, 0.999999) < tops[n]);
  }
  assert_int_equal(cxb_outbox_delay(1000, 0.5), 150000);
}

static void retry_after_is_read_in_both_forms(void **state) {
  int64_t now = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
  assert_int_equal(cxb_outbox_retry_after("120", now), 120000);
  assert_int_equal(cxb_outbox_retry_after("99999999999999999999", now), 3600000);
  assert_int_equal(cxb_outbox_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), 60000);
  assert_int_equal(cxb_outbox_retry_after("Sun, 06 Nov 1994 18:49:37 GMT", now), 3600000);
  assert_int_equal(cxb_outbox_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), 0);
  static const char *const bad[] = {"", "soon", "-5", "5x", "Sun, 06 Foo 1994 08:49:37 GMT", "1.5"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(cxb_outbox_retry_after(bad[i], now), 0);
  assert_int_equal(cxb_outbox_retry_after(NULL, now), 0);
}

static void a_destination_is_host_and_port_without_user(void **state) {
  static const char *const table[][2] = {{"http://a:1/x?y", "http://a:1"},
                                         {"https://u:p@b/x", "b"},
                                         {"http+unix:/run/a.sock:/x", "http+unix:/run/a.sock"},
                                         {"file:/var/lib", "file:"},
                                         {"https://b?x=@", "https://b"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    const char *start;
    size_t len = cxb_outbox_destination(table[i][0], &start);
    assert_int_equal(len, strlen(table[i][1]));
    assert_memory_equal(start, table[i][1], len);
  }
}

static void a_result_file_is_named_by_day_and_session(void **state) {
  char path[300];
  int64_t day = 1777021200000; /* 2026-04-24T09:00:00Z */
  assert_int_equal(cxb_outbox_file_path("file:/r/", "s-1", day, path, sizeof path), 0);
  assert_string_equal(path, "/r/2026/04/24/s-1.json");
  assert_int_equal(cxb_outbox_file_path("file:/r/a.json", "s-1", day, path, sizeof path), 0);
  assert_string_equal(path, "/r/a.json");
  assert_int_equal(cxb_outbox_file_path("file:/r", "../../etc/x", day, path, sizeof path), 0);
  assert_memory_equal(path, "/r/2026/04/24/_._.._etc_x", 25);
  assert_null(strstr(path + 14, "/"));
  assert_int_equal(cxb_outbox_file_path("file:r", "s", day, path, sizeof path), CXB_EINVAL);
}

/* ---- one row ---- */

static void a_row_is_stored_sent_and_done(void **state) {
  cxb_outbox *box = open_box("one.db");
  put(box, "result", "s1", 0);
  assert_int_equal(sent_count, 1);
  assert_string_equal(sends[0].url, HOOK);
  assert_string_equal(sends[0].body, "result s1 0");
  assert_non_null(strstr(sends[0].headers, "Idempotency-Key: result:s1\r\n"));
  assert_non_null(strstr(sends[0].headers, "Content-Type: application/json\r\n"));
  assert_non_null(strstr(sends[0].headers, "User-Agent: cxbrt/" CXB_VERSION "\r\n"));
  assert_int_equal(stats(box).sending, 1);
  assert_string_equal(list(box, NULL).state[0], "sending");
  reply_status(box, 0, 201);
  assert_int_equal(stats(box).sending + stats(box).ready, 0);
  assert_int_equal(list(box, NULL).count, 0);
  assert_int_equal(list(box, "done").count, 1);
  close_box(box);
}

static void a_second_result_of_a_session_is_refused_at_the_door(void **state) {
  cxb_outbox *box = open_box("door.db");
  put(box, "result", "s1", 0);
  assert_string_equal(put_to(box, "result", "s1", 0, HOOK).code, "duplicate");
  reply_status(box, 0, 200);
  assert_string_equal(put_to(box, "result", "s1", 0, HOOK).code, "duplicate"); /* also when done */
  assert_int_equal(put_to(box, "event", "s1", 0, HOOK).err, 0);
  assert_int_equal(put_to(box, "event", "s1", 1, HOOK).err, 0);
  assert_int_equal(put_to(box, "tidings", "s1", 0, HOOK).err, CXB_EINVAL);
  assert_int_equal(put_to(box, "result", "s\r\nx", 0, HOOK).err, CXB_EINVAL);
  assert_int_equal(put_to(box, "result", "", 0, HOOK).err, CXB_EINVAL);
  assert_int_equal(put_to(box, "result", "s9", 0, "ftp://x/").err, CXB_EINVAL);
  quiet(box);
  close_box(box);
}

static void an_event_has_its_number_in_its_key(void **state) {
  cxb_outbox *box = open_box("key.db");
  put(box, "event", "s1", 17);
  assert_non_null(strstr(sends[0].headers, "Idempotency-Key: event:s1:17\r\n"));
  close_box(box);
}

static void a_key_is_forgotten_after_seven_days(void **state) {
  cxb_outbox *box = open_box("forget.db");
  put(box, "result", "s1", 0);
  reply_status(box, 0, 200);
  advance(box, 6 * 86400000LL);
  assert_string_equal(put_to(box, "result", "s1", 0, HOOK).code, "duplicate");
  advance(box, 86400000LL + 2 * 3600000);
  assert_int_equal(put_to(box, "result", "s1", 0, HOOK).err, 0);
  quiet(box);
  close_box(box);
}

static void a_failed_attempt_is_repeated_within_its_delay_with_the_same_key(void **state) {
  cxb_outbox *box = open_box("retry.db");
  put(box, "result", "s1", 0);
  for (int n = 0; n < 12; n++) {
    luck = n % 2 ? 0.25 : 0.75;
    assert_int_equal(sent_count, n + 1);
    assert_string_equal(sends[n].headers, sends[0].headers);
    assert_string_equal(sends[n].body, sends[0].body);
    if (n % 2)
      reply(box, n, (cxb_outbox_reply){.err = CXB_EREFUSED});
    else
      reply_status(box, n, 503);
    listing l = list(box, NULL);
    assert_int_equal(l.attempts[0], n + 1);
    assert_string_equal(l.error[0], n % 2 ? "connection refused" : "HTTP 503");
    int64_t delay = (int64_t)(luck * (double)(n < 9 ? 1000LL << n : 300000));
    advance(box, delay - 1);
    assert_int_equal(sent_count, n + 1);
    advance(box, 1);
  }
  luck = 0.75;
  reply_status(box, 12, 200);
  assert_int_equal(list(box, "done").count, 1);
  close_box(box);
}

static void a_refusal_for_good_is_dead_at_once_and_can_be_replayed(void **state) {
  cxb_outbox *box = open_box("dead.db");
  int64_t id = put(box, "result", "s1", 0);
  reply_status(box, 0, 403);
  assert_int_equal(stats(box).dead, 1);
  listing l = list(box, "dead");
  assert_string_equal(l.error[0], "HTTP 403");
  advance(box, 86400000);
  assert_int_equal(sent_count, 1);
  outcome o = {0};
  cxb_outbox_replay(box, id, on_outcome, &o);
  run_until(&o.done);
  quiet(box);
  assert_int_equal(o.err, 0);
  assert_int_equal(sent_count, 2);
  assert_int_equal(stats(box).dead, 0);
  reply_status(box, 1, 200);
  cxb_outbox_replay(box, id, on_outcome, &o);
  o.done = false;
  run_until(&o.done);
  assert_int_equal(o.err, CXB_ENOENT);
  close_box(box);
}

static void dead_rows_stay_until_they_are_purged(void **state) {
  cxb_outbox *box = open_box("purge.db");
  for (int i = 0; i < 3; i++) {
    char session[8];
    snprintf(session, sizeof session, "s%d", i);
    put(box, "result", session, 0);
    reply_status(box, i, 400);
  }
  close_box(box);
  box = open_box("purge.db");
  assert_int_equal(stats(box).dead, 3);
  outcome o = {0};
  cxb_outbox_purge(box, on_outcome, &o);
  run_until(&o.done);
  assert_int_equal(o.count, 3);
  assert_int_equal(stats(box).dead, 0);
  close_box(box);
}

static void after_seven_days_a_row_is_dead(void **state) {
  cxb_outbox *box = open_box("week.db");
  put(box, "result", "s1", 0);
  int n = 0;
  int64_t begin = utc;
  while (stats(box).dead == 0) {
    reply_later(box, n++, 500, "3600");
    advance(box, 3600001);
    assert_true(utc - begin < 8 * 86400000LL);
  }
  assert_true(utc - begin >= 7 * 86400000LL);
  assert_string_equal(list(box, "dead").error[0], "HTTP 500; given up after 7 days");
  close_box(box);
}

static void retry_after_is_a_floor(void **state) {
  cxb_outbox *box = open_box("floor.db");
  put(box, "result", "s1", 0);
  reply_later(box, 0, 429, "600");
  advance(box, 599000);
  assert_int_equal(sent_count, 1);
  advance(box, 2000);
  assert_int_equal(sent_count, 2);
  char date[40];
  time_t at = (time_t)(utc / 1000 + 900);
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&at));
  reply_later(box, 1, 503, date);
  advance(box, 890000);
  assert_int_equal(sent_count, 2);
  advance(box, 20000);
  assert_int_equal(sent_count, 3);
  close_box(box);
}

/* ---- analysis ---- */

static int64_t put_work(cxb_outbox *box, const char *session, const char *work) {
  putting p = {0};
  cxb_outbox_new row = {.kind = "result",
                        .session_id = session,
                        .url = HOOK,
                        .body = "plain",
                        .body_len = 5,
                        .work = work,
                        .work_len = strlen(work)};
  assert_int_equal(cxb_outbox_put(box, &row, on_put, &p), 0);
  run_until(&p.done);
  assert_int_equal(p.err, 0);
  quiet(box);
  return p.id;
}

typedef struct claimed {
  bool done;
  int64_t id;
  int attempts, err;
  char session[16], work[32], body[32];
} claimed;

static void on_claimed(void *arg, const cxb_outbox_work *work, int err) {
  claimed *c = arg;
  *c = (claimed){.done = true, .err = err};
  if (!work)
    return;
  c->id = work->id;
  c->attempts = work->attempts;
  snprintf(c->session, sizeof c->session, "%s", work->session_id);
  snprintf(c->work, sizeof c->work, "%.*s", (int)work->work_len, work->work);
  snprintf(c->body, sizeof c->body, "%.*s", (int)work->body_len, work->body);
}

static claimed claim(cxb_outbox *box) {
  claimed c = {0};
  assert_int_equal(cxb_outbox_claim(box, 90000, on_claimed, &c), 0);
  run_until(&c.done);
  assert_int_equal(c.err, 0);
  return c;
}

static int finish_work(cxb_outbox *box, int64_t id, const char *body) {
  outcome o = {0};
  assert_int_equal(cxb_outbox_finish(box, id, body, body ? strlen(body) : 0, on_outcome, &o), 0);
  run_until(&o.done);
  quiet(box);
  return o.err;
}

static void a_row_in_analysis_is_sent_when_it_is_finished_and_not_before(void **state) {
  cxb_outbox *box = open_box("work.db");
  int64_t id = put_work(box, "s1", "qc");
  put(box, "event", "s1", 1); /* another stream is not held up */
  assert_int_equal(sent_count, 1);
  assert_int_equal(stats(box).analysis, 1);
  assert_string_equal(list(box, "analysis").session[0], "s1");
  claimed c = claim(box);
  assert_int_equal(c.id, id);
  assert_int_equal(c.attempts, 1);
  assert_string_equal(c.session, "s1");
  assert_string_equal(c.work, "qc");
  assert_string_equal(c.body, "plain");
  assert_int_equal(claim(box).id, 0); /* somebody works on it */
  assert_int_equal(finish_work(box, id, "analysed"), 0);
  assert_int_equal(sent_count, 2);
  assert_string_equal(sends[1].body, "analysed");
  assert_non_null(strstr(sends[1].headers, "Idempotency-Key: result:s1\r\n"));
  assert_int_equal(finish_work(box, id, "again"), CXB_ENOENT);
  reply_status(box, 1, 500);
  assert_int_equal(list(box, "ready").attempts[0], 1); /* deliveries are counted from here on */
  close_box(box);
}

static void what_was_done_of_the_analysis_survives_a_crash_with_its_count(void **state) {
  cxb_outbox *box = open_box("resume.db");
  int64_t id = put_work(box, "s1", "analysis qc");
  assert_int_equal(claim(box).attempts, 1);
  outcome o = {0};
  assert_int_equal(cxb_outbox_keep(box, id, "qc", 2, on_outcome, &o), 0);
  run_until(&o.done);
  assert_int_equal(o.err, 0);
  close_box(box); /* whoever worked on it is gone */
  box = open_box("resume.db");
  assert_int_equal(sent_count, 0);
  claimed c = claim(box);
  assert_int_equal(c.attempts, 2);
  assert_string_equal(c.work, "qc");
  assert_int_equal(finish_work(box, id, NULL), 0);
  assert_string_equal(sends[0].body, "plain");
  o.done = false;
  assert_int_equal(cxb_outbox_keep(box, id, "x", 1, on_outcome, &o), 0);
  run_until(&o.done);
  assert_int_equal(o.err, CXB_ENOENT);
  close_box(box);
}

static void
an_analysis_nobody_finishes_is_claimed_again_and_after_15_minutes_given_up(void **state) {
  cxb_outbox *box = open_box("giveup.db");
  put_work(box, "s1", "qc");
  int claims = 0;
  while (sent_count == 0) {
    claimed c = claim(box);
    claims += c.id != 0;
    assert_true(claims <= 10);
    advance(box, 90001);
  }
  assert_int_equal(claims, 10); /* 15 minutes of 90 s each */
  assert_string_equal(sends[0].body, "plain");
  close_box(box);
}

/* ---- several ---- */

static void rows_of_one_session_and_stream_go_in_order(void **state) {
  cxb_outbox *box = open_box("order.db");
  put(box, "handoff", "s1", 0);
  put(box, "event", "s1", 1);
  put(box, "event", "s1", 2);
  assert_int_equal(sent_count, 1); /* the others wait for the hand-off */
  put(box, "result", "s1", 0);     /* another stream */
  put(box, "event", "s2", 1);      /* another session */
  assert_int_equal(sent_count, 3);
  reply_status(box, 0, 500);
  advance(box, 999);
  reply_status(box, 1, 200);
  reply_status(box, 2, 200);
  advance(box, 1000);
  assert_int_equal(sent_count, 4);
  assert_string_equal(sends[3].body, "handoff s1 0");
  reply_status(box, 3, 200);
  assert_string_equal(sends[4].body, "event s1 1");
  reply_status(box, 4, 400); /* dead: it blocks nobody */
  assert_string_equal(sends[5].body, "event s1 2");
  reply_status(box, 5, 200);
  assert_int_equal(sent_count, 6);
  close_box(box);
}

static void a_poison_row_delays_nobody(void **state) {
  cxb_outbox *box = open_box("poison.db");
  put(box, "result", "poison", 0);
  int at = 0;
  for (int i = 0; i < 40; i++) {
    reply_status(box, at, 500);
    char session[16];
    snprintf(session, sizeof session, "s%d", i);
    put(box, "result", session, 0);
    assert_string_equal(sends[sent_count - 1].url, HOOK);
    assert_non_null(strstr(sends[sent_count - 1].body, session)); /* at once */
    reply_status(box, sent_count - 1, 200);
    at = sent_count;
    advance(box, 300000);
    assert_int_equal(sent_count, at + 1);
    assert_string_equal(sends[at].body, "result poison 0");
  }
  close_box(box);
}

static void a_broken_destination_gets_one_probe_at_a_time(void **state) {
  cxb_outbox *box = open_box("circuit.db");
  for (int i = 0; i < 30; i++) {
    char session[16];
    snprintf(session, sizeof session, "s%d", i);
    assert_int_equal(put_to(box, "result", session, 0, "http://down/x").err, 0);
  }
  quiet(box);
  assert_int_equal(sent_count, 4); /* at most four at a time to one place */
  int answered = 0;
  while (answered < 5)
    reply(box, answered++, (cxb_outbox_reply){.err = CXB_ETIMEDOUT});
  while (answered < sent_count)
    reply(box, answered++, (cxb_outbox_reply){.err = CXB_ETIMEDOUT});
  for (int i = 0; i < 10; i++) {
    advance(box, 300000);
    assert_int_equal(sent_count - answered, 1);
    reply(box, answered++, (cxb_outbox_reply){.err = CXB_ETIMEDOUT});
    while (answered < sent_count) {
      assert_int_equal(sent_count - answered, 1);
      reply(box, answered++, (cxb_outbox_reply){.err = CXB_ETIMEDOUT});
    }
  }
  assert_int_equal(put_to(box, "result", "elsewhere", 0, "http://up/x").err, 0);
  quiet(box);
  assert_string_equal(sends[sent_count - 1].url, "http://up/x"); /* others are not held up */
  reply_status(box, sent_count - 1, 200);
  advance(box, 300000);
  reply_status(box, sent_count - 1, 200); /* the probe succeeds */
  assert_true(sent_count - answered >= 4);
  close_box(box);
}

/* ---- clocks and restarts ---- */

static void a_clock_jump_changes_nothing_while_it_runs(void **state) {
  cxb_outbox *box = open_box("jump.db");
  put(box, "result", "s1", 0);
  reply_later(box, 0, 503, "100");
  utc -= 86400000;
  advance(box, 101000);
  assert_int_equal(sent_count, 2);
  reply_later(box, 1, 503, "100");
  utc += 3 * 86400000LL;
  advance(box, 90000);
  assert_int_equal(sent_count, 2);
  advance(box, 11000);
  assert_int_equal(sent_count, 3);
  close_box(box);
}

static void the_due_time_survives_a_restart_and_a_clock_set_back_costs_at_most_300_s(void **state) {
  cxb_outbox *box = open_box("restart.db");
  put(box, "result", "s1", 0);
  reply_later(box, 0, 503, "1000");
  close_box(box);
  utc += 400000;
  mono = 77; /* another boot */
  box = open_box("restart.db");
  assert_int_equal(sent_count, 0);
  advance(box, 599000);
  assert_int_equal(sent_count, 0);
  advance(box, 2000);
  assert_int_equal(sent_count, 1);
  reply_later(box, 0, 503, "3000");
  close_box(box);
  utc -= 86400000;
  box = open_box("restart.db");
  advance(box, 300001);
  assert_int_equal(sent_count, 1);
  close_box(box);
  utc += 2 * 86400000LL;
}

static void a_row_that_was_being_sent_when_the_process_died_is_due(void **state) {
  cxb_outbox *box = open_box("sending.db");
  put(box, "result", "s1", 0);
  assert_int_equal(sent_count, 1);
  /* What is on disk now is what a killed process leaves. */
  char command[600];
  snprintf(command, sizeof command,
           "cd %s && for s in '' -wal -shm; do cp sending.db$s left.db$s; done", folder);
  assert_int_equal(system(command), 0);
  reply_status(box, 0, 200);
  close_box(box);
  box = open_box("left.db");
  assert_int_equal(sent_count, 1);
  assert_non_null(strstr(sends[0].headers, "Idempotency-Key: result:s1\r\n"));
  close_box(box);
}

static void closing_lets_what_is_under_way_end(void **state) {
  cxb_outbox *box = open_box("ending.db");
  put(box, "result", "s1", 0);
  put(box, "handoff", "s1", 0);
  put(box, "event", "s1", 1);
  cxb_outbox_close(box);
  for (int i = 0; i < 20; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  give(0, (cxb_outbox_reply){.status = 200});
  give(1, (cxb_outbox_reply){.status = 200});
  run_dry();
  assert_int_equal(sent_count, 2);
  box = open_box("ending.db");
  assert_int_equal(list(box, "done").count, 2);
  assert_string_equal(sends[0].body, "event s1 1");
  close_box(box);
}

static void flushing_tries_every_row_once_but_those_told_to_wait(void **state) {
  cxb_outbox *box = open_box("flush.db");
  put_to(box, "result", "s1", 0, "http://one/");
  put_to(box, "result", "s2", 0, "http://two/");
  quiet(box);
  reply_status(box, 0, 500);
  reply_later(box, 1, 500, "600");
  outcome o = {0};
  mono--; /* whatever the jitter was, it is not due */
  assert_int_equal(cxb_outbox_flush(box, 10000, on_outcome, &o), 0);
  for (int i = 0; i < 200 && sent_count < 3; i++) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(500);
  }
  quiet(box);
  assert_int_equal(sent_count, 3);
  assert_string_equal(sends[2].url, "http://one/");
  assert_false(o.done);
  reply_status(box, 2, 500);
  run_until(&o.done);
  o.done = false;
  advance(box, 700000); /* both are tried again and hang */
  assert_int_equal(cxb_outbox_flush(box, 10000, on_outcome, &o), 0);
  advance(box, 9000);
  assert_false(o.done);
  advance(box, 1001);
  assert_true(o.done);
  close_box(box);
}

/* ---- headers ---- */

static int add_secret(void *arg, const cxb_outbox_row *row, cxb_buf *out) {
  assert_string_equal(row->session_id, "s1");
  return cxb_buf_printf(out, "X-Secret: %s\r\n", (const char *)arg);
}

static int refuse(void *arg, const cxb_outbox_row *row, cxb_buf *out) {
  return CXB_EINVAL;
}

static bool file_holds(const char *path, const char *text) {
  FILE *f = fopen(path, "r");
  static char data[1 << 20];
  size_t n = f ? fread(data, 1, sizeof data, f) : 0;
  if (f)
    fclose(f);
  return memmem(data, n, text, strlen(text)) != NULL;
}

static void a_secret_is_asked_for_at_each_attempt_and_never_stored(void **state) {
  cxb_outbox *box = open_box("secret.db");
  static char first[] = "hush-1", second[] = "hush-2";
  cxb_outbox_add_hook(box, add_secret, first);
  put(box, "result", "s1", 0);
  assert_non_null(strstr(sends[0].headers, "\r\nX-Secret: hush-1\r\n"));
  cxb_outbox_add_hook(box, add_secret, second); /* a newer generation */
  reply_status(box, 0, 500);
  advance(box, 1000);
  assert_non_null(strstr(sends[1].headers, "X-Secret: hush-2"));
  cxb_outbox_remove_hook(box, second);
  reply_status(box, 1, 500);
  advance(box, 2000);
  assert_non_null(strstr(sends[2].headers, "X-Secret: hush-1"));
  cxb_outbox_add_hook(box, refuse, second);
  reply_status(box, 2, 500);
  advance(box, 4000);
  assert_int_equal(sent_count, 3); /* not without its headers */
  assert_string_equal(list(box, NULL).state[0], "ready");
  cxb_outbox_remove_hook(box, second);
  assert_false(file_holds(in_folder("secret.db"), "hush"));
  assert_false(file_holds(in_folder("secret.db-wal"), "hush"));
  close_box(box);
}

/* ---- files and disks ---- */

static void a_file_address_is_written_by_rename(void **state) {
  cxb_outbox *box = open_box("file.db");
  char url[128], path[256];
  snprintf(url, sizeof url, "file:%s/results", folder);
  assert_int_equal(put_to(box, "result", "s1", 0, url).err, 0);
  int64_t until = cxb_mono_ms() + 20000;
  while (stats(box).sending + stats(box).ready > 0 && cxb_mono_ms() < until)
    uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(cxb_outbox_file_path(url, "s1", utc, path, sizeof path), 0);
  assert_true(file_holds(path, "result s1 0"));
  assert_int_equal(sent_count, 0);
  close_box(box);
}

static void limit_file_size(rlim_t bytes) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_full_disk_is_told_and_what_is_stored_still_leaves(void **state) {
  signal(SIGXFSZ, SIG_IGN);
  cxb_outbox *box = open_box("full.db");
  put(box, "result", "s1", 0);
  reply_status(box, 0, 500);
  struct stat st;
  assert_int_equal(stat(in_folder("full.db-wal"), &st), 0);
  limit_file_size((rlim_t)st.st_size + 100);
  putting p = put_to(box, "result", "s2", 0, HOOK);
  advance(box, 1000);
  int attempts = sent_count;
  if (attempts > 1)
    give(1, (cxb_outbox_reply){.status = 200});
  quiet(box);
  int still_sending = stats(box).sending;
  limit_file_size(RLIM_INFINITY);
  assert_string_equal(p.code, "no_space");
  assert_int_equal(attempts, 2);      /* delivered although the disk takes nothing */
  assert_int_equal(still_sending, 1); /* its outcome waits; it is not sent again */
  advance(box, 1001);
  assert_int_equal(sent_count, 2);
  assert_int_equal(stats(box).sending, 0);
  assert_int_equal(list(box, "done").count, 1);
  assert_int_equal(put_to(box, "result", "s2", 0, HOOK).err, 0); /* the same row, put again */
  quiet(box);
  close_box(box);
}

static void a_full_file_system_is_told_too(void **state) {
  char dir[128];
  snprintf(dir, sizeof dir, "%s/small", folder);
  mkdir(dir, 0700);
  if (mount("none", dir, "tmpfs", 0, "size=256k") != 0)
    skip(); /* not allowed to mount here: the file size limit above stands for it */
  cxb_outbox *box = open_box("small/box.db");
  put(box, "result", "s0", 0);
  int fd = open(in_folder("small/filler"), O_WRONLY | O_CREAT, 0600);
  static char zeros[4096];
  while (write(fd, zeros, sizeof zeros) > 0)
    ;
  close(fd);
  putting p = {0};
  static char big[100000];
  cxb_outbox_new row = {
      .kind = "result", .session_id = "s1", .url = HOOK, .body = big, .body_len = sizeof big};
  assert_int_equal(cxb_outbox_put(box, &row, on_put, &p), 0);
  run_until(&p.done);
  assert_string_equal(p.code, "no_space");
  unlink(in_folder("small/filler"));
  assert_int_equal(put_to(box, "result", "s1", 0, HOOK).err, 0);
  quiet(box);
  close_box(box);
  assert_int_equal(umount(dir), 0);
}

static void damage(const char *path, off_t from_end, size_t len) {
  int fd = open(path, O_RDWR);
  off_t end = lseek(fd, 0, SEEK_END);
  static char garbage[4096];
  memset(garbage, 0xa5, sizeof garbage);
  assert_int_equal(pwrite(fd, garbage, len, end - from_end), len);
  close(fd);
}

static off_t size_of(const char *path) {
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  return st.st_size;
}

/* So many dead rows of 1,000 bytes, one after the other. */
static void fill_with_dead_rows(const char *name, int count) {
  static char body[1000];
  memset(body, 'b', sizeof body);
  cxb_outbox *box = open_box(name);
  for (int i = 0; i < count; i++) {
    char session[16];
    snprintf(session, sizeof session, "session-%d", i);
    putting p = {0};
    cxb_outbox_new row = {.kind = "result",
                          .session_id = session,
                          .url = HOOK,
                          .body = body,
                          .body_len = sizeof body};
    assert_int_equal(cxb_outbox_put(box, &row, on_put, &p), 0);
    run_until(&p.done);
    quiet(box);
    reply_status(box, i, 403);
  }
  close_box(box);
}

static void of_a_damaged_file_the_readable_rows_are_kept_and_it_is_set_aside(void **state) {
  fill_with_dead_rows("page.db", 60);
  damage(in_folder("page.db"), size_of(in_folder("page.db")) / 2 / 4096 * 4096, 4096);
  cxb_outbox *box = open_box("page.db");
  int kept = stats(box).dead;
  assert_true(kept >= 40 && kept < 60); /* a page holds a few rows */
  assert_int_equal(access(in_folder("page.db.corrupt"), F_OK), 0);
  assert_int_equal(access(in_folder("page.db.salvaged"), F_OK), -1);
  listing l = list(box, "dead");
  assert_string_equal(l.error[0], "HTTP 403");
  outcome o = {0};
  cxb_outbox_replay(box, l.id[0], on_outcome, &o);
  run_until(&o.done);
  quiet(box);
  assert_int_equal(sent_count, 1);
  assert_memory_equal(sends[0].body, "bbbb", 4);
  reply_status(box, 0, 200);
  assert_string_equal(put_to(box, "result", l.session[1], 0, HOOK).code, "duplicate");
  close_box(box);
}

static void a_damaged_last_page_costs_its_own_rows_only(void **state) {
  fill_with_dead_rows("last.db", 60);
  damage(in_folder("last.db"), 4096, 4096);
  cxb_outbox *box = open_box("last.db");
  assert_true(stats(box).dead >= 50);
  assert_string_equal(list(box, "dead").session[0], "session-0");
  close_box(box);
}

static void a_file_that_is_no_database_is_set_aside_each_time(void **state) {
  for (int round = 0; round < 2; round++) {
    fill_with_dead_rows("head.db", 3);
    damage(in_folder("head.db"), size_of(in_folder("head.db")), 4096);
    cxb_outbox *box = open_box("head.db");
    assert_int_equal(stats(box).dead, 0);
    put(box, "result", "s1", 0);
    reply_status(box, 0, 200);
    close_box(box);
    unlink(in_folder("head.db"));
  }
  assert_int_equal(access(in_folder("head.db.corrupt"), F_OK), 0);
  assert_int_equal(access(in_folder("head.db.corrupt.1"), F_OK), 0);
}

static void a_folder_that_cannot_be_written_is_named(void **state) {
  char dir[128], path[160];
  snprintf(dir, sizeof dir, "%s/ro", folder);
  snprintf(path, sizeof path, "%s/box.db", dir);
  mkdir(dir, 0555);
  pid_t pid = fork();
  if (pid == 0) { /* root may write anywhere */
    if (getuid() == 0 && (chmod(folder, 0755) != 0 || setuid(65534) != 0))
      _exit(9);
    uv_loop_init(&loop);
    opening o = try_open(path);
    _exit(o.err == CXB_EIO && strstr(o.message, path) ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
}

static void a_box_belongs_to_one_process(void **state) {
  cxb_outbox *box = open_box("mine.db");
  assert_int_equal(link(in_folder("mine.db"), in_folder("theirs.db")), 0);
  pid_t pid = fork();
  if (pid == 0) {
    uv_loop_init(&loop);
    opening o = try_open(in_folder("theirs.db"));
    _exit(o.err == CXB_EBUSY ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
  opening again = try_open(in_folder("mine.db")); /* another generation of this one */
  assert_ptr_equal(again.box, box);
  cxb_outbox_close(again.box);
  close_box(box);
}

/* ---- killed writers ---- */

static int accept_later(uv_loop_t *at, const cxb_outbox_attempt *attempt,
                        cxb_outbox_replied replied, void *arg, void **flight) {
  return 0; /* stores and never answers */
}

static void put_until_killed(const char *path, int fd) {
  uv_loop_init(&loop);
  cxb_outbox_options options = {.post = accept_later};
  opening o = {0};
  cxb_outbox_open(&loop, path, &options, on_opened, &o);
  while (!o.done)
    uv_run(&loop, UV_RUN_ONCE);
  char session[16];
  for (int n = 1; o.err == 0; n++) {
    putting p = {0};
    snprintf(session, sizeof session, "s%d", n);
    cxb_outbox_new row = {
        .kind = "result", .session_id = session, .url = HOOK, .body = "{}", .body_len = 2};
    if (cxb_outbox_put(o.box, &row, on_put, &p) != 0)
      _exit(2);
    while (!p.done)
      uv_run(&loop, UV_RUN_ONCE);
    if (p.err || write(fd, &n, sizeof n) != sizeof n)
      _exit(3);
  }
  _exit(4);
}

static int count_rows(const char *path) {
  sqlite3 *db;
  sqlite3_stmt *stmt;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  /* Rows are one unbroken count, in the states a killed process may leave. */
  assert_int_equal(
      sqlite3_prepare_v2(db,
                         "SELECT count(*), max(cast(substr(session_id,2) AS INTEGER)), "
                         "(SELECT integrity_check FROM pragma_integrity_check) FROM outbox "
                         "WHERE state IN ('ready','sending') AND body=x'7b7d'",
                         -1, &stmt, NULL),
      SQLITE_OK);
  assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
  int n = sqlite3_column_int(stmt, 0);
  assert_int_equal(sqlite3_column_int(stmt, 1), n);
  assert_string_equal(sqlite3_column_text(stmt, 2), "ok");
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return n;
}

static void no_acknowledged_row_is_lost_when_the_writer_is_killed(void **state) {
  srand(20240425);
  char path[256];
  snprintf(path, sizeof path, "%s/killed.db", folder);
  for (int round = 0; round < 200; round++) {
    int fds[2], certain = 0, n;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
      close(fds[0]);
      put_until_killed(path, fds[1]);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &certain, sizeof certain), sizeof certain);
    usleep((useconds_t)(rand() % 10000));
    kill(pid, SIGKILL);
    while (read(fds[0], &n, sizeof n) == sizeof n)
      certain = n;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    assert_true(count_rows(path) >= certain);
    for (int i = 0; i < 3; i++) {
      static const char *const tails[] = {"", "-wal", "-shm"};
      char file[300];
      snprintf(file, sizeof file, "%s%s", path, tails[i]);
      unlink(file);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_status_has_its_verdict),
      cmocka_unit_test(the_delay_doubles_up_to_five_minutes_with_full_jitter),
      cmocka_unit_test(retry_after_is_read_in_both_forms),
      cmocka_unit_test(a_destination_is_host_and_port_without_user),
      cmocka_unit_test(a_result_file_is_named_by_day_and_session),
      cmocka_unit_test(a_row_is_stored_sent_and_done),
      cmocka_unit_test(a_second_result_of_a_session_is_refused_at_the_door),
      cmocka_unit_test(an_event_has_its_number_in_its_key),
      cmocka_unit_test(a_key_is_forgotten_after_seven_days),
      cmocka_unit_test(a_failed_attempt_is_repeated_within_its_delay_with_the_same_key),
      cmocka_unit_test(a_refusal_for_good_is_dead_at_once_and_can_be_replayed),
      cmocka_unit_test(dead_rows_stay_until_they_are_purged),
      cmocka_unit_test(after_seven_days_a_row_is_dead),
      cmocka_unit_test(retry_after_is_a_floor),
      cmocka_unit_test(a_row_in_analysis_is_sent_when_it_is_finished_and_not_before),
      cmocka_unit_test(what_was_done_of_the_analysis_survives_a_crash_with_its_count),
      cmocka_unit_test(an_analysis_nobody_finishes_is_claimed_again_and_after_15_minutes_given_up),
      cmocka_unit_test(rows_of_one_session_and_stream_go_in_order),
      cmocka_unit_test(a_poison_row_delays_nobody),
      cmocka_unit_test(a_broken_destination_gets_one_probe_at_a_time),
      cmocka_unit_test(a_clock_jump_changes_nothing_while_it_runs),
      cmocka_unit_test(the_due_time_survives_a_restart_and_a_clock_set_back_costs_at_most_300_s),
      cmocka_unit_test(a_row_that_was_being_sent_when_the_process_died_is_due),
      cmocka_unit_test(closing_lets_what_is_under_way_end),
      cmocka_unit_test(flushing_tries_every_row_once_but_those_told_to_wait),
      cmocka_unit_test(a_secret_is_asked_for_at_each_attempt_and_never_stored),
      cmocka_unit_test(a_file_address_is_written_by_rename),
      cmocka_unit_test(a_full_disk_is_told_and_what_is_stored_still_leaves),
      cmocka_unit_test(a_full_file_system_is_told_too),
      cmocka_unit_test(of_a_damaged_file_the_readable_rows_are_kept_and_it_is_set_aside),
      cmocka_unit_test(a_damaged_last_page_costs_its_own_rows_only),
      cmocka_unit_test(a_file_that_is_no_database_is_set_aside_each_time),
      cmocka_unit_test(a_folder_that_cannot_be_written_is_named),
      cmocka_unit_test(a_box_belongs_to_one_process),
      cmocka_unit_test(no_acknowledged_row_is_lost_when_the_writer_is_killed),
  };
  return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
