/* alone: 5 */
/* The play queue, the pacer's clock and the inbound gate, each alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/err.h"
#include "media/inflow.h"
#include "media/pacer.h"
#include "media/playq.h"
#include "media_support.h"

/* ---- play queue ---- */
static _Atomic int64_t queued_us;

static void push(cxb_playq *q, uint32_t id, int rate, size_t n, int value) {
  cxb_chunk *c = malloc(sizeof *c + n * 2);
  c->n = n;
  c->us = (int64_t)n * 1000000 / rate;
  for (size_t i = 0; i < n; i++)
    c->pcm[i] = (int16_t)value;
  queued_us += c->us;
  cxb_playq_push(q, id, c);
}

static void the_queue_gives_whole_frames_and_pads_the_last(void **state) {
  cxb_playq q;
  cxb_piece p;
  int16_t frame[160];
  queued_us = 0;
  cxb_playq_init(&q, &queued_us);
  assert_int_equal(cxb_playq_begin(&q, 7, 8000), 0);
  push(&q, 7, 8000, 250, 5);
  assert_false(cxb_playq_ready(&q)); /* the leg's rate is not known yet */
  assert_int_equal(cxb_playq_start(&q, 8000), 0);
  assert_true(cxb_playq_ready(&q));
  assert_true(cxb_playq_pull(&q, frame, &p));
  assert_true(p.utterance == 7 && p.samples == 160 && !p.last);
  assert_false(cxb_playq_ready(&q));
  assert_false(cxb_playq_pull(&q, frame, &p));
  cxb_playq_end(&q, 7, 0);
  assert_true(cxb_playq_ready(&q));
  assert_true(cxb_playq_pull(&q, frame, &p));
  assert_true(p.samples == 90 && p.last && frame[89] == 5 && frame[90] == 0);
  assert_false(cxb_playq_pull(&q, frame, &p));
  assert_int_equal(queued_us, 0);
}

static void an_end_that_comes_late_is_a_piece_without_samples(void **state) {
  cxb_playq q;
  cxb_piece p;
  int16_t frame[160];
  queued_us = 0;
  cxb_playq_init(&q, &queued_us);
  cxb_playq_start(&q, 8000);
  cxb_playq_begin(&q, 1, 8000);
  push(&q, 1, 8000, 160, 5);
  assert_true(cxb_playq_pull(&q, frame, &p) && !p.last);
  assert_false(cxb_playq_pull(&q, frame, &p));
  cxb_playq_end(&q, 1, CXB_EIO);
  assert_true(cxb_playq_pull(&q, frame, &p));
  assert_true(p.samples == 0 && p.last && p.err == CXB_EIO);
  cxb_playq_free(&q);
}

static void a_chunk_for_nobody_is_freed_and_settled(void **state) {
  cxb_playq q;
  uint32_t id;
  int err;
  queued_us = 0;
  cxb_playq_init(&q, &queued_us);
  cxb_playq_start(&q, 8000);
  push(&q, 9, 8000, 800, 1);
  assert_int_equal(queued_us, 0);
  cxb_playq_begin(&q, 1, 8000);
  push(&q, 1, 8000, 800, 1);
  cxb_playq_end(&q, 1, 0);
  push(&q, 1, 8000, 800, 1); /* after the end */
  assert_int_equal(queued_us, 100000);
  assert_true(cxb_playq_drop(&q, &id, &err));
  assert_int_equal(id, 1);
  assert_false(cxb_playq_drop(&q, &id, &err));
  assert_int_equal(queued_us, 0);
}

static void odd_pieces_at_another_rate_lose_nothing(void **state) {
  cxb_playq q;
  cxb_piece p;
  int16_t frame[160];
  size_t got = 0, total = 0;
  queued_us = 0;
  cxb_playq_init(&q, &queued_us);
  cxb_playq_start(&q, 8000);
  cxb_playq_begin(&q, 1, 22050);
  for (size_t n = 1; total + n < 44100; total += n, n = n * 11 % 1201 + 1)
    push(&q, 1, 22050, n, 4000);
  cxb_playq_end(&q, 1, 0);
  while (cxb_playq_pull(&q, frame, &p))
    got += p.samples;
  long want = (long)(total * 8000 / 22050);
  assert_in_range(got, want - 2, want + 4);
  assert_int_equal(queued_us, 0);
}

/* ---- pacer ---- */
typedef struct rig {
  uv_loop_t loop;
  cxb_pacer p;
  size_t have, sent;
  int64_t sent_us[200], play_us[200];
  size_t stall_at; /* the loop is blocked for 150 ms inside this frame */
} rig;

