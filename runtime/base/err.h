/* Error codes of the runtime: 0 is success, failures are negative.
 * A function that fails leaves its out-parameters untouched. */
#pragma once

#define CXB_ERROR_MAP(X)                                                                           \
  X(CXB_EINVAL, -1, "invalid argument")                                                            \
  X(CXB_ENOMEM, -2, "out of memory")                                                               \
  X(CXB_EIO, -3, "input/output error")                                                             \
  X(CXB_ETIMEDOUT, -4, "timed out")                                                                \
  X(CXB_ECANCELED, -5, "canceled")                                                                 \
  X(CXB_EBUSY, -6, "busy")                                                                         \
  X(CXB_ENOENT, -7, "not found")                                                                   \
  X(CXB_EEXIST, -8, "already exists")                                                              \
  X(CXB_ECLOSED, -9, "closed")                                                                     \
  X(CXB_ETOOBIG, -10, "too big")                                                                   \
  X(CXB_EPROTO, -11, "protocol error")                                                             \
  X(CXB_EAGAIN, -12, "try again")                                                                  \
  X(CXB_ENOSPC, -13, "no space left")                                                              \
  X(CXB_EREFUSED, -14, "connection refused")                                                       \
  X(CXB_EUNSUPPORTED, -15, "not supported")                                                        \
  X(CXB_ECORRUPT, -16, "damaged data")                                                             \
  X(CXB_EDENIED, -17, "not allowed")

enum {
#define X(name, value, text) name = value,
  CXB_ERROR_MAP(X)
#undef X
};

/* A constant sentence for `err`; never NULL. */
const char *cxb_strerror(int err);

/* The short lower-case code scripts see: "timed_out" for CXB_ETIMEDOUT; never NULL. */
const char *cxb_err_code(int err);

/* The CXB_E* nearest to an errno value (positive). */
int cxb_err_from_errno(int e);
