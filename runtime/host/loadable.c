/* Loadable modules. */
#include "loadable.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void *cxb_loadable_symbol(const char *name, const char *symbol, char *why, size_t why_len) {
  static const char *const places[] = {"modules", "../modules"}; /* C tests lie one folder deeper */
  char folder[PATH_MAX], path[PATH_MAX + 80];
  ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
  folder[n > 0 ? n : 0] = 0;
  char *slash = strrchr(folder, '/');
  if (slash)
    *slash = 0;
  for (size_t i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s/%.60s.so", folder, places[i], name);
    if (access(path, F_OK) == 0)
      break;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  void *found = library ? dlsym(library, symbol) : NULL;
  if (!found)
    snprintf(why, why_len, "%s", dlerror());
  return found;
}
