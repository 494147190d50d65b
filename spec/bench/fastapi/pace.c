/* Load at a given rate: requests fall due by chance (Poisson, as callers who know nothing of each
 * other send them), whatever the server does, each on a connection that is free. A request's time
 * runs from the moment it was due to the last byte of its answer; where every connection is taken
 * it waits, and that counts. wrk cannot do this: its delays end at whole milliseconds, so a
 * millisecond's requests leave at once, and what it measures is how they queue.
 *   pace LOAD.lua KIND HOST PORT CONNECTIONS RATE SECONDS TAG
 * LOAD.lua is a script of wrk's; its request() makes each request before it is due. Prints
 *   FIGURES rate p50 p99 errors late
 * as LOAD.lua's done() does, in us; `late`: the p99 of how long after its time a request left that
 * had a connection, which is this program's own fault. It spins when the next is near, because
 * timers are as late as what is measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  MAX_CONNECTIONS = 1024,
  WAITING = 1 << 16,
  BUCKETS = 1 << 20,
  ROOM = 1 << 16,
  SPIN_NS = 50000
};

typedef struct connection {
  int fd;
  uint64_t due;
  size_t have;
  char in[ROOM];
} connection;

typedef struct histogram {
  uint32_t *count; /* by us, the last for all above */
  uint64_t total;
} histogram;

static const char WRK[] =
    "wrk = {}\n"
    "function wrk.format(method, path, headers, body)\n"
    "  local lines = { method .. ' ' .. path .. ' HTTP/1.1', 'Host: localhost' }\n"
    "  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ': ' .. value end\n"
    "  if body then lines[#lines + 1] = 'Content-Length: ' .. #body end\n"
    "  return table.concat(lines, '\\r\\n') .. '\\r\\n\\r\\n' .. (body or '')\n"
    "end\n";

static connection *connections[MAX_CONNECTIONS];
static int spare[MAX_CONNECTIONS], spares, epoll_fd;
static uint64_t waiting[WAITING]; /* due, and no connection was free */
static size_t first, waiters;
static histogram took, late;
static unsigned long errors, answers;
static lua_State *L;
static char *next_text;
static size_t next_len;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "pace: %s\n", what);
  exit(1);
}

static void add(histogram *h, uint64_t ns) {
  uint64_t us = ns / 1000;
  h->count[us < BUCKETS ? us : BUCKETS - 1]++;
  h->total++;
}

static int quantile(const histogram *h, double q) {
  uint64_t wanted = (uint64_t)ceil((double)h->total * q), seen = 0;
  for (int i = 0; i < BUCKETS; i++)
    if ((seen += h->count[i]) >= wanted)
      return i;
  return 0;
}

static void load_script(const char *path, const char *kind, const char *tag) {
  L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_dostring(L, WRK) || luaL_dofile(L, path))
    die(lua_tostring(L, -1));
  lua_getglobal(L, "init");
  lua_newtable(L);
  lua_pushstring(L, kind);
  lua_rawseti(L, -2, 1);
  lua_pushstring(L, tag);
  lua_rawseti(L, -2, 2);
  if (lua_pcall(L, 1, 0, 0))
    die(lua_tostring(L, -1));
}

/* The next request; it stays on the stack until it has been sent. */
static void make_next(void) {
  lua_settop(L, 0);
  lua_getglobal(L, "request");
  if (lua_pcall(L, 0, 1, 0))
    die(lua_tostring(L, -1));
  next_text = (char *)lua_tolstring(L, -1, &next_len);
}

