/* The delays that are ours, each by itself, on one clock: this program is the carrier (Twilio's
 * framing) and the speech service (docs/speech.md) of one worker, so it knows when each message
 * left and when what followed from it came.
 *
 *   end of turn      the moment the turn is over (400 ms after the last voiced frame) → `finalize`
 *   words            `final` with the turn's words → `speak` with the answer's
 *   first audio      first bytes of speech → first media frame
 *   barge, words     the partial text that decides → `clear`
 *   barge, voice     the caller's frame that decides (the same voice activity runs here) → `clear`
 *
 * In each turn 18 s of speech wait; the first is cut after 2 s. Frames after a `clear` are a leak.
 *
 *   build/bench/delays [TURNS]        15 of each kind by default, about 40 s */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/base64.h"
#include "base/time.h"
#include "media/g711.h"
#include "media/resample.h"
#include "media/vad.h"
#include "media/wav.h"
#include "net/ws_frame.h"
#include "net/ws_handshake.h"
#include "worker.h"

enum { FRAME = 160, CONNS = 6, QUEUED_S = 18, CUT_MS = 2000, TURN_MS = 300, MOST = 200 };
enum { VOICE_MS = 200, SILENCE_MS = 240 }; /* of the leg's voice activity */
enum { ENDED_MS = 300, DELAY_MS = 400 };   /* silence tells of voice that ended; cxb.turn */
#define SPEECH                                                                                     \
  "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav"

typedef struct conn {
  int fd;
  bool upgraded, stt;
  char head[4096];
  size_t head_len;
  cxb_ws_parser parser;
} conn;

typedef struct figure {
  const char *what, *aim;
  double ms[MOST];
  size_t n;
} figure;

static figure end_of_turn = {"end of turn → transcript request", "≤ 10", {0}, 0},
              words = {"final words → speech request", "≤ 10", {0}, 0},
              first_audio = {"first TTS bytes → first frame out", "≤ 10", {0}, 0},
              by_words = {"deciding words → clear", "≤ 10", {0}, 0},
              by_voice = {"deciding frame → clear", "≤ 10", {0}, 0};

static char dir[64];
static pid_t worker;
static int listener, call = -1;
static conn conns[CONNS];
static cxb_ws_parser call_parser;
static uint8_t *speech;
static size_t speech_frames, speaking_from;
static bool speaking; /* the caller */
static cxb_vad *vad;
static int64_t next_frame_ns, decided_ns; /* decided: the voice activity said "speech" */
static unsigned long sent;

/* What came, and when: 0 is not yet. */
static int64_t finalize_ns, speak_ns, media_ns, clear_ns;
static long finalize_id, speak_id;
static unsigned frames, leaked;

static void die(const char *what) {
  fprintf(stderr, "%s\n", what);
  if (worker > 0)
    kill(worker, SIGKILL);
  if (*dir)
    remove_folder(dir);
  exit(1);
}

/* ---- the speech service ---- */

static conn *conn_of(bool stt) {
  for (int i = CONNS - 1; i >= 0; i--)
    if (conns[i].fd >= 0 && conns[i].upgraded && conns[i].stt == stt)
      return &conns[i];
  die("the worker is not connected");
  return NULL;
}

static void put_all(int fd, const void *data, size_t len) {
  for (size_t at = 0; at < len;) {
    ssize_t n = write(fd, (const char *)data + at, len - at);
    if (n <= 0)
      die("the worker does not read");
    at += (size_t)n;
  }
}

static void serve(bool stt, int opcode, const void *data, size_t len) {
  uint8_t header[CXB_WS_HEADER_MAX];
  const conn *c = conn_of(stt);
  put_all(c->fd, header, cxb_ws_frame_header(header, opcode, len, NULL));
  put_all(c->fd, data, len);
}

static void tell(bool stt, const char *text) {
  serve(stt, CXB_WS_TEXT, text, strlen(text));
}

