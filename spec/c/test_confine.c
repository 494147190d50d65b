/* What a confined process can still do: each case in a child, which tells by its exit code. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/confine.h"

/* The answer of `attempt` in a confined child: 0 when it could, else errno. */
static int confined(cxb_confinement rules, int (*attempt)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    if (cxb_confine(&rules) != 0)
      _exit(255);
    errno = 0;
    _exit(attempt() < 0 ? errno : 0);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static int try_internet(void) {
  return socket(AF_INET, SOCK_STREAM, 0);
}

static int try_local_socket(void) {
  return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int try_reading(void) {
  return open("/proc/self/status", O_RDONLY);
}

static int try_writing(void) {
  return open("/tmp/cxb-spec-confine", O_WRONLY | O_CREAT, 0600);
}

static int try_changing(void) {
  return open("/proc/self/comm", O_RDWR);
}

static int try_folder(void) {
  return mkdir("/tmp/cxb-spec-confine", 0700);
}

static int try_executing(void) {
  return execl("/bin/true", "true", (char *)NULL);
}

#ifndef __SANITIZE_ADDRESS__ /* the sanitizer's own memory is not limited */
static int try_memory(void) {
  void *much = malloc((size_t)600 << 20);
  if (!much)
    return -1;
  free(much);
  return 0;
}

#endif

static void has_no_network(void **state) {
  (void)state;
  assert_int_equal(confined((cxb_confinement){0}, try_internet), EACCES);
  assert_int_equal(confined((cxb_confinement){0}, try_local_socket), EACCES);
}

static void reads_files_and_writes_none(void **state) {
  (void)state;
  assert_int_equal(confined((cxb_confinement){0}, try_reading), 0);
  assert_int_equal(confined((cxb_confinement){0}, try_writing), EACCES);
  assert_int_equal(confined((cxb_confinement){0}, try_changing), EACCES);
  assert_int_equal(confined((cxb_confinement){0}, try_folder), EACCES);
  assert_int_equal(confined((cxb_confinement){0}, try_executing), 0);
}

static void without_files_opens_and_executes_nothing(void **state) {
  (void)state;
  cxb_confinement rules = {.no_files = true};
  assert_int_equal(confined(rules, try_reading), EACCES);
  assert_int_equal(confined(rules, try_executing), EACCES);
}

#ifndef __SANITIZE_ADDRESS__
static void keeps_to_its_memory(void **state) {
  (void)state;
  assert_int_equal(confined((cxb_confinement){.memory_mb = 1024}, try_memory), 0);
  assert_int_equal(confined((cxb_confinement){.memory_mb = 512}, try_memory), ENOMEM);
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(has_no_network),
      cmocka_unit_test(reads_files_and_writes_none),
      cmocka_unit_test(without_files_opens_and_executes_nothing),
#ifndef __SANITIZE_ADDRESS__
      cmocka_unit_test(keeps_to_its_memory),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
