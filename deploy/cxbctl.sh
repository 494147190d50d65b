#!/bin/sh
# build/cxbctl: the operator's command on the program beside it.
here=$(dirname "$(readlink -f "$0")")
exec "$here/cxbrt" cxbctl.lua "$@"