static bool rig_ready(void *arg) {
  return ((rig *)arg)->have > 0;
}

static bool rig_send(void *arg, int64_t play_us) {
  rig *g = arg;
  g->sent_us[g->sent] = (int64_t)(uv_hrtime() / 1000);
  g->play_us[g->sent++] = play_us;
  g->have--;
  if (g->stall_at && g->sent == g->stall_at)
    usleep(150000);
  return true;
}

static void no_op(uv_timer_t *t) {
}

static void rig_run(rig *g, int ms) {
  uv_timer_t timer;
  uv_timer_init(&g->loop, &timer);
  uv_update_time(&g->loop);
  uv_timer_start(&timer, no_op, (uint64_t)ms, 0);
  while (uv_is_active((uv_handle_t *)&timer))
    uv_run(&g->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&g->loop, UV_RUN_NOWAIT);
}

static const cxb_pacer_ops rig_ops = {rig_ready, rig_send};

static void rig_open(rig *g, int lead_ms) {
  memset(g, 0, sizeof *g);
  uv_loop_init(&g->loop);
  assert_int_equal(cxb_pacer_init(&g->p, &g->loop, lead_ms, &rig_ops, g), 0);
}

static void rig_close(rig *g) {
  cxb_pacer_close(&g->p, NULL);
  uv_run(&g->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&g->loop), 0);
}

static void the_lead_goes_at_once_and_the_rest_in_time(void **state) {
  static const int leads[] = {0, 60, 200};
  for (size_t k = 0; k < 3; k++) {
    rig g;
    rig_open(&g, leads[k]);
    g.have = 25;
    cxb_pacer_kick(&g.p);
    assert_int_equal(g.sent, (size_t)leads[k] / 20 + 1);
    rig_run(&g, 600);
    assert_int_equal(g.sent, 25);
    for (size_t i = 0; i < 25; i++) {
      if (leads[k] > 0) /* without a lead a busy machine may move the clock */
        assert_int_equal(g.play_us[i], g.play_us[0] + (int64_t)i * 20000);
      assert_true(g.sent_us[i] >= g.play_us[i] - leads[k] * 1000);
    }
    assert_false(g.p.armed); /* asleep */
    rig_close(&g);
  }
}

static void who_finds_the_loop_awake_has_frames_sent_before_their_deadline(void **state) {
  rig g;
  rig_open(&g, 200);
  g.have = 14;
  cxb_pacer_kick(&g.p);
  cxb_pacer_pass(&g.p);
  assert_true(g.sent >= 11);
  while (g.sent < 13) {
    usleep(5000);
    cxb_pacer_pass(&g.p); /* the loop itself does not run: no timer */
  }
  for (size_t i = 0; i < g.sent; i++)
    assert_true(g.sent_us[i] >= g.play_us[i] - 200000);
  assert_int_equal(g.p.lateness.total, 0);
  assert_true(g.p.armed || g.sent == 14);
  rig_run(&g, 100); /* the last one by its deadline */
  assert_int_equal(g.sent, 14);
  assert_false(g.p.armed);
  g.have++;
  cxb_pacer_kick(&g.p);
  rig_run(&g, 50);
  assert_int_equal(g.sent, 15);
  rig_close(&g);
}

static void a_stall_within_the_lead_is_caught_up_without_a_gap(void **state) {
  rig g;
  rig_open(&g, 200);
  g.have = 40;
  g.stall_at = 15;
  cxb_pacer_kick(&g.p);
  rig_run(&g, 1000);
  assert_int_equal(g.sent, 40);
  for (size_t i = 0; i < 40; i++)
    assert_int_equal(g.play_us[i], g.play_us[0] + (int64_t)i * 20000);
  assert_true(g.p.underruns >= 5); /* deadlines missed by a frame or more */
  assert_true(g.p.lateness.max >= 100000);
  rig_close(&g);
}

static void a_stall_beyond_the_lead_moves_the_clock_and_keeps_the_lead(void **state) {
  rig g;
  rig_open(&g, 60);
  g.have = 40;
  g.stall_at = 15;
  cxb_pacer_kick(&g.p);
  rig_run(&g, 1200);
  assert_int_equal(g.sent, 40);
  int64_t moved = g.play_us[39] - g.play_us[0] - 39 * 20000;
  assert_true(moved > 40000 && moved < 150000);
  for (size_t i = 0; i < 40; i++)
    assert_true(g.play_us[i] - g.sent_us[i] <= 60000);
  rig_close(&g);
}