static long number_in(const char *text, const char *name) {
  const char *at = strstr(text, name);
  return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

static bool on_request(void *arg, bool binary, const uint8_t *data, size_t len) {
  char text[512];
  (void)arg;
  if (binary)
    return false;
  snprintf(text, sizeof text, "%.*s", (int)(len < 511 ? len : 511), (const char *)data);
  if (strstr(text, "\"finalize\"")) {
    finalize_ns = cxb_mono_ns();
    finalize_id = number_in(text, "\"id\":");
  } else if (strstr(text, "\"speak\"")) {
    speak_ns = cxb_mono_ns();
    speak_id = number_in(text, "\"id\":");
  } else if (strstr(text, "\"cancel\"")) {
    snprintf(text, sizeof text, "{\"type\":\"done\",\"id\":%ld,\"samples\":0,\"cancelled\":true}",
             speak_id);
    tell(false, text);
  }
  return false;
}

static bool on_control(void *arg, int opcode, const uint8_t *data, size_t len) {
  (void)arg, (void)opcode, (void)data, (void)len;
  return false;
}

static void on_head(conn *c) {
  char answer[512];
  ssize_t n = read(c->fd, c->head + c->head_len, sizeof c->head - c->head_len);
  if (n <= 0)
    die("the worker left before its upgrade");
  c->head_len += (size_t)n;
  if (!memmem(c->head, c->head_len, "\r\n\r\n", 4))
    return;
  size_t len = cxb_ws_answer(c->head, c->head_len, NULL, answer, sizeof answer);
  if (len == 0)
    die("no upgrade");
  put_all(c->fd, answer, len);
  c->upgraded = true;
  c->stt = memmem(c->head, c->head_len, "/stt", 4) != NULL;
  c->parser = (cxb_ws_parser){.max_text = 65536, .max_binary = 65536};
  if (c->stt)
    tell(true, "{\"type\":\"ready\",\"rate\":16000,\"language\":\"en\"}");
}

static const cxb_ws_frame_handler request_handler = {on_request, on_control};

static void on_conn(conn *c) {
  static uint8_t in[65536];
  if (!c->upgraded) {
    on_head(c);
    return;
  }
  ssize_t n = read(c->fd, in, sizeof in);
  if (n <= 0) {
    close(c->fd);
    cxb_ws_parser_free(&c->parser);
    *c = (conn){.fd = -1};
    return;
  }
  cxb_ws_parser_push(&c->parser, in, (size_t)n, &request_handler, c);
}

static void on_listener(void) {
  for (int i = 0; i < CONNS; i++)
    if (conns[i].fd < 0) {
      conns[i].fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
      return;
    }
  die("too many connections to the speech service");
}

/* ---- the carrier ---- */

static bool on_carrier(void *arg, bool binary, const uint8_t *data, size_t len) {
  (void)arg, (void)binary;
  if (len > 15 && memcmp(data, "{\"event\":\"media\"", 16) == 0) {
    frames++;
    leaked += clear_ns != 0;
    if (!media_ns)
      media_ns = cxb_mono_ns();
  } else if (len > 15 && memcmp(data, "{\"event\":\"clear\"", 16) == 0 && !clear_ns) {
    clear_ns = cxb_mono_ns();
  }
  return false;
}

static const cxb_ws_frame_handler carrier_handler = {on_carrier, on_control};

static void on_call(void) {
  static uint8_t in[65536];
  ssize_t n = read(call, in, sizeof in);
  if (n <= 0)
    die("the worker ended the call");
  cxb_ws_parser_push(&call_parser, in, (size_t)n, &carrier_handler, NULL);
}

static void send_frame(void) {
  static uint8_t quiet[FRAME];
  char payload[CXB_BASE64_LEN(FRAME) + 1] = {0};
  int16_t pcm[FRAME];
  int64_t edge;
  memset(quiet, 0xff, sizeof quiet);
  const uint8_t *frame = speaking ? speech + (speaking_from++ % speech_frames) * FRAME : quiet;
  cxb_base64_encode(payload, frame, FRAME);
  cxb_ulaw_decode(frame, FRAME, pcm);
  cxb_vad_edge found = cxb_vad_frame(vad, pcm, FRAME, (int64_t)sent * 20, &edge);
  int64_t now = cxb_mono_ns();
  if (!put_media(call, 1, ++sent, payload))
    die("the worker does not read");
  if (found == CXB_VAD_SPEECH)
    decided_ns = now;
}

/* ---- time ---- */

/* Until `*what` is set, or `ms` have passed: then false. */
static bool run(const int64_t *what, int ms) {
  int64_t until = cxb_mono_ns() + (int64_t)ms * 1000000;
  while (!what || !*what) {
    int64_t now = cxb_mono_ns();
    if (now >= until)
      return false;
    if (call >= 0 && now >= next_frame_ns) {
      send_frame();
      next_frame_ns += 20000000;
      continue;
    }
    int64_t next = call >= 0 && next_frame_ns < until ? next_frame_ns : until;
    struct pollfd fds[CONNS + 2] = {{.fd = listener, .events = POLLIN},
                                    {.fd = call, .events = POLLIN}};
    for (int i = 0; i < CONNS; i++)
      fds[i + 2] = (struct pollfd){.fd = conns[i].fd, .events = POLLIN};
    struct timespec wait = {.tv_nsec = next - now};
    ppoll(fds, CONNS + 2, &wait, NULL);
    if (fds[0].revents)
      on_listener();
    if (fds[1].revents)
      on_call();
    for (int i = 0; i < CONNS; i++)
      if (fds[i + 2].revents)
        on_conn(&conns[i]);
  }
  return true;
}

static void expect(const int64_t *what, const char *name) {
  if (!run(what, 5000)) {
    fprintf(stderr, "no %s\n", name);
    die("gave up");
  }
}

static void note(figure *f, int64_t from_ns, int64_t to_ns) {
  if (f->n < MOST)
    f->ms[f->n++] = (double)(to_ns - from_ns) / 1e6;
}

/* ---- a turn ---- */

/* The service hears `said`, and that the voice has ended; the worker asks for the final text. */
static void caller_says(const char *said) {
  char text[300];
  finalize_ns = 0;
  tell(true, "{\"type\":\"speech\",\"t_ms\":1000,\"pos_ms\":1800}");
  snprintf(text, sizeof text, "{\"type\":\"partial\",\"text\":\"%s\"}", said);
  tell(true, text);
  run(NULL, 60);
  snprintf(text, sizeof text, "{\"type\":\"silence\",\"t_ms\":2000,\"pos_ms\":%d}",
           2000 + ENDED_MS);
  int64_t over = cxb_mono_ns() + (DELAY_MS - ENDED_MS) * 1000000LL;
  tell(true, text);
  expect(&finalize_ns, "finalize");
  note(&end_of_turn, over, finalize_ns);
  snprintf(text, sizeof text,
           "{\"type\":\"final\",\"id\":%ld,\"text\":\"%s\",\"start_ms\":1000,\"end_ms\":2000,"
           "\"confidence\":0.9}",
           finalize_id, said);
  speak_ns = 0;
  int64_t from = cxb_mono_ns();
  tell(true, text);
  expect(&speak_ns, "speak");
  note(&words, from, speak_ns);
}

static void bot_speaks(void) {
  static int16_t second[8000];
  char text[100];
  for (int i = 0; i < 8000; i++)
    second[i] = (int16_t)(i % 40 < 20 ? 3000 : -3000);
  media_ns = clear_ns = 0;
  frames = 0;
  snprintf(text, sizeof text, "{\"type\":\"start\",\"id\":%ld,\"rate\":8000}", speak_id);
  tell(false, text);
  int64_t from = cxb_mono_ns();
  for (int i = 0; i < QUEUED_S; i++)
    serve(false, CXB_WS_BINARY, second, sizeof second);
  expect(&media_ns, "media");
  note(&first_audio, from, media_ns);
}

static void interrupt(bool voice) {
  if (voice) {
    decided_ns = 0;
    speaking = true;
    expect(&clear_ns, "clear");
    speaking = false;
    if (decided_ns)
      note(&by_voice, decided_ns, clear_ns);
    return;
  }
  tell(true, "{\"type\":\"speech\",\"t_ms\":1000,\"pos_ms\":1800}");
  run(NULL, 60);
  int64_t from = cxb_mono_ns();
  tell(true, "{\"type\":\"partial\",\"text\":\"no please stop that now\"}");
  expect(&clear_ns, "clear");
  note(&by_words, from, clear_ns);
}

static void report(const figure *f) {
  double sorted[MOST];
  memcpy(sorted, f->ms, sizeof sorted);
  for (size_t i = 1; i < f->n; i++)
    for (size_t k = i; k > 0 && sorted[k - 1] > sorted[k]; k--) {
      double t = sorted[k];
      sorted[k] = sorted[k - 1];
      sorted[k - 1] = t;
    }
  if (f->n == 0)
    printf("= %s: not measured\n", f->what);
  else
    printf("= %s: p50 %.2f ms, p95 %.2f ms, max %.2f ms of %zu (aim %s)\n", f->what,
           sorted[f->n / 2], sorted[(f->n * 95 + 99) / 100 - 1], sorted[f->n - 1], f->n, f->aim);
}

/* ---- before and after ---- */

static void write_file(const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  if (!f || fputs(text, f) < 0 || fclose(f) != 0)
    die("no file in the folder");
}

static void make_folder(void) {
  char path[200];
  snprintf(dir, sizeof dir, "/tmp/cxb-delays-XXXXXX");
  if (!mkdtemp(dir))
    die("no folder");
  snprintf(path, sizeof path, "%s/bots", dir);
  mkdir(path, 0755);
  snprintf(path, sizeof path, "%s/flows", dir);
  mkdir(path, 0755);
  write_file("flows/answers.lua",
             "return function(call)\n"
             "  while not call:listen({ timeout = 3600 }).hangup do\n"
             "    call:say('This is what there is to say.')\n"
             "  end\n"
             "end\n");
  for (int voice = 0; voice < 2; voice++) {
    char text[500];
    snprintf(
        text, sizeof text,
        "{\"bot_id\":\"%s\",\"system_prompt\":\"\",\"opening_message\":\"\",\"flow\":\"answers\","
        "\"stt\":{\"provider\":\"embedded\",\"language\":\"en\"},"
        "\"tts\":{\"provider\":\"embedded\"},"
        "\"vad\":{\"start_ms\":%d,\"stop_ms\":%d,\"confidence\":0.5,\"min_volume\":0},"
        "\"min_words_interruption\":%d,"
        "\"max_silence_seconds\":0,\"max_call_duration_seconds\":7200}",
        voice ? "voice" : "words", VOICE_MS, SILENCE_MS, voice ? 0 : 3);
    write_file(voice ? "bots/voice.json" : "bots/words.json", text);
  }
}

static void listen_as_service(void) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s/speech.sock", dir);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 8) != 0)
    die("the speech service cannot listen");
  for (int i = 0; i < CONNS; i++)
    conns[i].fd = -1;
}

