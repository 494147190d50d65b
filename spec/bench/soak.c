/* What many calls leave behind, and whether reloads cost one.
 *
 *   build/bench/soak [CALLS [WORKERS [RELOADS]]]      5,000 calls on 4 workers, 1,000 reloads
 *
 * First: short calls (bot echo, Twilio's framing, five frames of speech), one after another on each
 * worker. Every tenth of them: memory and descriptors of the workers; at the end: the slope of the
 * memory after the first fifth, and what is left over. Then: calls of two seconds on every worker
 * while each is told to reload (SIGHUP) every 100 ms. A call that the worker ends, or in which
 * frames do not come back, is dropped. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/base64.h"
#include "base/time.h"
#include "media/g711.h"
#include "net/ws_frame.h"
#include "worker.h"

enum {
  MAX = 64,
  FRAME = 160,
  SHORT_FRAMES = 5,
  LONG_FRAMES = 100,
  STEPS = 10,
  PATIENCE_MS = 10000
};
enum { HUP_EVERY_MS = 100 };

typedef struct line {
  pid_t pid;
  int fd; /* of the call; -1: none */
  cxb_ws_parser parser;
  int frames; /* to send in this call */
  unsigned long sent, back;
  bool stopped, goodbye; /* we have said so; so has the worker */
  int64_t next_ns, since_ns;
} line;

static char dir[64], payload[CXB_BASE64_LEN(FRAME) + 1];
static line lines[MAX];
static int workers;
static long begun, wanted, ended, dropped, refused;

static void die(const char *what) {
  fprintf(stderr, "%s\n", what);
  for (int i = 0; i < workers; i++)
    if (lines[i].pid > 0)
      kill(lines[i].pid, SIGKILL);
  exit(1);
}

/* ---- what workers hold ---- */

static long rss_kb(pid_t pid) {
  char path[64];
  long pages = 0;
  snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
  FILE *f = fopen(path, "r");
  if (!f || fscanf(f, "%*d %ld", &pages) != 1)
    die("a worker is gone");
  fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int entries(const char *path) {
  int n = 0;
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d));)
    n += e->d_name[0] != '.';
  if (d)
    closedir(d);
  return n;
}

static int files_in(const char *folder) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, folder);
  return entries(path);
}

static long all_rss(void) {
  long sum = 0;
  for (int i = 0; i < workers; i++)
    sum += rss_kb(lines[i].pid);
  return sum / workers;
}

static int all_fds(void) {
  int sum = 0;
  for (int i = 0; i < workers; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)lines[i].pid);
    sum += entries(path);
  }
  return sum;
}

/* The answer's body of GET `path` at worker 1. */
static void ask(const char *path, char *out, size_t room) {
  char request[200];
  size_t have = 0;
  int fd = connect_to_worker(dir, 1, lines[0].pid);
  int n = snprintf(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", path);
  if (fd < 0 || write(fd, request, (size_t)n) != n)
    die("a worker does not answer");
  for (ssize_t r; have < room - 1 && (r = read(fd, out + have, room - 1 - have)) > 0;)
    have += (size_t)r;
  out[have] = '\0';
  close(fd);
  const char *body = strstr(out, "\r\n\r\n");
  if (body)
    memmove(out, body + 4, strlen(body + 4) + 1);
}

static long busy_rows(void) {
  char fleet[20000];
  ask("/health/fleet", fleet, sizeof fleet);
  const char *busy = strstr(fleet, "\"fleet_calls\":");
  return busy ? strtol(busy + 14, NULL, 10) : -1;
}

/* Of calls; a lock lies beside them. */
static int journals(void) {
  char path[300];
  int n = 0;
  snprintf(path, sizeof path, "%s/journal", dir);
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d));)
    n += strstr(e->d_name, ".jnl") != NULL;
  if (d)
    closedir(d);
  return n;
}

/* ---- calls ---- */

