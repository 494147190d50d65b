/* The command line. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: cxbrt SCRIPT [args]         run a service or a tool\n"
    "       cxbrt test [files]          specs of flows\n"
    "       cxbrt --check SCRIPT        load it and run its self-test, start nothing\n"
    "       cxbrt --help-config [SCRIPT]  the environment variables it reads\n"
    "       cxbrt --version\n"
    "\n"
    "A relative SCRIPT that is not in the working directory is looked up in lua/, api/,\n"
    "dialler/ and deploy/ of the installation.\n";

/* The installation is where the program lies, or above: <root>/build/cxbrt, <root>/bin/cxbrt. */
static int find_root(char root[PATH_MAX]) {
  const char *given = getenv("CXB_ROOT");
  if (given && *given)
    return realpath(given, root) ? 0 : -1;
  char exe[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (n <= 0)
    return -1;
  exe[n] = '\0';
  for (int up = 0; up < 4; up++) {
    char *slash = strrchr(exe, '/');
    if (!slash || slash == exe)
      return -1;
    *slash = '\0';
    char probe[PATH_MAX + 16];
    snprintf(probe, sizeof probe, "%s/lua/types", exe);
    if (access(probe, F_OK) == 0) {
      snprintf(root, PATH_MAX, "%s", exe);
      return 0;
    }
  }
  return -1;
}

static int find_script(const char *name, const char *root, char out[PATH_MAX]) {
  static const char *const rooms[] = {"lua", "api", "dialler", "deploy", "."};
  if (!strpbrk(name, "./")) { /* a tool of ours, by its name */
    char probe[PATH_MAX * 2];
    snprintf(probe, sizeof probe, "%s/lua/%s.lua", root, name);
    if (access(probe, R_OK) == 0)
      return realpath(probe, out) ? 0 : -1;
  }
  if (access(name, R_OK) == 0)
    return realpath(name, out) ? 0 : -1;
  if (*name == '/')
    return -1;
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
    char probe[PATH_MAX * 2];
    snprintf(probe, sizeof probe, "%s/%s/%s", root, rooms[i], name);
    if (access(probe, R_OK) == 0)
      return realpath(probe, out) ? 0 : -1;
  }
  return -1;
}

int cxb_cli_parse(int argc, char **argv, cxb_cli *out) {
  int i = 1;
  for (; i < argc && argv[i][0] == '-' && argv[i][1] == '-'; i++) {
    if (strcmp(argv[i], "--version") == 0) {
      puts("cxbrt " CXB_VERSION);
      return 0;
    } else if (strcmp(argv[i], "--help") == 0) {
      fputs(usage, stdout);
      return 0;
    } else if (strcmp(argv[i], "--check") == 0) {
      out->check = true;
    } else if (strcmp(argv[i], "--help-config") == 0) {
      out->help_config = true;
    } else {
      fprintf(stderr, "cxbrt: unknown option %s\n%s", argv[i], usage);
      return 2;
    }
  }
  const char *script = i < argc ? argv[i] : out->help_config ? "help_config.lua" : NULL;
  if (!script) {
    fputs(usage, stderr);
    return 2;
  }
  if (find_root(out->root) != 0) {
    fputs("cxbrt: the installation is not where the program lies; set CXB_ROOT to it\n", stderr);
    return 1;
  }
  if (find_script(script, out->root, out->script) != 0) {
    fprintf(
        stderr,
        "cxbrt: no script %s in the working directory or in lua/, api/, dialler/, deploy/ of %s\n",
        script, out->root);
    return 1;
  }
  out->argc = i < argc ? argc - i - 1 : 0;
  out->argv = argv + i + 1;
  return -1;
}