static void audio_that_comes_late_is_no_underrun(void **state) {
  rig g;
  rig_open(&g, 60);
  for (int i = 0; i < 5; i++) { /* a slow voice: 20 ms of audio every 100 ms */
    g.have++;
    cxb_pacer_kick(&g.p);
    rig_run(&g, 100);
  }
  assert_int_equal(g.sent, 5);
  assert_int_equal(g.p.underruns, 0);
  assert_int_equal(g.p.lateness.total, 0);
  rig_close(&g);
}

static void a_reset_forgets_what_was_sent(void **state) {
  rig g;
  rig_open(&g, 200);
  g.have = 100;
  cxb_pacer_kick(&g.p);
  g.have = 0;
  cxb_pacer_reset(&g.p);
  rig_run(&g, 50);
  size_t before = g.sent;
  g.have = 50;
  cxb_pacer_kick(&g.p); /* the far end is empty: the whole lead again */
  assert_int_equal(g.sent - before, 11);
  assert_true(g.play_us[before] - g.sent_us[before] < 1000);
  rig_close(&g);
}

/* ---- the inbound gate ---- */
typedef struct passed {
  int values[1000];
  size_t n;
} passed;

static void on_passed(void *arg, const int16_t *pcm, size_t n) {
  passed *p = arg;
  assert_int_equal(n, 160);
  p->values[p->n++] = pcm[0];
}

static unsigned offer(cxb_inflow *f, int value, int64_t ms, passed *p) {
  int16_t pcm[160] = {(int16_t)value};
  return cxb_inflow_push(f, pcm, 1000000 + ms * 1000, on_passed, p);
}

static void a_stall_of_two_seconds_and_its_burst_pass_whole(void **state) {
  cxb_inflow f = {.frame = 160};
  passed p = {0};
  for (int i = 0; i < 100; i++)
    assert_int_equal(offer(&f, i, i * 20, &p), 0);
  for (int i = 100; i < 200; i++)
    assert_int_equal(offer(&f, i, 4000, &p), 0);
  assert_int_equal(p.n, 200);
  assert_int_equal(cxb_inflow_next(&f), INT64_MAX);
  cxb_inflow_free(&f);
}

static void a_sender_whose_clock_runs_fast_is_never_dropped(void **state) {
  cxb_inflow f = {.frame = 160};
  passed p = {0};
  unsigned dropped = 0;
  for (int i = 0; i < 1000; i++) /* 2 hours' worth of 0.05 % in small steps */
    for (int k = 0; k < 360; k++) {
      p.n = 0;
      dropped += offer(&f, 0, (int64_t)((i * 360 + k) * 19.99), &p);
      assert_int_equal(p.n, 1);
    }
  assert_int_equal(dropped, 0);
  cxb_inflow_free(&f);
}

static void a_steady_flood_passes_in_real_time_newest_kept(void **state) {
  cxb_inflow f = {.frame = 160};
  passed p = {0};
  unsigned dropped = 0;
  for (int i = 0; i < 500; i++) /* twice real time for 5 s */
    dropped += offer(&f, i, i * 10, &p);
  assert_true(p.n >= 250 && p.n <= 270);
  assert_true(f.count == 100);
  assert_int_equal(dropped + p.n + f.count, 500);
  for (size_t i = 1; i < p.n; i++)
    assert_true(p.values[i] > p.values[i - 1]);
  cxb_inflow_poll(&f, 1000000 + 8000 * 1000, on_passed, &p);
  assert_int_equal(p.values[p.n - 1], 499);
  cxb_inflow_free(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_queue_gives_whole_frames_and_pads_the_last),
      cmocka_unit_test(an_end_that_comes_late_is_a_piece_without_samples),
      cmocka_unit_test(a_chunk_for_nobody_is_freed_and_settled),
      cmocka_unit_test(odd_pieces_at_another_rate_lose_nothing),
      cmocka_unit_test(the_lead_goes_at_once_and_the_rest_in_time),
      cmocka_unit_test(who_finds_the_loop_awake_has_frames_sent_before_their_deadline),
      cmocka_unit_test(a_stall_within_the_lead_is_caught_up_without_a_gap),
      cmocka_unit_test(a_stall_beyond_the_lead_moves_the_clock_and_keeps_the_lead),
      cmocka_unit_test(audio_that_comes_late_is_no_underrun),
      cmocka_unit_test(a_reset_forgets_what_was_sent),
      cmocka_unit_test(a_stall_of_two_seconds_and_its_burst_pass_whole),
      cmocka_unit_test(a_sender_whose_clock_runs_fast_is_never_dropped),
      cmocka_unit_test(a_steady_flood_passes_in_real_time_newest_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
