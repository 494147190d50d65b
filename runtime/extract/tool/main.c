/* cxb_extract KIND FILE: the text of somebody else's document on standard output, read without a
 * network and within limits. KIND is "pdf" (poppler's pdftotext takes over), "docx" or "text".
 * Exit code 2 and one line on standard error: the document is refused. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../base/confine.h"
#include "docx.h"
#include "text.h"

enum { REFUSED = 2, BROKEN = 3, CPU_S = 30, MEMORY_MB = 512, OUTPUT_MB = 64 };

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: cxb_extract pdf|docx FILE\n");
    return BROKEN;
  }
  cxb_confinement rules = {.memory_mb = MEMORY_MB, .cpu_s = CPU_S, .output_mb = OUTPUT_MB};
  if (cxb_confine(&rules) != 0) {
    fprintf(stderr, "cannot be confined\n");
    return BROKEN;
  }
  if (strcmp(argv[1], "pdf") == 0) {
    execlp("pdftotext", "pdftotext", "-q", "-nopgbrk", "-enc", "UTF-8", argv[2], "-", (char *)NULL);
    fprintf(stderr, "pdftotext is not installed\n");
    return BROKEN;
  }
  const char *why = strcmp(argv[1], "docx") == 0   ? docx_print(argv[2])
                    : strcmp(argv[1], "text") == 0 ? text_print(argv[2])
                                                   : "there is no such kind";
  if (!why)
    return fflush(stdout) == 0 ? 0 : BROKEN;
  fprintf(stderr, "%s\n", why);
  return REFUSED;
}
