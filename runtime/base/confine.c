/* Limits of the kernel: setrlimit, and a seccomp filter (linux/Documentation/userspace-api/
 * seccomp_filter.rst) that answers EACCES to the system calls below. */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "err.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "confine: no such architecture"
#endif

static const unsigned changing[] = {
    __NR_socket,  __NR_io_uring_setup, __NR_openat2, __NR_unlinkat, __NR_mkdirat,  __NR_renameat2,
    __NR_linkat,  __NR_symlinkat,      __NR_mknodat, __NR_truncate, __NR_renameat,
#ifdef __NR_open /* the older names, where there are any */
    __NR_creat,   __NR_unlink,         __NR_mkdir,   __NR_rmdir,    __NR_rename,   __NR_link,
    __NR_symlink, __NR_mknod,
#endif
};
static const unsigned opening[] = {
    __NR_openat,
    __NR_execve,
    __NR_execveat,
#ifdef __NR_open
    __NR_open,
#endif
};
/* Calls that open, and which of their arguments says what for. */
static const unsigned flags_of[][2] = {
    {__NR_openat, 2},
#ifdef __NR_open
    {__NR_open, 1},
#endif
};
enum { FILTER_MAX = 128, WRITING = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC };

static bool limit(int what, rlim_t value) {
  struct rlimit r = {value, value};
  return setrlimit((__rlimit_resource_t)what, &r) == 0;
}

#define LOAD(member)  (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, member)
#define ANSWER(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)
#define WHEN(test, value, yes, no)                                                                 \
  (struct sock_filter) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, yes, no)

static const unsigned refused = SECCOMP_RET_ERRNO | EACCES;

static unsigned short refuse(struct sock_filter *f, unsigned short n, const unsigned *calls,
                             size_t count) {
  for (size_t i = 0; i < count; i++) {
    f[n++] = WHEN(BPF_JEQ, calls[i], 0, 1);
    f[n++] = ANSWER(refused);
  }
  return n;
}

static bool filter(bool no_files) {
  struct sock_filter f[FILTER_MAX];
  unsigned short n = 0;
  f[n++] = LOAD(offsetof(struct seccomp_data, arch));
  f[n++] = WHEN(BPF_JEQ, ARCH, 1, 0);
  f[n++] = ANSWER(SECCOMP_RET_KILL_PROCESS);
  f[n++] = LOAD(offsetof(struct seccomp_data, nr));
  n = refuse(f, n, changing, sizeof changing / sizeof *changing);
  if (no_files)
    n = refuse(f, n, opening, sizeof opening / sizeof *opening);
  for (size_t i = 0; i < sizeof flags_of / sizeof *flags_of; i++) {
    f[n++] = WHEN(BPF_JEQ, flags_of[i][0], 0, 4);
    f[n++] = LOAD(offsetof(struct seccomp_data, args) + 8 * flags_of[i][1]); /* little-endian */
    f[n++] = WHEN(BPF_JSET, WRITING, 0, 1);
    f[n++] = ANSWER(refused);
    f[n++] = ANSWER(SECCOMP_RET_ALLOW);
  }
  f[n++] = ANSWER(SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = n, .filter = f};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

int cxb_confine(const cxb_confinement *rules) {
  bool ok = limit(RLIMIT_FSIZE, (rlim_t)rules->output_mb << 20) && limit(RLIMIT_CORE, 0);
#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is terabytes */
  if (rules->memory_mb > 0)
    ok = ok && limit(RLIMIT_AS, (rlim_t)rules->memory_mb << 20);
#endif
  if (rules->cpu_s > 0)
    ok = ok && limit(RLIMIT_CPU, rules->cpu_s);
  return ok && filter(rules->no_files) ? 0 : CXB_EIO;
}
