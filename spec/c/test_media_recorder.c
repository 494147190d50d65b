/* alone: 14 */
/* The recorder alone (timeline, disk) and in a call (alignment, a killed process, a full disk). */
#include "media_fake_wire.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "media/recorder.h"

/* ---- reading a recording as a stranger would ---- */
typedef struct recording {
  int16_t *left, *right;
  size_t n;
  int rate;
  bool valid;
} recording;

static uint32_t u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static recording read_recording(const char *path) {
  recording r = {0};
  uint8_t h[44];
  struct stat st;
  FILE *f = fopen(path, "rb");
  if (!f)
    return r;
  fstat(fileno(f), &st);
  if (fread(h, 1, 44, f) == 44 && memcmp(h, "RIFF", 4) == 0 && memcmp(h + 8, "WAVEfmt ", 8) == 0 &&
      memcmp(h + 36, "data", 4) == 0 && h[22] == 2 && h[34] == 16) {
    uint32_t bytes = u32(h + 40);
    r.rate = (int)u32(h + 24);
    r.n = bytes / 4;
    r.valid = bytes % 4 == 0 && u32(h + 4) == bytes + 36 && (int64_t)bytes + 44 <= st.st_size;
    int16_t *pcm = malloc(bytes + 4);
    r.left = malloc(bytes / 2 + 2);
    r.right = malloc(bytes / 2 + 2);
    r.valid = r.valid && fread(pcm, 4, r.n, f) == r.n;
    for (size_t i = 0; i < r.n; i++) {
      r.left[i] = pcm[i * 2];
      r.right[i] = pcm[i * 2 + 1];
    }
    free(pcm);
  }
  fclose(f);
  return r;
}

static void recording_free(recording *r) {
  free(r->left);
  free(r->right);
  *r = (recording){0};
}

/* First sample from `from` on that is louder than half of full scale; n when none. */
static size_t loud_at(const int16_t *pcm, size_t n, size_t from) {
  while (from < n && abs(pcm[from]) < 16000)
    from++;
  return from;
}

static bool all_zero(const int16_t *pcm, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    if (pcm[i] != 0)
      return false;
  return true;
}

static const char *file_name(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
  return path;
}

/* ---- the recorder alone, times made up ---- */
typedef struct rig {
  uv_loop_t loop;
  cxb_recorder *r;
  int64_t t0;
  const char *path;
  char why[32];
  bool closed;
  int64_t bytes;
} rig;

static void on_why(void *arg, const char *why) {
  snprintf(((rig *)arg)->why, sizeof((rig *)arg)->why, "%s", why);
}

static void on_closed(void *arg, int64_t bytes) {
  ((rig *)arg)->closed = true;
  ((rig *)arg)->bytes = bytes;
}

static void rig_open(rig *g, const char *name) {
  *g = (rig){.path = file_name(name)};
  uv_loop_init(&g->loop);
  int fd = cxb_recorder_open(g->path);
  assert_true(fd >= 0);
  g->t0 = us_now();
  assert_int_equal(cxb_recorder_new(&g->loop, fd, 8000, g->t0, on_why, g, &g->r), 0);
}

static recording rig_close(rig *g, int end_ms) {
  cxb_recorder_close(g->r, g->t0 + (int64_t)end_ms * 1000, on_closed, g);
  uv_run(&g->loop, UV_RUN_DEFAULT);
  assert_true(g->closed);
  uv_loop_close(&g->loop);
  recording r = read_recording(g->path);
  assert_true(r.valid);
  return r;
}

/* A caller's frame, all samples `value`, arrived at `ms`. */
static void caller(rig *g, int value, int ms) {
  int16_t pcm[160];
  for (int i = 0; i < 160; i++)
    pcm[i] = (int16_t)value;
  cxb_recorder_caller(g->r, pcm, 160, g->t0 + (int64_t)ms * 1000);
}

static void bot(rig *g, int value, int ms) {
  int16_t pcm[160];
  for (int i = 0; i < 160; i++)
    pcm[i] = (int16_t)value;
  cxb_recorder_bot(g->r, pcm, 160, g->t0 + (int64_t)ms * 1000);
}