static void connect_one(int index, const struct sockaddr_in *to) {
  connection *c = connections[index] = calloc(1, sizeof *c);
  int one = 1;
  if (!c || (c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 ||
      connect(c->fd, (const struct sockaddr *)to, sizeof *to) != 0)
    die("no connection");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
  spare[spares++] = index;
}

static void send_next(uint64_t due) {
  connection *c = connections[spare[--spares]];
  c->due = due;
  c->have = 0;
  for (size_t sent = 0; sent < next_len;) {
    ssize_t n = write(c->fd, next_text + sent, next_len - sent);
    if (n < 0 && errno != EAGAIN)
      die("a connection has gone");
    sent += n > 0 ? (size_t)n : 0;
  }
  make_next();
}

/* Length of the answer when its head is there, 0 when it is not. */
static size_t answer_len(connection *c) {
  c->in[c->have] = '\0';
  const char *end = strstr(c->in, "\r\n\r\n");
  const char *field = end ? strcasestr(c->in, "\r\ncontent-length:") : NULL;
  if (end && !field)
    die("an answer without Content-Length");
  return end ? (size_t)(end + 4 - c->in) + strtoul(field + 17, NULL, 10) : 0;
}

static void on_readable(int index) {
  connection *c = connections[index];
  ssize_t n = read(c->fd, c->in + c->have, ROOM - 1 - c->have);
  if (n < 0 && errno == EAGAIN)
    return;
  if (n <= 0)
    die("a connection has gone, or an answer is too long");
  c->have += (size_t)n;
  size_t len = answer_len(c);
  if (len == 0 || c->have < len)
    return;
  add(&took, now_ns() - c->due);
  answers++;
  errors += strncmp(c->in + 8, " 2", 2) != 0;
  spare[spares++] = index;
}

static double chance(void) {
  static uint64_t x = 88172645463325252u;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return (double)(x >> 11) / 9007199254740992.0;
}

static uint64_t pause_ns(double rate) {
  return (uint64_t)(-log(1 - chance()) / rate * 1e9);
}

static void send_due(uint64_t due) {
  if (spares > 0) {
    add(&late, now_ns() - due);
    send_next(due);
  } else {
    if (waiters == WAITING)
      die("the server does not keep up");
    waiting[(first + waiters++) % WAITING] = due;
  }
}

static void run(double rate, double seconds) {
  uint64_t began = now_ns(), end = began + (uint64_t)(seconds * 1e9), due = began;
  uint64_t give_up = end + 10000000000u;
  struct epoll_event events[64];
  int open = spares;
  make_next();
  for (uint64_t now = began; now < end || spares < open || waiters; now = now_ns()) {
    if (now > give_up)
      die("answers are missing");
    if (now >= due && due < end) {
      send_due(due);
      due += pause_ns(rate);
    }
    int64_t rest = (int64_t)(due < end ? due : end) - (int64_t)now - SPIN_NS;
    struct timespec nap = {0, rest > 0 && rest < 1000000000 ? rest : 0};
    int n = epoll_pwait2(epoll_fd, events, 8, &nap, NULL);
    for (int i = 0; i < n; i++)
      on_readable((int)events[i].data.u32);
    for (; spares && waiters; waiters--, first = (first + 1) % WAITING)
      send_next(waiting[first]);
  }
}

int main(int argc, char **argv) {
  if (argc != 9)
    die("LOAD.lua KIND HOST PORT CONNECTIONS RATE SECONDS TAG");
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[4]))};
  int count = atoi(argv[5]);
  double rate = atof(argv[6]), seconds = atof(argv[7]);
  if (inet_pton(AF_INET, argv[3], &to.sin_addr) != 1 || count < 1 || count > MAX_CONNECTIONS ||
      rate < 1 || seconds <= 0)
    die("an argument is no good");
  took.count = calloc(BUCKETS, sizeof *took.count);
  late.count = calloc(BUCKETS, sizeof *late.count);
  prctl(PR_SET_TIMERSLACK, 1);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (!took.count || !late.count || epoll_fd < 0)
    die("no memory");
  load_script(argv[1], argv[2], argv[8]);
  for (int i = 0; i < count; i++)
    connect_one(i, &to);
  run(rate, seconds);
  printf("FIGURES %.0f %d %d %lu %d\n", (double)answers / seconds, quantile(&took, 0.5),
         quantile(&took, 0.99), errors, quantile(&late, 0.99));
  return 0;
}
