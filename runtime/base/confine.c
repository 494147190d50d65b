/* Limits of the kernel: setrlimit, and a seccomp filter (linux/Documentation/userspace-api/
 * seccomp_filter.rst) that answers EACCES to the system calls below. */
#include "confine.h"

#include <errno.h>
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

static const unsigned network[] = {__NR_socket, __NR_io_uring_setup};
static const unsigned files[] = {
    __NR_openat, __NR_openat2,   __NR_unlinkat, __NR_mkdirat,  __NR_renameat2,
    __NR_linkat, __NR_symlinkat, __NR_mknodat,  __NR_truncate, __NR_execve,
#ifdef __NR_open /* the older names, where there are any */
    __NR_open,   __NR_creat,     __NR_unlink,   __NR_mkdir,    __NR_rmdir,
    __NR_rename, __NR_renameat,  __NR_link,     __NR_symlink,  __NR_mknod,
#endif
};
enum { FILTER_MAX = 4 + 2 * 32 };

static bool limit(int what, rlim_t value) {
  struct rlimit r = {value, value};
  return setrlimit((__rlimit_resource_t)what, &r) == 0;
}

static unsigned short refuse(struct sock_filter *f, unsigned short n, const unsigned *calls,
                             size_t count) {
  for (size_t i = 0; i < count; i++) {
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES);
  }
  return n;
}

static bool filter(bool no_files) {
  struct sock_filter f[FILTER_MAX];
  unsigned short n = 0;
  f[n++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
  f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  f[n++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  n = refuse(f, n, network, sizeof network / sizeof *network);
  if (no_files)
    n = refuse(f, n, files, sizeof files / sizeof *files);
  f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = n, .filter = f};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

int cxb_confine(const cxb_confinement *rules) {
  bool ok = limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0);
#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is terabytes */
  if (rules->memory_mb > 0)
    ok = ok && limit(RLIMIT_AS, (rlim_t)rules->memory_mb << 20);
#endif
  if (rules->cpu_s > 0)
    ok = ok && limit(RLIMIT_CPU, rules->cpu_s);
  return ok && filter(rules->no_files) ? 0 : CXB_EIO;
}