static void both_voices_lie_where_they_were_heard(void **state) {
  rig g;
  rig_open(&g, "place.wav");
  for (int i = 0; i < 50; i++)
    caller(&g, 1 + i, 20 + i * 20 + i % 3); /* some jitter */
  for (int i = 0; i < 10; i++)
    bot(&g, 100 + i, 300 + i * 20);
  recording r = rig_close(&g, 1020);
  assert_int_equal(r.n, 8160);
  for (int i = 0; i < 50; i++)
    assert_int_equal(r.left[i * 160 + 80], 1 + i);
  assert_true(all_zero(r.right, 0, 2400));
  for (int i = 0; i < 10; i++)
    assert_int_equal(r.right[2400 + i * 160 + 80], 100 + i);
  assert_true(all_zero(r.right, 4000, r.n));
  recording_free(&r);
}

static void a_stall_followed_by_a_burst_leaves_no_hole(void **state) {
  rig g;
  rig_open(&g, "burst.wav");
  for (int i = 0; i < 25; i++)
    caller(&g, 1 + i, 20 + i * 20);
  for (int i = 25; i < 50; i++) /* half a second late, all at once */
    caller(&g, 1 + i, 1000);
  for (int i = 50; i < 75; i++)
    caller(&g, 1 + i, 20 + i * 20);
  recording r = rig_close(&g, 1500);
  for (int i = 0; i < 75; i++)
    assert_int_equal(r.left[i * 160 + 80], 1 + i);
  recording_free(&r);
}

static void a_pause_of_the_sender_stays_a_pause(void **state) {
  static const int pauses[] = {300, 1500, 3000};
  for (int k = 0; k < 3; k++) {
    rig g;
    rig_open(&g, "pause.wav");
    for (int i = 0; i < 25; i++)
      caller(&g, 1 + i, 20 + i * 20);
    for (int i = 25; i < 75; i++)
      caller(&g, 1 + i, 20 + i * 20 + pauses[k]);
    recording r = rig_close(&g, 1500 + pauses[k]);
    for (int i = 25; i < 75; i++)
      assert_int_equal(r.left[i * 160 + 80 + pauses[k] * 8], 1 + i);
    assert_true(all_zero(r.left, 4000, 4000 + (size_t)pauses[k] * 8));
    recording_free(&r);
  }
}

static void a_sender_whose_clock_runs_slow_stays_aligned(void **state) {
  rig g;
  rig_open(&g, "drift.wav");
  int late = 0;
  for (int i = 0; i < 1000; i++) { /* 0.5 % slow: 100 ms late after 20 s */
    late = i / 10;
    caller(&g, 1 + i % 30000, 20 + i * 20 + late);
  }
  recording r = rig_close(&g, 20000 + late + 20);
  size_t at = r.n;
  while (at > 0 && r.left[at - 1] != 1000)
    at--;
  assert_in_range((int)at, (20000 + late) * 8 - 160, (20000 + late) * 8 + 160);
  recording_free(&r);
}

static void a_cut_silences_what_was_not_heard(void **state) {
  rig g;
  rig_open(&g, "cut.wav");
  for (int i = 0; i < 20; i++)
    bot(&g, 500, i * 20);
  cxb_recorder_cut(g.r, g.t0 + 250 * 1000);
  recording r = rig_close(&g, 600);
  assert_int_equal(r.right[1999], 500);
  assert_true(all_zero(r.right, 2000, r.n));
  recording_free(&r);
}

static void paused_is_silence_on_both_channels_and_time_goes_on(void **state) {
  rig g;
  rig_open(&g, "paused.wav");
  for (int i = 0; i < 60; i++) {
    if (i == 20 || i == 40)
      cxb_recorder_pause(g.r, i == 20, g.t0 + (int64_t)i * 20000);
    bot(&g, 300, i * 20);
    caller(&g, 200, 20 + i * 20);
  }
  recording r = rig_close(&g, 1200);
  assert_true(r.left[3199] == 200 && r.right[3199] == 300);
  assert_true(all_zero(r.left, 3200, 6400) && all_zero(r.right, 3200, 6400));
  assert_true(r.left[6400] == 200 && r.right[6400] == 300 && r.left[9500] == 200);
  recording_free(&r);
}

