/* Judges URLs and addresses; see guard.h. Networks: the IANA registries of special-purpose
 * addresses (RFC 6890 and its updates). */
#include "guard.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../base/err.h"

enum { MAX_URL = 2048 };

static const char *const special[] = {
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    /* Of IPv6 only 2000::/3 is public; of it not Teredo, documentation, 6to4. */
    "::/3",
    "4000::/2",
    "8000::/1",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
};

/* The bytes of an address in network order. */
static const uint8_t *bytes_of(const struct sockaddr *address, size_t *len) {
  if (address->sa_family == AF_INET) {
    *len = 4;
    return (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
  }
  *len = 16;
  return (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
}

/* "10.0.0.0/8", "fd00::/8", or one address without a length. */
static bool in_network(const struct sockaddr *address, const char *network) {
  char text[64];
  uint8_t net[16];
  size_t len, text_len = strcspn(network, "/");
  const uint8_t *own = bytes_of(address, &len);
  if (text_len >= sizeof text)
    return false;
  memcpy(text, network, text_len);
  text[text_len] = '\0';
  if (inet_pton(address->sa_family, text, net) != 1)
    return false;
  char *end = NULL;
  unsigned long bits = len * 8;
  if (network[text_len] == '/') {
    bits = strtoul(network + text_len + 1, &end, 10);
    if (end == network + text_len + 1 || *end || bits > len * 8)
      return false;
  }
  size_t whole = bits / 8;
  uint8_t mask = (uint8_t)(0xff00 >> bits % 8);
  return memcmp(own, net, whole) == 0 && (bits % 8 == 0 || ((own[whole] ^ net[whole]) & mask) == 0);
}

/* One after another; false at the end. An entry that is too long to be one is left out. */
static bool next_exception(const char **list, char entry[CXB_GUARD_HOST]) {
  while (*list && **list) {
    *list += strspn(*list, ", \t");
    size_t len = strcspn(*list, ", \t");
    const char *from = *list;
    *list += len;
    if (len > 0 && len < CXB_GUARD_HOST) {
      memcpy(entry, from, len);
      entry[len] = '\0';
      return true;
    }
  }
  return false;
}

static bool is_ours(const struct sockaddr *address) {
  struct ifaddrs *list = NULL;
  size_t len, other_len;
  const uint8_t *bytes = bytes_of(address, &len);
  bool found = false;
  if (getifaddrs(&list) != 0)
    return false;
  for (struct ifaddrs *i = list; i && !found; i = i->ifa_next)
    if (i->ifa_addr && i->ifa_addr->sa_family == address->sa_family)
      found = memcmp(bytes_of(i->ifa_addr, &other_len), bytes, len) == 0;
  freeifaddrs(list);
  return found;
}

bool cxb_guard_address(const struct sockaddr *address, const char *exceptions) {
  char entry[CXB_GUARD_HOST];
  if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
    return false;
  while (next_exception(&exceptions, entry))
    if (in_network(address, entry))
      return true;
  for (size_t i = 0; i < sizeof special / sizeof *special; i++)
    if (in_network(address, special[i]))
      return false;
  return !is_ours(address);
}

bool cxb_guard_host(const char *host, const char *exceptions) {
  char entry[CXB_GUARD_HOST];
  while (next_exception(&exceptions, entry))
    if (strcasecmp(entry, host) == 0)
      return true;
  return false;
}

/* Read by the parser that will dial it: two readings of one URL would be a way around the guard. */
static const char *judge(CURLU *u, const char *url, char host[CXB_GUARD_HOST]) {
  char *part = NULL;
  const char *why = NULL;
  if (strlen(url) > MAX_URL)
    return "the URL is longer than 2,048 bytes";
  if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
      curl_url_get(u, CURLUPART_SCHEME, &part, 0) != CURLUE_OK)
    return "not a URL";
  if (strcmp(part, "http") != 0 && strcmp(part, "https") != 0)
    why = "the scheme is not http or https";
  curl_free(part);
  if (why)
    return why;
  for (CURLUPart secret = CURLUPART_USER; secret <= CURLUPART_OPTIONS; secret++)
    if (curl_url_get(u, secret, &part, 0) == CURLUE_OK) {
      curl_free(part);
      return "a user name or password stands in the URL";
    }
  if (curl_url_get(u, CURLUPART_PORT, &part, CURLU_DEFAULT_PORT) != CURLUE_OK)
    return "not a URL";
  long port = strtol(part, NULL, 10);
  curl_free(part);
  if (port != 80 && port != 443 && port < 1024)
    return "the port is not 80, 443 or from 1024 up";
  if (curl_url_get(u, CURLUPART_HOST, &part, 0) != CURLUE_OK || strlen(part) >= CXB_GUARD_HOST)
    return "not a URL";
  strcpy(host, part);
  curl_free(part);
  return NULL;
}

int cxb_guard_url(const char *url, char host[CXB_GUARD_HOST], const char **why) {
  CURLU *u = curl_url();
  const char *refusal = u ? judge(u, url, host) : "out of memory";
  curl_url_cleanup(u);
  if (!refusal)
    return 0;
  *why = refusal;
  return CXB_EDENIED;
}
