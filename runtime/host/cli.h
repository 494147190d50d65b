/* The command line: cxbrt [--check|--help-config] SCRIPT [args], cxbrt --version|--help. */
#pragma once
#include <limits.h>
#include <stdbool.h>

typedef struct cxb_cli {
  bool check, help_config;
  char script[PATH_MAX]; /* absolute */
  char root[PATH_MAX];   /* installation directory */
  int argc;              /* arguments after the script */
  char **argv;
} cxb_cli;

/* Fills `out` and returns -1, or the exit code when there is nothing more to do. */
int cxb_cli_parse(int argc, char **argv, cxb_cli *out);