static bool on_message(void *arg, bool binary, const uint8_t *data, size_t len) {
  line *l = arg;
  (void)binary;
  l->back += len > 15 && memcmp(data, "{\"event\":\"media\"", 16) == 0;
  return false;
}

static bool on_control(void *arg, int opcode, const uint8_t *data, size_t len) {
  line *l = arg;
  (void)data, (void)len;
  l->goodbye = l->goodbye || opcode == CXB_WS_CLOSE;
  return false;
}

static void end_call(line *l) {
  close(l->fd);
  cxb_ws_parser_free(&l->parser);
  l->fd = -1;
  l->next_ns = cxb_mono_ns();
  ended++;
  if (!l->stopped || l->back < l->sent) {
    dropped++;
    fprintf(stderr, "dropped: %lu of %lu frames came back, %s\n", l->back, l->sent,
            l->stopped ? "stopped by us" : "ended by the worker");
  }
}

/* False: the slot is not free yet, or the worker is busy. */
static void begin_call(line *l, int i, int frames) {
  int fd = connect_to_worker(dir, i + 1, l->pid);
  if (fd < 0)
    die("a worker is gone");
  if (!upgrade(fd, "/twilio/echo")) {
    close(fd);
    refused++;
    l->next_ns = cxb_mono_ns() + 2000000;
    return;
  }
  if (!put_start(fd, (int)begun))
    die("a worker does not read");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  begun++;
  int64_t now = cxb_mono_ns();
  *l = (line){.pid = l->pid, .fd = fd, .frames = frames, .next_ns = now, .since_ns = now};
  l->parser = (cxb_ws_parser){.from_server = true, .max_text = 65536, .max_binary = 65536};
}

/* The next frame; or the goodbye, once all that was sent is back. Frames sent before the flow
 * listened do not count. */
static void step(line *l) {
  int64_t now = cxb_mono_ns();
  if ((int)l->back < l->frames && now - l->since_ns < PATIENCE_MS * 1000000LL) {
    l->next_ns += 20000000;
    if (!put_media(l->fd, 1, ++l->sent, payload))
      end_call(l);
    return;
  }
  l->sent = (unsigned long)l->frames;
  l->stopped = true;
  l->next_ns = INT64_MAX;
  if (!put_text(l->fd, "{\"event\":\"stop\"}", 16))
    end_call(l);
}

static void take(line *l) {
  static uint8_t in[65536];
  static const cxb_ws_frame_handler handler = {on_message, on_control};
  ssize_t n = read(l->fd, in, sizeof in);
  if (n > 0)
    cxb_ws_parser_push(&l->parser, in, (size_t)n, &handler, l);
  if (l->goodbye || n == 0 || (n < 0 && errno != EAGAIN))
    end_call(l);
}

static void turn(int frames) {
  struct pollfd fds[MAX];
  int64_t now = cxb_mono_ns(), next = now + 5000000;
  for (int i = 0; i < workers; i++) {
    line *l = &lines[i];
    if (now >= l->next_ns && l->fd >= 0)
      step(l);
    else if (now >= l->next_ns && begun < wanted)
      begin_call(l, i, frames);
    if (l->next_ns < next)
      next = l->next_ns;
    fds[i] = (struct pollfd){.fd = l->fd, .events = POLLIN};
  }
  now = cxb_mono_ns();
  struct timespec wait = {.tv_nsec = next > now ? next - now : 0};
  ppoll(fds, (nfds_t)workers, &wait, NULL);
  for (int i = 0; i < workers; i++)
    if (fds[i].fd >= 0 && fds[i].revents)
      take(&lines[i]);
}

/* ---- steps ---- */

/* KiB a thousand calls, by least squares. */
static double slope_of(const double *calls, const double *kb, int n) {
  double x = 0, y = 0, xx = 0, xy = 0;
  for (int i = 0; i < n; i++) {
    x += calls[i];
    y += kb[i];
    xx += calls[i] * calls[i];
    xy += calls[i] * kb[i];
  }
  return (n * xy - x * y) / (n * xx - x * x) * 1000;
}

