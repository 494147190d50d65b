/* What a live call costs: N workers (core.lua, bot echo) each with one Twilio-framed call, voice
 * activity, keypad detection, recorder and pacer running; CPU time of the workers from the kernel.
 *
 *   build/bench/calls [WORKERS [SECONDS [CPU]]]      1 and then 16 workers, 20 s, on CPU 0
 *
 * And the same with a bot that talks without end from its queue, as text to speech fills it.
 *
 * The workers share one CPU, the far ends (this program) run elsewhere when there is another. The
 * far end sends recorded speech in frames of 20 ms and looks for each piece that comes back in what
 * it has sent: how long it was away, and whether something is missing.
 *
 * CXB_BENCH_PEER="COMMAND…" measures another server of the same echo call instead of the reference:
 * a process for each call, started as COMMAND… SOCKET (spec/bench/pipecat.sh). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/time.h"
#include "media/g711.h"
#include "media/resample.h"
#include "media/wav.h"
#include "worker.h"

enum { MAX = 256, FRAME = 160, SETTLE_S = 4, BUCKETS = 10000, KEPT = 500 };
typedef enum server { OURS, TALKS, BARE, PEER } server;
static const char *const names[] = {"workers", "workers that talk", "bare echoes", "peers"};
#define SPEECH                                                                                     \
  "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav"

typedef struct far_end {
  pid_t pid;
  int fd;
  char in[65536];
  size_t have;
  int64_t sent_ns[KEPT]; /* of the newest frames */
  uint64_t sent, back;   /* frames; samples that came back */
  uint64_t expected;     /* sample that should come next; 0: not known */
} far_end;

static char dir[64];
static far_end ends[MAX];
static uint8_t *speech; /* mu-law */
static size_t speech_frames;
static uint32_t delay[BUCKETS]; /* of 0.1 ms, from a sample's frame sent to the sample back */
static unsigned gaps, unknown;  /* what comes is not what should; is nothing we sent */
static bool counting, searching;

static void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  for (int i = 0; i < MAX; i++)
    if (ends[i].pid > 0)
      kill(ends[i].pid, SIGKILL);
  exit(1);
}

static void load_speech(void) {
  int16_t *pcm = NULL, *at8k = NULL;
  size_t n = 0, n8 = 0;
  int rate = 0;
  if (cxb_wav_read(SPEECH, &pcm, &n, &rate) == 0 &&
      cxb_resample(pcm, n, rate, 8000, &at8k, &n8) == 0) {
    printf("far end: recorded speech\n");
  } else { /* a hum with pauses */
    n8 = 80000;
    at8k = malloc(n8 * 2);
    for (size_t i = 0; i < n8; i++)
      at8k[i] = (int16_t)(i % 8000 < 5000 ? 6000 * sin((double)i * 0.17) : 0);
  }
  speech_frames = n8 / FRAME;
  speech = malloc(n8);
  cxb_ulaw_encode(at8k, speech_frames * FRAME, speech);
  for (size_t i = 0; i < n8; i++) /* of the two zeros the one that comes back */
    speech[i] = speech[i] == 0x7f ? 0xff : speech[i];
  free(pcm);
  free(at8k);
}

/* ---- workers ---- */

/* The reference: takes the upgrade, then answers each read with one write of a bot's frame. */
static void bare_echo(const char *path) {
  static char in[65536];
  char frame[4 + 305] = {(char)0x81, 126, 305 >> 8, 305 & 255};
  memcpy(frame + 4, "{\"event\":\"media\"", 16);
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), loop = epoll_create1(0), fd;
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 5) != 0)
    _exit(1);
  close(accept(listener, NULL, NULL)); /* who looked whether we are there */
  fd = accept(listener, NULL, NULL);
  if (read(fd, in, sizeof in) < 1 || write(fd, "HTTP/1.1 101 \r\n\r\n", 17) != 17)
    _exit(1);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
  while (epoll_wait(loop, &event, 1, -1) > 0)
    if (read(fd, in, sizeof in) < 1 || write(fd, frame, sizeof frame) != sizeof frame)
      break;
  _exit(0);
}