static void a_recording_of_nothing_is_silence_of_that_length(void **state) {
  rig g;
  rig_open(&g, "nothing.wav");
  recording r = rig_close(&g, 7000);
  assert_int_equal(r.n, 24000 + 32000); /* a hole in front of what memory holds: silence */
  assert_true(all_zero(r.left, 0, r.n));
  assert_int_equal(g.bytes, 44 + (int64_t)r.n * 4);
  recording_free(&r);
}

static void opening_tells_what_is_wrong(void **state) {
  assert_int_equal(cxb_recorder_open("/nonexistent/a.wav"), CXB_ENOENT);
  assert_int_equal(cxb_recorder_open(temp_dir()), CXB_EIO);
}

static void a_device_is_refused_and_left_where_it_is(void **state) {
  struct stat st;
  char path[256];
  snprintf(path, sizeof path, "%s", file_name("fifo"));
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(cxb_recorder_open(path), CXB_EIO);
  assert_int_equal(stat(path, &st), 0);
  assert_true(S_ISFIFO(st.st_mode));
}

static void no_room_for_the_header_is_told_and_leaves_no_file(void **state) {
  struct rlimit before, none;
  struct stat st;
  char path[256];
  snprintf(path, sizeof path, "%s", file_name("noroom.wav"));
  getrlimit(RLIMIT_FSIZE, &before);
  none = before;
  none.rlim_cur = 10;
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &none);
  int fd = cxb_recorder_open(path);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  assert_int_equal(fd, CXB_ENOSPC);
  assert_int_equal(stat(path, &st), -1);
}

/* ---- in a call ---- */
static cxb_media *media;

/* A far end whose microphone, on a clock of its own, hears its loudspeaker. */
typedef struct echo_room {
  fake_wire *w;
  int16_t *heard; /* what is played, from play_us on */
  size_t frames;
  int64_t play_us, mic_us; /* mic_us: when the microphone's first sample was taken */
  size_t taken;            /* frames the microphone has given */
  uv_timer_t timer;
} echo_room;

static echo_room *room; /* of the call under way */

static int room_frame(void *wire, const int16_t *pcm, size_t n) {
  if (room->play_us == 0)
    room->play_us = us_now(); /* play-out starts with the first frame */
  memcpy(room->heard + room->frames++ * n, pcm, n * sizeof *pcm);
  return fake_frame(wire, pcm, n);
}

static void room_tick(uv_timer_t *timer) {
  for (; room->mic_us + (int64_t)(room->taken + 1) * 20000 <= us_now(); room->taken++) {
    int16_t mic[160] = {0};
    for (size_t i = 0; i < 160 && room->play_us; i++) {
      int64_t at = (room->mic_us - room->play_us) * 8 / 1000 + (int64_t)(room->taken * 160 + i);
      if (at >= 0 && at < (int64_t)room->frames * 160)
        mic[i] = room->heard[at];
    }
    cxb_session_in_audio(room->w->s, mic, 160);
  }
}

static void room_open(fake_wire *w, void *arg) {
  room->mic_us = us_now();
  uv_timer_init(cxb_media_loop(w->media), &room->timer);
  uv_timer_start(&room->timer, room_tick, 2, 2);
}

static void room_close(fake_wire *w, void *arg) {
  uv_close((uv_handle_t *)&room->timer, NULL);
}

static void the_channels_are_aligned_within_one_frame(void **state) {
  fake_wire *w = fake_new();
  echo_room here = {.w = w, .heard = calloc(3000 * 160, 2)};
  char path[256];
  snprintf(path, sizeof path, "%s", file_name("aligned.wav"));
  sound clicks = silence(4000, 8000);
  for (size_t at = 800; at + 40 < clicks.n; at += 4000)
    for (size_t i = 0; i < 40; i++)
      clicks.pcm[at + i] = 20000;
  room = &here;
  call_begin(w, media, 8000, 60);
  w->ops.frame = room_frame;
  on_media(w, fake_attach, NULL);
  assert_int_equal(cxb_session_record(w->s, path), 0);
  on_media(w, room_open, NULL);
  pass(300);
  say(w, &clicks, true);
  expect_event(w, CXB_EV_PLAYED, 6000);
  pass(300);
  on_media(w, room_close, NULL);
  cxb_session_abort(w->s, 1000);
  expect_event(w, CXB_EV_CLOSED, 3000);
  recording r = read_recording(path); /* complete when CLOSED comes */
  assert_true(r.valid);
  size_t left = 0, right = 0;
  for (int k = 0; k < 8; k++) {
    right = loud_at(r.right, r.n, right);
    left = loud_at(r.left, r.n, left);
    assert_true(left < r.n && right < r.n);
    assert_in_range((long)left - (long)right + 1000, 1000 - 160, 1000 + 160);
    left += 2000;
    right += 2000;
  }
  recording_free(&r);
  free(here.heard);
  sound_free(&clicks);
  call_end(w);
}

