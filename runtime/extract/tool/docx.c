#include "docx.h"

#include <archive.h>
#include <archive_entry.h>
#include <expat.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ENTRIES_MAX = 200, TEXT_MAX = 32 << 20, TOKEN_MAX = 4 << 20 };
static const long long unpacked_max = 200LL << 20;

typedef struct reader {
  XML_Parser xml;
  bool in_text;
  size_t written;
  long long fed; /* bytes of XML */
  const char *refused;
} reader;

static void put(reader *r, const char *text, size_t len) {
  r->written += len;
  if (r->written > TEXT_MAX) {
    r->refused = "it holds more than 32 MiB of text";
    XML_StopParser(r->xml, XML_FALSE);
    return;
  }
  fwrite(text, 1, len, stdout);
}

/* Names come without their prefix, which a document may choose: "w:t" is "t". */
static const char *local_name(const char *name) {
  const char *colon = strrchr(name, ':');
  return colon ? colon + 1 : name;
}

static void on_start(void *arg, const char *name, const char **attributes) {
  (void)attributes;
  reader *r = arg;
  const char *local = local_name(name);
  if (strcmp(local, "t") == 0)
    r->in_text = true;
  else if (strcmp(local, "tab") == 0)
    put(r, "\t", 1);
  else if (strcmp(local, "br") == 0 || strcmp(local, "cr") == 0)
    put(r, "\n", 1);
}

static void on_end(void *arg, const char *name) {
  reader *r = arg;
  const char *local = local_name(name);
  if (strcmp(local, "t") == 0)
    r->in_text = false;
  else if (strcmp(local, "p") == 0)
    put(r, "\n", 1);
}

static void on_text(void *arg, const char *text, int len) {
  reader *r = arg;
  if (r->in_text)
    put(r, text, (size_t)len);
}

/* A document has no use for entities of its own; those who have are up to something. */
static void on_doctype(void *arg, const char *name, const char *system_id, const char *public_id,
                       int internal) {
  (void)name, (void)system_id, (void)public_id, (void)internal;
  reader *r = arg;
  r->refused = "its XML declares a document type";
  XML_StopParser(r->xml, XML_FALSE);
}

/* The parser keeps and reads again what it cannot end: megabytes of one name would take it minutes,
 * and no document has them. */
static void parse(reader *r, const char *data, size_t len, bool last) {
  r->fed += (long long)len;
  if (!r->refused && XML_Parse(r->xml, data, (int)len, last) == XML_STATUS_ERROR && !r->refused)
    r->refused = "its XML is not well-formed";
  else if (!r->refused && r->fed - XML_GetCurrentByteIndex(r->xml) > TOKEN_MAX)
    r->refused = "its XML is not well-formed";
}

/* All of an entry is read, so that what is counted is what there really is. */
static const char *read_entry(struct archive *a, reader *r, long long *unpacked) {
  static char data[65536];
  for (;;) {
    la_ssize_t n = archive_read_data(a, data, sizeof data);
    if (n < 0)
      return "the archive is damaged";
    if (n == 0)
      return NULL;
    *unpacked += n;
    if (*unpacked > unpacked_max)
      return "it unpacks to more than 200 MB";
    if (r)
      parse(r, data, (size_t)n, false);
    if (r && r->refused)
      return r->refused;
  }
}

static const char *read_archive(struct archive *a, reader *r) {
  struct archive_entry *entry;
  long long unpacked = 0;
  bool found = false;
  for (int entries = 1;; entries++) {
    int rc = archive_read_next_header(a, &entry);
    if (rc == ARCHIVE_EOF)
      break;
    if (rc < ARCHIVE_WARN)
      return "the archive is damaged";
    if (entries > ENTRIES_MAX)
      return "it has more than 200 entries";
    const char *name = archive_entry_pathname_utf8(entry);
    bool is_document = !found && name && strcmp(name, "word/document.xml") == 0;
    const char *why = read_entry(a, is_document ? r : NULL, &unpacked);
    if (why)
      return why;
    if (is_document) {
      found = true;
      parse(r, "", 0, true);
      if (r->refused)
        return r->refused;
    }
  }
  return found ? NULL : "there is no word/document.xml in it";
}

const char *docx_print(const char *path) {
  reader r = {.xml = XML_ParserCreate(NULL)};
  struct archive *a = archive_read_new();
  const char *why = "out of memory";
  if (r.xml && a) {
    XML_SetUserData(r.xml, &r);
    XML_SetElementHandler(r.xml, on_start, on_end);
    XML_SetCharacterDataHandler(r.xml, on_text);
    XML_SetStartDoctypeDeclHandler(r.xml, on_doctype);
    archive_read_support_format_zip(a);
    why = archive_read_open_filename(a, path, 65536) == ARCHIVE_OK ? read_archive(a, &r)
                                                                   : "it is no zip archive";
  }
  archive_read_free(a);
  XML_ParserFree(r.xml);
  return why;
}