static void many_calls(long calls) {
  double at[STEPS + 1], kb[STEPS + 1];
  int first_fds = 0;
  begun = ended = dropped = refused = 0;
  wanted = calls;
  for (int k = 0; k <= STEPS; k++) {
    while (ended < calls * k / STEPS)
      turn(SHORT_FRAMES);
    at[k] = (double)ended / workers;
    kb[k] = (double)all_rss();
    if (k == 1)
      first_fds = all_fds();
    printf("%6ld calls: %.1f MiB resident a worker, %d descriptors\n", ended, kb[k] / 1024,
           all_fds());
  }
  long busy = busy_rows();
  for (int tries = 0; tries < 100 && (busy > 0 || journals() > 0); tries++) {
    usleep(100000);
    busy = busy_rows();
  }
  printf("= memory after the first fifth: %+.0f KiB in a thousand calls of a worker (aim 0)\n",
         slope_of(at + 2, kb + 2, STEPS - 1));
  printf(
      "= left after %ld calls: %+d descriptors, %d journals, %d tickets, %ld busy rows on the "
      "scoreboard (aim 0 each); %ld calls dropped\n",
      calls, all_fds() - first_fds, journals(), files_in("tickets"), busy, dropped);
}

static void many_reloads(long reloads) {
  long told = 0;
  int64_t next_hup = cxb_mono_ns();
  begun = ended = dropped = refused = 0;
  wanted = INT64_MAX;
  while (told < reloads) {
    turn(LONG_FRAMES);
    if (cxb_mono_ns() < next_hup)
      continue;
    next_hup += HUP_EVERY_MS * 1000000LL / workers;
    kill(lines[told++ % workers].pid, SIGHUP);
  }
  wanted = begun;
  while (ended < begun)
    turn(LONG_FRAMES);
  char health[4000];
  ask("/health", health, sizeof health);
  const char *generation = strstr(health, "\"generation\":");
  printf("%d workers, %.1f MiB resident each, worker 1 is at generation %ld\n", workers,
         (double)all_rss() / 1024, generation ? strtol(generation + 13, NULL, 10) : -1);
  printf("= %ld reloads under %d calls: %ld of %ld calls dropped (aim 0)\n", reloads, workers,
         dropped, ended);
}

static void start_workers(void) {
  snprintf(dir, sizeof dir, "/tmp/cxb-soak-XXXXXX");
  if (!mkdtemp(dir))
    die("no folder");
  for (int i = 0; i < workers; i++) {
    lines[i].fd = -1;
    lines[i].pid = fork();
    if (lines[i].pid == 0) {
      setenv("CXB_WORKER_MAX_CALLS", "0", 1);
      become_worker(dir, i + 1, workers);
    }
  }
  for (int i = 0; i < workers; i++)
    close(connect_to_worker(dir, i + 1, lines[i].pid));
}

int main(int argc, char **argv) {
  long calls = argc > 1 ? atol(argv[1]) : 5000, reloads = argc > 3 ? atol(argv[3]) : 1000;
  int16_t pcm[FRAME];
  uint8_t code[FRAME];
  workers = argc > 2 ? atoi(argv[2]) : 4;
  if (calls < 0 || workers < 1 || workers > MAX || reloads < 0) {
    fprintf(stderr, "soak [CALLS [WORKERS 1-%d [RELOADS]]]\n", MAX);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 0; i < FRAME; i++)
    pcm[i] = (int16_t)(i % 20 < 10 ? 4000 : -4000);
  cxb_ulaw_encode(pcm, FRAME, code);
  cxb_base64_encode(payload, code, FRAME);
  start_workers();
  if (calls > 0)
    many_calls(calls);
  if (reloads > 0)
    many_reloads(reloads);
  for (int i = 0; i < workers; i++)
    kill(lines[i].pid, SIGTERM);
  for (int i = 0; i < workers; i++)
    waitpid(lines[i].pid, NULL, 0);
  remove_folder(dir);
  return 0;
}