/* The child is a process group of its own. */
static pid_t start_worker(int i, int count, int cpu, server what) {
  char path[120], command[1200];
  snprintf(path, sizeof path, "%s/core-%d.sock", dir, i + 1);
  pid_t pid = fork();
  if (pid)
    return pid;
  on_cpu(cpu);
  if (what == BARE)
    bare_echo(path);
  if (what == OURS || what == TALKS) {
    snprintf(command, sizeof command, "%s/flows", dir);
    setenv("CXB_FLOWS_DIR", command, 1);
    setenv("CXB_BOTS_DIR", command, 1);
    become_worker(dir, i + 1, count);
  }
  snprintf(command, sizeof command, "exec %s %s", getenv("CXB_BENCH_PEER"), path);
  execl("/bin/sh", "sh", "-c", command, (char *)NULL);
  _exit(127);
}

static int connect_worker(int i) {
  return connect_to_worker(dir, i + 1, ends[i].pid);
}

/* CPU nanoseconds by who used them. `user` and `kernel` are the kernel's division by ticks. */
typedef struct usage {
  double media, script, rest, user, kernel; /* media thread, main thread, pool and watchdog */
} usage;

static bool read_file(char *text, size_t room, const char *format, int pid, const char *tid) {
  char path[300];
  snprintf(path, sizeof path, format, pid, tid);
  FILE *f = fopen(path, "r");
  size_t n = f ? fread(text, 1, room - 1, f) : 0;
  text[n] = '\0';
  if (f)
    fclose(f);
  return n > 0;
}

static void add_thread(usage *u, int pid, const char *tid) {
  char text[1000];
  double ns = 0, ticks[2] = {0};
  if (!read_file(text, sizeof text, "/proc/%d/task/%.20s/schedstat", pid, tid))
    return;
  sscanf(text, "%lf", &ns);
  if (!read_file(text, sizeof text, "/proc/%d/task/%.20s/stat", pid, tid))
    return;
  if (strstr(text, "(cxb-media)"))
    u->media += ns;
  else if (atoi(tid) == pid)
    u->script += ns;
  else
    u->rest += ns;
  sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf", &ticks[0],
         &ticks[1]);
  u->user += ticks[0];
  u->kernel += ticks[1];
}

static void add_process(usage *u, int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  for (struct dirent *e; tasks && (e = readdir(tasks));)
    if (e->d_name[0] != '.')
      add_thread(u, pid, e->d_name);
  if (tasks)
    closedir(tasks);
}

/* ---- the far ends ---- */

/* Both bots, and the flow of the one that talks: a minute of a tone, again and again. */
static void write_bots(void) {
  static const char *const files[][2] = {
      {"echo.json",
       "{\"bot_id\":\"echo\",\"system_prompt\":\"\",\"opening_message\":\"\","
       "\"flow\":\"echo\",\"stt\":{\"provider\":\"none\"},\"tts\":{\"provider\":"
       "\"none\"},\"max_silence_seconds\":0,\"max_call_duration_seconds\":7200}"},
      {"talks.json",
       "{\"bot_id\":\"talks\",\"system_prompt\":\"\",\"opening_message\":\"\","
       "\"flow\":\"talks\",\"stt\":{\"provider\":\"none\"},\"tts\":{\"provider\":"
       "\"none\"},\"max_silence_seconds\":0,\"max_call_duration_seconds\":7200}"},
      {"talks.lua",
       "return function(call)\n"
       "  local second = ('\\0\\16\\0\\240'):rep(call.rate / 2)\n"
       "  repeat\n"
       "    local utterance = call.leg:say_begin(call.rate)\n"
       "    for _ = 1, 60 do call.leg:say_push(utterance, second) end\n"
       "    call.leg:say_end(utterance)\n"
       "  until call:dtmf({ max = 1, wait = 59 }).hangup\n"
       "end\n"}};
  char path[200];
  snprintf(path, sizeof path, "%s/flows", dir);
  mkdir(path, 0755);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "%s/flows/%s", dir, files[i][0]);
    FILE *f = fopen(path, "w");
    if (!f || fputs(files[i][1], f) < 0 || fclose(f) != 0)
      die("flows");
  }
  snprintf(path, sizeof path, "cp lua/flows/echo.lua '%s/flows/'", dir);
  if (system(path) != 0)
    die("lua/flows/echo.lua");
}

