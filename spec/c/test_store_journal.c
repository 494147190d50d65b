/* The journal: on disk soon, cut where it is torn, never in the caller's way. */
#include "store_support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/crc32c.h"
#include "store/journal.h"

/* The disk is as slow as a test wants it: syncs wait while `slow`. */
static _Atomic bool slow;

int fdatasync(int fd) {
  while (slow)
    usleep(1000);
  return fsync(fd);
}

typedef struct made {
  bool done;
  cxb_journal *j;
  int err;
  char message[512];
} made;

static void on_made(void *arg, cxb_journal *j, int err, const char *message) {
  made *m = arg;
  m->j = j;
  m->err = err;
  snprintf(m->message, sizeof m->message, "%s", message);
  m->done = true;
}

static made create(const char *path) {
  made m = {0};
  assert_int_equal(cxb_journal_create(&loop, path, on_made, &m), 0);
  run_until(&m.done);
  return m;
}

typedef struct outcome {
  bool done;
  int err;
} outcome;

static void on_outcome(void *arg, int err) {
  outcome *o = arg;
  o->err = err;
  o->done = true;
}

static int sync_now(cxb_journal *j) {
  outcome o = {0};
  assert_int_equal(cxb_journal_sync(j, on_outcome, &o), 0);
  run_until(&o.done);
  return o.err;
}

static int close_now(cxb_journal *j, bool remove) {
  outcome o = {0};
  cxb_journal_close(j, remove, on_outcome, &o);
  run_until(&o.done);
  return o.err;
}

/* Records are "1", "2", … padded: what was read must be an unbroken count. */
static void append_number(cxb_journal *j, int n) {
  char text[200];
  int len =
      snprintf(text, sizeof text, "%d %.*s", n, n % 150,
               "........................................................................."
               "...............................................................................");
  assert_int_equal(cxb_journal_append(j, text, (size_t)len), 0);
}

typedef struct count {
  int last;
  bool broken;
} count;

static void on_number(void *arg, const char *data, size_t len) {
  count *c = arg;
  char text[256] = {0};
  memcpy(text, data, len < 255 ? len : 255);
  if (atoi(text) != c->last + 1)
    c->broken = true;
  c->last++;
}

static int numbers_in(const char *path, int64_t *torn_at) {
  count c = {0};
  assert_int_equal(cxb_journal_read(path, on_number, &c, torn_at), 0);
  assert_false(c.broken);
  return c.last;
}

