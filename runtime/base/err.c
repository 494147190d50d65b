/* Names and sentences of the error codes. */
#include <errno.h>

#include "err.h"

const char *cxb_strerror(int err) {
  switch (err) {
  case 0:
    return "success";
#define X(name, value, text)                                                                       \
  case name:                                                                                       \
    return text;
    CXB_ERROR_MAP(X)
#undef X
  default:
    return "unknown error";
  }
}

const char *cxb_err_code(int err) {
  switch (err) {
  case 0:
    return "ok";
  case CXB_EINVAL:
    return "invalid";
  case CXB_ENOMEM:
    return "memory";
  case CXB_EIO:
    return "io";
  case CXB_ETIMEDOUT:
    return "timeout";
  case CXB_ECANCELED:
    return "cancelled";
  case CXB_EBUSY:
    return "busy";
  case CXB_ENOENT:
    return "not_found";
  case CXB_EEXIST:
    return "duplicate";
  case CXB_ECLOSED:
    return "closed";
  case CXB_ETOOBIG:
    return "too_large";
  case CXB_EPROTO:
    return "protocol";
  case CXB_EAGAIN:
    return "again";
  case CXB_ENOSPC:
    return "no_space";
  case CXB_EREFUSED:
    return "refused";
  case CXB_EUNSUPPORTED:
    return "unsupported";
  case CXB_ECORRUPT:
    return "corrupt";
  case CXB_EDENIED:
    return "not_allowed";
  default:
    return "error";
  }
}

int cxb_err_from_errno(int e) {
  switch (e) {
  case 0:
    return 0;
  case ENOMEM:
    return CXB_ENOMEM;
  case ENOENT:
    return CXB_ENOENT;
  case EEXIST:
    return CXB_EEXIST;
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    return CXB_ENOSPC;
  case ECONNREFUSED:
    return CXB_EREFUSED;
  case ETIMEDOUT:
    return CXB_ETIMEDOUT;
  case EINVAL:
    return CXB_EINVAL;
  case EBUSY:
    return CXB_EBUSY;
  case EPIPE:
  case ECONNRESET:
    return CXB_ECLOSED;
  default:
    return CXB_EIO;
  }
}