static void start_worker(void) {
  char path[200];
  worker = fork();
  if (worker == 0) {
    snprintf(path, sizeof path, "unix:%s/speech.sock", dir);
    setenv("CXB_SPEECH_URL", path, 1);
    snprintf(path, sizeof path, "%s/bots", dir);
    setenv("CXB_BOTS_DIR", path, 1);
    snprintf(path, sizeof path, "%s/flows", dir);
    setenv("CXB_FLOWS_DIR", path, 1);
    become_worker(dir, 1, 1);
  }
}

static void load_speech(void) {
  int16_t *pcm = NULL, *at8k = NULL;
  size_t n = 0, n8 = 0;
  int rate = 0;
  if (cxb_wav_read(SPEECH, &pcm, &n, &rate) != 0 ||
      cxb_resample(pcm, n, rate, 8000, &at8k, &n8) != 0)
    die("no " SPEECH " (Debian: pocketsphinx-testdata)");
  speech_frames = n8 / FRAME;
  speech = malloc(n8);
  cxb_ulaw_encode(at8k, n8, speech);
  free(pcm);
  free(at8k);
}

static void one_call(bool voice, int turns) {
  if (cxb_vad_new(8000, &vad) != 0)
    die("no voice activity");
  cxb_vad_set(vad, 2, VOICE_MS, SILENCE_MS); /* mode 2 is confidence 0.5 */
  sent = 0;
  int fd = connect_to_worker(dir, 1, worker);
  if (fd < 0 || !upgrade(fd, voice ? "/twilio/voice" : "/twilio/words") || !put_start(fd, 1))
    die("the worker takes no call");
  call_parser = (cxb_ws_parser){.from_server = true, .max_text = 65536, .max_binary = 65536};
  next_frame_ns = cxb_mono_ns();
  call = fd;
  run(NULL, 1000); /* connections to the speech service */
  for (int i = 0; i < turns; i++) {
    caller_says(i ? "No please stop that now." : "Tell me everything.");
    bot_speaks();
    run(NULL, i ? TURN_MS : CUT_MS);
    interrupt(voice);
    if (i == 0)
      printf("barge-in by %s: %u frames were sent of %d s waiting\n", voice ? "voice" : "words",
             frames, QUEUED_S);
    run(NULL, voice ? 900 : 200); /* what comes now leaked; and the voice is over */
  }
  put_text(call, "{\"event\":\"stop\"}", 16);
  close(call);
  call = -1;
  cxb_ws_parser_free(&call_parser);
  cxb_vad_free(vad);
  run(NULL, 1000);
}

int main(int argc, char **argv) {
  int turns = argc > 1 ? atoi(argv[1]) : 15;
  if (turns < 1 || turns > MOST / 2) {
    fprintf(stderr, "delays [TURNS 1-%d]\n", MOST / 2);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  load_speech();
  make_folder();
  listen_as_service();
  start_worker();
  /* The clock of both ends: it must not wait for others. */
  sched_setscheduler(0, SCHED_RR, &(struct sched_param){.sched_priority = 2});
  one_call(false, turns);
  one_call(true, turns);
  kill(worker, SIGTERM);
  waitpid(worker, NULL, 0);
  remove_folder(dir);
  report(&end_of_turn);
  report(&words);
  report(&first_audio);
  report(&by_words);
  report(&by_voice);
  printf("= frames after a clear: %u in %d cuts of %d s (aim 0)\n", leaked, 2 * turns, QUEUED_S);
  return 0;
}