static void open_call(far_end *e, int i, server what) {
  e->fd = connect_worker(i);
  if (e->fd < 0)
    die("connect");
  if (!upgrade(e->fd, what == TALKS ? "/twilio/talks" : "/twilio/echo"))
    die("not upgraded");
  fcntl(e->fd, F_SETFL, O_NONBLOCK);
  if (!put_start(e->fd, i))
    die("write");
}

/* Each call has another place in the recording. */
static const uint8_t *frame_of(int i, uint64_t n) {
  return speech + (n + (uint64_t)i * 37) % speech_frames * FRAME;
}

static uint8_t sample_of(int i, uint64_t at) {
  return frame_of(i, at / FRAME)[at % FRAME];
}

static void send_frame(far_end *e, int i) {
  char payload[CXB_BASE64_LEN(FRAME) + 1] = {0};
  cxb_base64_encode(payload, frame_of(i, e->sent), FRAME);
  e->sent_ns[e->sent % KEPT] = cxb_mono_ns();
  if (!put_media(e->fd, i, ++e->sent, payload))
    die("a worker does not read");
}

static bool is_at(int i, uint64_t at, const uint8_t *samples, size_t n) {
  for (size_t k = 0; k < n; k++)
    if (sample_of(i, at + k) != samples[k])
      return false;
  return true;
}

/* Looks for the piece in the last ten seconds of what was sent. */
static bool find(const far_end *e, int i, const uint8_t *samples, size_t n, uint64_t *at) {
  uint64_t end = e->sent * FRAME, from = e->sent > KEPT ? (e->sent - KEPT) * FRAME : 0;
  for (uint64_t k = from; k + n <= end; k++)
    if (is_at(i, k, samples, n)) {
      *at = k;
      return true;
    }
  return false;
}

static void came_back(far_end *e, int i, const uint8_t *samples, size_t n) {
  int64_t now = cxb_mono_ns();
  uint64_t at = e->expected;
  e->back += n;
  if (!searching)
    return;
  if (!at || at + n > e->sent * FRAME || !is_at(i, at, samples, n)) {
    gaps += counting && at;
    if (!find(e, i, samples, n, &at)) {
      unknown += counting;
      return;
    }
  }
  e->expected = at + n;
  size_t bucket = (size_t)((now - e->sent_ns[at / FRAME % KEPT]) / 100000);
  delay[bucket < BUCKETS ? bucket : BUCKETS - 1] += counting;
}

static void took(far_end *e, int i, const char *text, size_t len) {
  static const char name[] = "\"payload\":";
  uint8_t samples[8192];
  const char *at = memmem(text, len, name, sizeof name - 1), *end = text + len;
  if (!at)
    return;
  at = memchr(at + sizeof name - 1, '"', (size_t)(end - at) - sizeof name + 1);
  const char *stop = at ? memchr(at + 1, '"', (size_t)(end - at) - 1) : NULL;
  if (!stop || stop - at > 10000)
    return;
  long n = cxb_base64_decode(samples, at + 1, (size_t)(stop - at) - 1, false);
  if (n > 0)
    came_back(e, i, samples, (size_t)n);
}

static void receive(far_end *e, int i) {
  ssize_t r;
  while ((r = read(e->fd, e->in + e->have, sizeof e->in - e->have)) > 0) {
    e->have += (size_t)r;
    size_t at = 0;
    while (e->have - at >= 4) {
      size_t len = (uint8_t)e->in[at + 1] & 127, head = 2;
      if (len == 126) {
        len = (size_t)((uint8_t)e->in[at + 2] << 8 | (uint8_t)e->in[at + 3]);
        head = 4;
      }
      if (e->have - at < head + len)
        break;
      if ((e->in[at] & 15) == 8)
        die("a worker closed its call");
      took(e, i, e->in + at + head, len);
      at += head + len;
    }
    memmove(e->in, e->in + at, e->have -= at);
  }
  if (r == 0)
    die("a worker went away");
}