static void a_clear_is_a_clear_on_the_recording_too(void **state) {
  fake_wire *w = fake_new();
  char path[256];
  snprintf(path, sizeof path, "%s", file_name("cleared.wav"));
  sound s = sine(300, 5000, 8000, 20000);
  call_begin(w, media, 8000, 200);
  assert_int_equal(cxb_session_record(w->s, path), 0);
  assert_int_equal(cxb_session_record(w->s, path), CXB_EBUSY);
  say(w, &s, true);
  expect_event(w, CXB_EV_FIRST_FRAME, 500);
  pass(700);
  cxb_session_clear(w->s);
  int64_t heard = expect_event(w, CXB_EV_CLEARED, 500)->e.heard_ms;
  pass(500);
  cxb_session_abort(w->s, 1000);
  expect_event(w, CXB_EV_CLOSED, 3000);
  recording r = read_recording(path);
  assert_true(r.valid);
  size_t from = loud_at(r.right, r.n, 0), to = r.n;
  while (to > from && r.right[to - 1] == 0)
    to--;
  assert_in_range((int64_t)(to - from) / 8, heard - 20, heard + 20);
  recording_free(&r);
  sound_free(&s);
  call_end(w);
}

static void the_recording_may_be_asked_for_before_the_start(void **state) {
  fake_wire *w = fake_new();
  char path[256];
  snprintf(path, sizeof path, "%s", file_name("early.wav"));
  call_open(w, media, 16000, 60, 0);
  assert_int_equal(cxb_session_record(w->s, path), 0);
  on_media(w, fake_start, NULL);
  pass(300);
  cxb_session_abort(w->s, 1000);
  expect_event(w, CXB_EV_CLOSED, 3000);
  recording r = read_recording(path);
  assert_true(r.valid);
  assert_int_equal(r.rate, 16000);
  assert_in_range(r.n, 16000 * 280 / 1000, 16000 * 500 / 1000);
  cxb_session_stats stats;
  cxb_session_stats_get(w->s, &stats);
  assert_int_equal(stats.recorded_bytes, 44 + (int64_t)r.n * 4);
  recording_free(&r);
  call_end(w);
}

/* ---- in a child of its own, which this process kills or starves ---- */
/* A call with both voices, recorded to `path`, that tells `pipe` each error event; never returns.
 */
