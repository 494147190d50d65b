#!/bin/sh
# build/cxbctl: the operator's command, run by the program beside it.
here=$(dirname "$(readlink -f "$0")")
[ -t 1 ] && export CXB_TTY=1
export CXB_EXE="$here/cxbrt"
exec "$CXB_EXE" cxbctl.lua "$@"