/* Every call sends each 20 ms, the calls evenly spread over them. */
static void carry(int count, double seconds) {
  int64_t from = cxb_mono_ns();
  uint64_t slots = (uint64_t)(seconds * 50) * (uint64_t)count;
  for (uint64_t k = 0; k < slots; k++) {
    int64_t due = from + (int64_t)(k * 20000000 / (uint64_t)count);
    while (cxb_mono_ns() < due) { /* ≤ 1 ms naps, so that arrivals are seen when they come */
      int64_t nap = due - cxb_mono_ns();
      const struct timespec t = {.tv_nsec = nap > 1000000 ? 1000000 : nap > 0 ? nap : 0};
      nanosleep(&t, NULL);
      for (int i = 0; i < count; i++)
        receive(&ends[i], i);
    }
    send_frame(&ends[k % (uint64_t)count], (int)(k % (uint64_t)count));
  }
}

static double delay_ms(double percent) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < BUCKETS; i++)
    total += delay[i];
  for (int i = 0; i < BUCKETS && total; i++)
    if ((double)(seen += delay[i]) >= (double)total * percent / 100)
      return (i + 1) / 10.0;
  return 0;
}

/* What the processes hold, pages they share divided between them. */
static double pss_mib(int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) {
    char text[2000];
    const char *at;
    if (read_file(text, sizeof text, "/proc/%d/smaps_rollup", ends[i].pid, "") &&
        (at = strstr(text, "\nPss:")))
      sum += strtod(at + 5, NULL) / 1024;
  }
  return sum / count;
}

static usage all_used(int count) {
  usage u = {0};
  for (int i = 0; i < count; i++)
    add_process(&u, ends[i].pid);
  return u;
}

static double total(const usage *u) {
  return u->media + u->script + u->rest;
}

/* What others took of the CPU in the meantime, in percent: /proc/stat's busy time less ours. */
static double cpu_busy_ms(int cpu) {
  char text[16384], name[12];
  double t[8] = {0};
  if (!read_file(text, sizeof text, "/proc/stat", 0, ""))
    return 0;
  snprintf(name, sizeof name, "cpu%d ", cpu);
  const char *line = strstr(text, name);
  if (line)
    sscanf(line + strlen(name), "%lf %lf %lf %lf %lf %lf %lf %lf", t, t + 1, t + 2, t + 3, t + 4,
           t + 5, t + 6, t + 7);
  return (t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) * 1000 / (double)sysconf(_SC_CLK_TCK);
}

static double split(const usage *before, const usage *after) {
  double user = after->user - before->user, kernel = after->kernel - before->kernel;
  return user + kernel > 0 ? user / (user + kernel) * 100 : 0;
}

typedef struct result {
  double cpu_ms, idle_mib, live_mib, p50, p99; /* CPU of one call, a second of it */
} result;

static void start_all(int count, int cpu, server what) {
  memset(ends, 0, sizeof ends);
  memset(delay, 0, sizeof delay);
  gaps = unknown = 0;
  counting = false;
  snprintf(dir, sizeof dir, "/tmp/cxb-bench-XXXXXX");
  if (!mkdtemp(dir))
    die("mkdtemp");
  write_bots();
  searching = what != TALKS;
  for (int i = 0; i < count; i++)
    ends[i].pid = start_worker(i, count, cpu, what);
  for (int i = 0; i < count; i++) {
    int fd = connect_worker(i);
    if (fd < 0)
      die("a worker did not start");
    close(fd);
  }
  usleep(500000);
}

static void stop_all(int count) {
  for (int i = 0; i < count; i++)
    put_text(ends[i].fd, "{\"event\":\"stop\"}", 16);
  usleep(300000);
  for (int i = 0; i < count; i++) {
    close(ends[i].fd);
    kill(ends[i].pid, SIGTERM);
  }
  for (int i = 0; i < count; i++) {
    for (int tries = 0; tries < 500 && waitpid(ends[i].pid, NULL, WNOHANG) == 0; tries++)
      usleep(10000);
    kill(ends[i].pid, SIGKILL);
    waitpid(ends[i].pid, NULL, 0);
  }
  remove_folder(dir);
}

