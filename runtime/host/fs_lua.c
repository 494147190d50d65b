/* cxb.fs */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../base/err.h"
#include "fs.h"
#include "host.h"
#include "job.h"
#include "task.h"

enum { MAX_READ = 256 << 20 };

typedef struct fs_job {
  cxb_job job;
  char *path, *other;
  cxb_buf data; /* to write, or read; names of a directory, NUL after each */
  mode_t mode;
  bool exclusive;
  struct stat st;
  int err;
} fs_job;

static void fs_free(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  free(j->path);
  free(j->other);
  cxb_buf_free(&j->data);
  free(j);
}

static fs_job *fs_new(lua_State *L, void (*work)(cxb_job *), int (*push)(cxb_job *, lua_State *)) {
  const char *path = luaL_checkstring(L, 1);
  fs_job *j = calloc(1, sizeof *j);
  if (!j || !(j->path = strdup(path))) {
    free(j);
    luaL_error(L, "out of memory");
    return NULL;
  }
  j->job = (cxb_job){work, push, fs_free};
  return j;
}

static int push_fs_error(fs_job *j, lua_State *L) {
  return cxb_push_error(L, j->err, "%s: %s", j->path, cxb_strerror(j->err));
}

static int push_true(cxb_job *job, lua_State *L) {
  fs_job *j = (fs_job *)job;
  if (j->err)
    return push_fs_error(j, L);
  lua_pushboolean(L, 1);
  return 1;
}

static int push_data(cxb_job *job, lua_State *L) {
  fs_job *j = (fs_job *)job;
  if (j->err)
    return push_fs_error(j, L);
  lua_pushlstring(L, j->data.data ? j->data.data : "", j->data.len);
  return 1;
}

static void work_read(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  j->err = cxb_fs_read(j->path, MAX_READ, &j->data);
}

static int l_read(lua_State *L) {
  return cxb_job_run(L, &fs_new(L, work_read, push_data)->job);
}

static void work_write(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  j->err =
      (j->exclusive ? cxb_fs_create : cxb_fs_write)(j->path, j->data.data, j->data.len, j->mode);
}

static int l_write(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  mode_t mode = 0600;
  bool exclusive = false;
  if (lua_istable(L, 3)) {
    lua_getfield(L, 3, "mode");
    mode = (mode_t)luaL_optinteger(L, -1, 0600);
    lua_getfield(L, 3, "exclusive");
    exclusive = lua_toboolean(L, -1);
  }
  fs_job *j = fs_new(L, work_write, push_true);
  j->mode = mode;
  j->exclusive = exclusive;
  if (cxb_buf_add(&j->data, data, len) != 0) {
    fs_free(&j->job);
    return luaL_error(L, "out of memory");
  }
  return cxb_job_run(L, &j->job);
}

static void work_list(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  DIR *dir = opendir(j->path);
  if (!dir) {
    j->err = cxb_err_from_errno(errno);
    return;
  }
  for (struct dirent *e; (e = readdir(dir));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      cxb_buf_add(&j->data, e->d_name, strlen(e->d_name) + 1);
  closedir(dir);
}

static int push_list(cxb_job *job, lua_State *L) {
  fs_job *j = (fs_job *)job;
  if (j->err)
    return push_fs_error(j, L);
  lua_newtable(L);
  int n = 0;
  for (size_t at = 0; at < j->data.len; at += strlen(j->data.data + at) + 1) {
    lua_pushstring(L, j->data.data + at);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static int l_list(lua_State *L) {
  return cxb_job_run(L, &fs_new(L, work_list, push_list)->job);
}

static void work_stat(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  if (stat(j->path, &j->st) != 0)
    j->err = cxb_err_from_errno(errno);
}

static int push_stat(cxb_job *job, lua_State *L) {
  fs_job *j = (fs_job *)job;
  if (j->err)
    return push_fs_error(j, L);
  lua_createtable(L, 0, 4);
  lua_pushnumber(L, (lua_Number)j->st.st_size);
  lua_setfield(L, -2, "size");
  lua_pushnumber(L, (lua_Number)j->st.st_mtim.tv_sec * 1000 +
                        (lua_Number)(j->st.st_mtim.tv_nsec / 1000000));
  lua_setfield(L, -2, "mtime");
  lua_pushstring(L, S_ISREG(j->st.st_mode)   ? "file"
                    : S_ISDIR(j->st.st_mode) ? "directory"
                                             : "other");
  lua_setfield(L, -2, "type");
  lua_pushinteger(L, j->st.st_mode & 07777);
  lua_setfield(L, -2, "mode");
  return 1;
}

static int l_stat(lua_State *L) {
  return cxb_job_run(L, &fs_new(L, work_stat, push_stat)->job);
}

static void work_mkdir(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  j->err = cxb_fs_mkdirs(j->path, j->mode);
}

static int l_mkdir(lua_State *L) {
  mode_t mode = (mode_t)luaL_optinteger(L, 2, 0750);
  fs_job *j = fs_new(L, work_mkdir, push_true);
  j->mode = mode;
  return cxb_job_run(L, &j->job);
}

static void work_remove(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  if (remove(j->path) != 0)
    j->err = cxb_err_from_errno(errno);
}

static int l_remove(lua_State *L) {
  return cxb_job_run(L, &fs_new(L, work_remove, push_true)->job);
}

static void work_rename(cxb_job *job) {
  fs_job *j = (fs_job *)job;
  if (rename(j->path, j->other) != 0)
    j->err = cxb_err_from_errno(errno);
}

static int l_rename(lua_State *L) {
  const char *to = luaL_checkstring(L, 2);
  fs_job *j = fs_new(L, work_rename, push_true);
  j->other = strdup(to);
  return cxb_job_run(L, &j->job);
}

static int l_free_mb(lua_State *L) {
  struct statvfs vfs;
  if (statvfs(luaL_checkstring(L, 1), &vfs) != 0)
    return cxb_push_error(L, cxb_err_from_errno(errno), "%s: %s", lua_tostring(L, 1),
                          strerror(errno));
  lua_pushnumber(L, (lua_Number)vfs.f_bavail * (lua_Number)vfs.f_frsize / 1048576);
  return 1;
}

/* The descriptor stays open on purpose: the lock is the process's for life, in every generation. */
static int l_lock(lua_State *L) {
  enum { MOST = 64 };
  static struct { char *path; } held[MOST];
  static int count;
  const char *path = luaL_checkstring(L, 1);
  for (int i = 0; i < count; i++)
    if (strcmp(held[i].path, path) == 0) {
      lua_pushboolean(L, 1);
      return 1;
    }
  errno = EMFILE;
  int fd = count < MOST ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640) : -1;
  if (fd < 0)
    return cxb_push_error(L, cxb_err_from_errno(errno), "%s: %s", path, strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return cxb_push_error(L, CXB_EBUSY, "%s is held by another process", path);
  }
  held[count++].path = strdup(path);
  lua_pushboolean(L, 1);
  return 1;
}

static void open_fs(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {{"read", l_read},     {"write", l_write},     {"list", l_list},
                                 {"stat", l_stat},     {"mkdir", l_mkdir},     {"remove", l_remove},
                                 {"rename", l_rename}, {"free_mb", l_free_mb}, {"lock", l_lock},
                                 {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  lua_setfield(L, -2, "fs");
}

const cxb_module cxb_fs_module = {.name = "fs", .open = open_fs};