static void the_checksum_is_crc32c(void **state) {
  assert_int_equal(cxb_crc32c(0, "123456789", 9), 0xe3069283u);
  assert_int_equal(cxb_crc32c(cxb_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

static void what_was_appended_is_read_back_in_order(void **state) {
  made m = create(in_folder("calls/a.jnl"));
  assert_int_equal(m.err, 0);
  for (int i = 1; i <= 1000; i++)
    append_number(m.j, i);
  assert_int_equal(sync_now(m.j), 0);
  int64_t torn_at;
  assert_int_equal(numbers_in(in_folder("calls/a.jnl"), &torn_at), 1000);
  assert_int_equal(torn_at, -1);
  assert_int_equal(close_now(m.j, false), 0);
  run_dry();
}

static void without_a_sync_it_is_on_disk_soon(void **state) {
  made m = create(in_folder("soon.jnl"));
  append_number(m.j, 1);
  int64_t until = cxb_mono_ms() + 20000;
  while (numbers_in(in_folder("soon.jnl"), NULL) < 1 && cxb_mono_ms() < until)
    uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(numbers_in(in_folder("soon.jnl"), NULL), 1);
  close_now(m.j, false);
}

static void a_name_is_given_once(void **state) {
  made m = create(in_folder("once.jnl"));
  append_number(m.j, 1);
  made again = create(in_folder("once.jnl"));
  assert_int_equal(again.err, CXB_EEXIST);
  assert_non_null(strstr(again.message, "once.jnl"));
  close_now(m.j, false);
  assert_int_equal(numbers_in(in_folder("once.jnl"), NULL), 1);
}

static void closing_writes_the_rest_and_removing_deletes(void **state) {
  made m = create(in_folder("close.jnl"));
  for (int i = 1; i <= 50; i++)
    append_number(m.j, i);
  assert_int_equal(close_now(m.j, false), 0);
  assert_int_equal(numbers_in(in_folder("close.jnl"), NULL), 50);
  m = create(in_folder("gone.jnl"));
  append_number(m.j, 1); /* its job is under way when it is closed */
  outcome waiting = {0};
  cxb_journal_sync(m.j, on_outcome, &waiting);
  assert_int_equal(close_now(m.j, true), 0);
  assert_true(waiting.done);
  assert_int_equal(access(in_folder("gone.jnl"), F_OK), -1);
  run_dry();
}

static void copy_head(const char *from, const char *to, size_t len) {
  char data[65536];
  int fd = open(from, O_RDONLY);
  ssize_t n = read(fd, data, sizeof data);
  close(fd);
  assert_true(n >= (ssize_t)len);
  fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_int_equal(write(fd, data, len), len);
  close(fd);
}

static void a_file_cut_anywhere_yields_its_whole_records(void **state) {
  made m = create(in_folder("cut.jnl"));
  size_t ends[21] = {16};
  struct stat st;
  for (int i = 1; i <= 20; i++) {
    append_number(m.j, i);
    sync_now(m.j);
    assert_int_equal(stat(in_folder("cut.jnl"), &st), 0);
    ends[i] = (size_t)st.st_size;
  }
  close_now(m.j, false);
  for (size_t len = 0; len <= ends[20]; len++) {
    copy_head(in_folder("cut.jnl"), in_folder("piece.jnl"), len);
    int whole = 0;
    while (whole < 20 && ends[whole + 1] <= len)
      whole++;
    int64_t torn_at;
    assert_int_equal(numbers_in(in_folder("piece.jnl"), &torn_at), whole);
    if (len >= 16)
      assert_int_equal(torn_at, len == ends[whole] ? -1 : (int64_t)ends[whole]);
  }
}

static void reading_stops_at_a_damaged_record(void **state) {
  made m = create(in_folder("bits.jnl"));
  for (int i = 1; i <= 20; i++)
    append_number(m.j, i);
  close_now(m.j, false);
  struct stat st;
  assert_int_equal(stat(in_folder("bits.jnl"), &st), 0);
  for (off_t at = 16; at < st.st_size; at++) {
    int fd = open(in_folder("bits.jnl"), O_RDWR);
    char was, flipped;
    assert_int_equal(pread(fd, &was, 1, at), 1);
    flipped = (char)(was ^ 0x10);
    assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
    assert_true(numbers_in(in_folder("bits.jnl"), NULL) < 20);
    assert_int_equal(pwrite(fd, &was, 1, at), 1);
    close(fd);
  }
  assert_int_equal(numbers_in(in_folder("bits.jnl"), NULL), 20);
}

static void what_is_no_journal_is_corrupt(void **state) {
  FILE *f = fopen(in_folder("other.jnl"), "w");
  fputs("RIFF and so on, longer than a header", f);
  fclose(f);
  count c = {0};
  assert_int_equal(cxb_journal_read(in_folder("other.jnl"), on_number, &c, NULL), CXB_ECORRUPT);
  assert_int_equal(cxb_journal_read(in_folder("none.jnl"), on_number, &c, NULL), CXB_ENOENT);
}

static bool listed(const cxb_buf *names, const char *name) {
  for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1)
    if (strstr(names->data + at, name))
      return true;
  return false;
}

static void orphans_are_those_whose_writer_is_gone(void **state) {
  made live = create(in_folder("o/live.jnl"));
  made left = create(in_folder("o/left.jnl"));
  close_now(left.j, false);
  cxb_buf names = {0};
  assert_int_equal(cxb_journal_orphans(in_folder("o"), &names), 0);
  assert_false(listed(&names, "live.jnl"));
  assert_true(listed(&names, "left.jnl"));
  cxb_buf_clear(&names);
  /* Found once, it is this process's to recover: it stays listed here, and nowhere else. */
  assert_int_equal(cxb_journal_orphans(in_folder("o"), &names), 0);
  assert_true(listed(&names, "left.jnl"));
  pid_t pid = fork();
  if (pid == 0) {
    execl("/proc/self/exe", "self", "--orphans", in_folder("o"), (char *)NULL);
    _exit(9);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_int_equal(WEXITSTATUS(status), 0);
  unlink(in_folder("o/left.jnl"));
  cxb_buf_clear(&names);
  assert_int_equal(cxb_journal_orphans(in_folder("o"), &names), 0);
  assert_int_equal(names.len, 0);
  close_now(live.j, true);
  assert_int_equal(cxb_journal_orphans(in_folder("absent"), &names), 0);
  cxb_buf_free(&names);
}

static int count_orphans(const char *dir) {
  cxb_buf names = {0};
  int n = 0;
  if (cxb_journal_orphans(dir, &names) != 0)
    return 100;
  for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1)
    n++;
  cxb_buf_free(&names);
  return n;
}

static void limit_file_size(rlim_t bytes) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_full_disk_shows_in_sync_and_is_survived(void **state) {
  signal(SIGXFSZ, SIG_IGN);
  made m = create(in_folder("full.jnl"));
  append_number(m.j, 1);
  assert_int_equal(sync_now(m.j), 0);
  limit_file_size(100);
  for (int i = 2; i <= 100; i++)
    append_number(m.j, i); /* never refused, never waits */
  int err = sync_now(m.j);
  assert_int_equal(numbers_in(in_folder("full.jnl"), NULL) >= 1, 1);
  limit_file_size(RLIM_INFINITY);
  assert_int_equal(err, CXB_ENOSPC);
  assert_true(cxb_journal_errors(m.j) > 0);
  /* Room again: what waited is written where the torn record was. */
  append_number(m.j, 101);
  assert_int_equal(sync_now(m.j), 0);
  append_number(m.j, 102);
  assert_int_equal(sync_now(m.j), 0);
  int64_t torn_at;
  assert_int_equal(numbers_in(in_folder("full.jnl"), &torn_at), 102);
  assert_int_equal(torn_at, -1);
  close_now(m.j, true);
}

static void a_slow_disk_keeps_nothing_from_whoever_reads_after_a_kill(void **state) {
  made m = create(in_folder("slow.jnl"));
  slow = true;
  int64_t until = cxb_mono_ms() + 20000;
  for (int n = 1; n <= 5; n++) { /* each while the first sync still waits */
    append_number(m.j, n);
    while (numbers_in(in_folder("slow.jnl"), NULL) < n && cxb_mono_ms() < until)
      uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(numbers_in(in_folder("slow.jnl"), NULL), n);
  }
  append_number(m.j, 6);
  slow = false;
  assert_int_equal(sync_now(m.j), 0);
  append_number(m.j, 7);
  slow = true; /* closing waits for both writers */
  append_number(m.j, 8);
  outcome o = {0};
  cxb_journal_close(m.j, false, on_outcome, &o);
  slow = false;
  run_until(&o.done);
  assert_int_equal(numbers_in(in_folder("slow.jnl"), NULL), 8);
}

static void a_disk_that_stays_full_costs_records_not_memory(void **state) {
  signal(SIGXFSZ, SIG_IGN);
  made m = create(in_folder("stays.jnl"));
  limit_file_size(100);
  static char big[1 << 20];
  int refused = 0;
  for (int i = 0; i < 20; i++)
    refused += cxb_journal_append(m.j, big, sizeof big) == CXB_ENOSPC;
  limit_file_size(RLIM_INFINITY);
  assert_true(refused >= 12);
  assert_int_equal(cxb_journal_append(m.j, big, 0), CXB_ETOOBIG);
  close_now(m.j, true);
}

static void a_folder_that_cannot_be_written_is_named(void **state) {
  pid_t pid = fork();
  if (pid == 0) { /* root may write anywhere */
    if (chmod(folder, 0555) != 0 || (getuid() == 0 && setuid(65534) != 0))
      _exit(9);
    uv_loop_init(&loop);
    made m = create(in_folder("ro.jnl"));
    _exit(m.err == CXB_EIO && strstr(m.message, "ro.jnl") ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  chmod(folder, 0700);
  assert_int_equal(status, 0);
}

/* Appends for ever; says on `fd` how far it is certain. */
static void write_until_killed(const char *path, int fd) {
  uv_loop_init(&loop);
  made m = create(path);
  for (int n = 1;; n++) {
    append_number(m.j, n);
    if (n % 3 == 0 && (sync_now(m.j) != 0 || write(fd, &n, sizeof n) != sizeof n))
      _exit(1);
  }
}

static void no_acknowledged_record_is_lost_when_the_writer_is_killed(void **state) {
  srand(20240424);
  int most = 0;
  for (int round = 0; round < 200; round++) {
    char path[256];
    snprintf(path, sizeof path, "%s/kill-%d.jnl", folder, round);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
      close(fds[0]);
      write_until_killed(path, fds[1]);
    }
    close(fds[1]);
    int certain = 0, n;
    assert_int_equal(read(fds[0], &certain, sizeof certain), sizeof certain);
    usleep((useconds_t)(rand() % 15000));
    kill(pid, SIGKILL);
    while (read(fds[0], &n, sizeof n) == sizeof n)
      certain = n;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    assert_true(numbers_in(path, NULL) >= certain);
    if (certain > most)
      most = certain;
    unlink(path);
  }
  assert_true(most > 3);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--orphans") == 0)
    return count_orphans(argv[2]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_checksum_is_crc32c),
      cmocka_unit_test(what_was_appended_is_read_back_in_order),
      cmocka_unit_test(without_a_sync_it_is_on_disk_soon),
      cmocka_unit_test(a_name_is_given_once),
      cmocka_unit_test(closing_writes_the_rest_and_removing_deletes),
      cmocka_unit_test(a_file_cut_anywhere_yields_its_whole_records),
      cmocka_unit_test(reading_stops_at_a_damaged_record),
      cmocka_unit_test(what_is_no_journal_is_corrupt),
      cmocka_unit_test(orphans_are_those_whose_writer_is_gone),
      cmocka_unit_test(a_full_disk_shows_in_sync_and_is_survived),
      cmocka_unit_test(a_slow_disk_keeps_nothing_from_whoever_reads_after_a_kill),
      cmocka_unit_test(a_disk_that_stays_full_costs_records_not_memory),
      cmocka_unit_test(a_folder_that_cannot_be_written_is_named),
      cmocka_unit_test(no_acknowledged_record_is_lost_when_the_writer_is_killed),
  };
  return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