static result measure(int count, double seconds, int cpu, server what) {
  result r = {0};
  start_all(count, cpu, what);
  usage before = all_used(count), after;
  double from = (double)cxb_mono_ns();
  sleep(3);
  after = all_used(count);
  double idle = (total(&after) - total(&before)) / ((double)cxb_mono_ns() - from) * 1000 / count;
  r.idle_mib = pss_mib(count);
  for (int i = 0; i < count; i++)
    open_call(&ends[i], i, what);
  carry(count, SETTLE_S);
  counting = true;
  uint64_t samples = 0;
  for (int i = 0; i < count; i++)
    ends[i].back = 0;
  before = all_used(count);
  double busy = cpu_busy_ms(cpu);
  from = (double)cxb_mono_ns();
  carry(count, seconds);
  double scale = 1000 / ((double)cxb_mono_ns() - from) / count;
  after = all_used(count);
  r.cpu_ms = (total(&after) - total(&before)) * scale;
  double others = (cpu_busy_ms(cpu) - busy) / seconds / 10 - r.cpu_ms * count / 10;
  r.live_mib = pss_mib(count);
  r.p50 = delay_ms(50), r.p99 = delay_ms(99);
  for (int i = 0; i < count; i++)
    samples += ends[i].back;
  printf("%d %s: idle %.2f ms/s and %.1f MiB PSS each, in a call %.2f ms/s and %.1f MiB\n", count,
         names[what], idle, r.idle_mib, r.cpu_ms, r.live_mib);
  if (what == OURS || what == TALKS)
    printf("  media thread %.2f ms/s, script %.2f, disk and watch %.2f\n",
           (after.media - before.media) * scale, (after.script - before.script) * scale,
           (after.rest - before.rest) * scale);
  if (what != BARE)
    printf(
        "  user %.0f %%, kernel %.0f %%; audio back %.1f %%, after p50 %.1f ms, p99 %.1f ms, %u "
        "gaps, %u pieces unknown\n",
        split(&before, &after), 100 - split(&before, &after),
        (double)samples / count / seconds / 80, r.p50, r.p99, gaps, unknown);
  if (others > 5)
    printf("  others took %.0f %% of this CPU meanwhile: the figures are too high\n", others);
  stop_all(count);
  return r;
}

static void compare(int count, double seconds, int cpu) {
  result bare = measure(count, seconds / 2, cpu, BARE), call = measure(count, seconds, cpu, OURS);
  result talks = measure(count, seconds, cpu, TALKS);
  printf(
      "= live call, Twilio framing, bot echo, %d on one core: %.2f ms CPU a second, %.0f calls a "
      "core (aim ≥ 400); a bare socket echo of these frames: %.2f ms, ratio %.1f\n",
      count, call.cpu_ms, 1000 / call.cpu_ms, bare.cpu_ms, call.cpu_ms / bare.cpu_ms);
  printf("= the same with a bot that talks: %.2f ms\n", talks.cpu_ms);
}

static void compare_with_peer(int count, double seconds, int cpu) {
  result ours = measure(count, seconds, cpu, OURS), peer = measure(count, seconds, cpu, PEER);
  printf(
      "= memory of a process in a call, %d side by side: %.1f MiB PSS against %.0f, %.0f× less "
      "(aim ≥ 30)\n",
      count, ours.live_mib, peer.live_mib, peer.live_mib / ours.live_mib);
  printf("= CPU of a call: %.2f ms a second against %.1f, %.0f× less (aim ≥ 20)\n", ours.cpu_ms,
         peer.cpu_ms, peer.cpu_ms / ours.cpu_ms);
  printf("= delay of the echo, p50 and p99: %.1f and %.1f ms against %.1f and %.1f\n", ours.p50,
         ours.p99, peer.p50, peer.p99);
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 0, cpu = argc > 3 ? atoi(argv[3]) : 0;
  double seconds = argc > 2 ? atof(argv[2]) : 20;
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (count < 0 || count > MAX || seconds < 1) {
    fprintf(stderr, "calls [WORKERS 1-%d [SECONDS [CPU]]]\n", MAX);
    return 2;
  }
  load_speech();
  if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
    on_cpu(cpu == 0 ? 1 : 0);
  if (getenv("CXB_BENCH_PEER")) {
    compare_with_peer(count ? count : 4, seconds, cpu);
  } else if (count) {
    compare(count, seconds, cpu);
  } else {
    compare(1, seconds, cpu);
    compare(16, seconds, cpu);
  }
  return 0;
}