static void child_call(const char *path, int pipe, int64_t file_limit) {
  if (file_limit) {
    struct rlimit limit = {(rlim_t)file_limit, (rlim_t)file_limit};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  cxb_media *m = NULL;
  main_loop = uv_loop_new();
  if (cxb_media_new(main_loop, &m) != 0)
    _exit(2);
  fake_wire *w = fake_new();
  sound bot_says = sine(300, 60000, 8000, 9000), man = sine(500, 60000, 8000, 8000);
  call_begin(w, m, 8000, 60);
  cxb_session_record(w->s, path);
  say(w, &bot_says, true);
  caller_says(w, &man);
  int64_t from = us_now();
  if (write(pipe, "S", 1) != 1)
    _exit(3);
  while (us_now() - from < 20000000) {
    turn(20);
    const seen_event *e = find_event(w, CXB_EV_ERROR);
    if (e) {
      pass(500);
      char text[64];
      int n = snprintf(text, sizeof text, "%s frames=%d", e->text, frames_of(w) > 20);
      if (write(pipe, text, (size_t)n) != n)
        _exit(3);
    }
  }
  _exit(0);
}

static pid_t spawn_call(const char *path, int64_t file_limit, int *out) {
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  pid_t pid = fork();
  if (pid == 0)
    child_call(path, fds[1], file_limit);
  close(fds[1]);
  char started;
  assert_int_equal(read(fds[0], &started, 1), 1);
  *out = fds[0];
  return pid;
}

static void a_killed_process_leaves_a_valid_file_at_most_a_second_short(void **state) {
  enum { CALLS = 6 };
  pid_t pids[CALLS];
  int pipes[CALLS];
  char paths[CALLS][256];
  int64_t began[CALLS];
  for (int i = 0; i < CALLS; i++) {
    snprintf(paths[i], sizeof paths[i], "%s/killed%d.wav", temp_dir(), i);
    pids[i] = spawn_call(paths[i], 0, &pipes[i]);
    began[i] = us_now();
  }
  for (int i = 0; i < CALLS; i++) {
    while (us_now() - began[i] < 700000 + i * 830000) {
      recording r = read_recording(paths[i]); /* valid at each moment while it grows */
      assert_true(r.valid);
      recording_free(&r);
      usleep(70000);
    }
    kill(pids[i], SIGKILL);
    int64_t lived_ms = (us_now() - began[i]) / 1000;
    waitpid(pids[i], NULL, 0);
    close(pipes[i]);
    recording r = read_recording(paths[i]);
    assert_true(r.valid);
    assert_true((int64_t)r.n / 8 >= lived_ms - 1000);
    assert_true((int64_t)r.n / 8 <= lived_ms + 200);
    if (r.n > 8000) {
      assert_true(rms(r.left + 4000, r.n - 5000) > 4000);
      assert_true(rms(r.right + 4000, r.n - 5000) > 4000);
    }
    recording_free(&r);
  }
}

static void a_full_disk_stops_the_recording_and_not_the_call(void **state) {
  char path[256], text[64] = {0};
  int out;
  snprintf(path, sizeof path, "%s/full.wav", temp_dir());
  pid_t pid = spawn_call(path, 44 + 32000 * 2, &out);
  ssize_t n = read(out, text, sizeof text - 1);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  close(out);
  assert_true(n > 0);
  assert_string_equal(text, "recording:no_space frames=1");
  recording r = read_recording(path);
  assert_true(r.valid);
  assert_true(r.n >= 8000);
  recording_free(&r);
}

static int setup_media(void **state) {
  main_loop = uv_default_loop();
  return cxb_media_new(main_loop, &media);
}

static int teardown_media(void **state) {
  cxb_media_close(media);
  uv_run(main_loop, UV_RUN_DEFAULT);
  temp_dir_remove();
  return 0;
}

int main(void) {
  temp_dir();
  const struct CMUnitTest alone[] = {
      /* the children first: fork before any thread */
      cmocka_unit_test(a_killed_process_leaves_a_valid_file_at_most_a_second_short),
      cmocka_unit_test(a_full_disk_stops_the_recording_and_not_the_call),
      cmocka_unit_test(both_voices_lie_where_they_were_heard),
      cmocka_unit_test(a_stall_followed_by_a_burst_leaves_no_hole),
      cmocka_unit_test(a_pause_of_the_sender_stays_a_pause),
      cmocka_unit_test(a_sender_whose_clock_runs_slow_stays_aligned),
      cmocka_unit_test(a_cut_silences_what_was_not_heard),
      cmocka_unit_test(paused_is_silence_on_both_channels_and_time_goes_on),
      cmocka_unit_test(a_recording_of_nothing_is_silence_of_that_length),
      cmocka_unit_test(opening_tells_what_is_wrong),
      cmocka_unit_test(a_device_is_refused_and_left_where_it_is),
      cmocka_unit_test(no_room_for_the_header_is_told_and_leaves_no_file),
  };
  const struct CMUnitTest in_a_call[] = {
      cmocka_unit_test(the_channels_are_aligned_within_one_frame),
      cmocka_unit_test(a_clear_is_a_clear_on_the_recording_too),
      cmocka_unit_test(the_recording_may_be_asked_for_before_the_start),
  };
  int failed = cmocka_run_group_tests(alone, NULL, NULL);
  return failed + cmocka_run_group_tests(in_a_call, setup_media, teardown_media);
}
