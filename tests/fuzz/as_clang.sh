#!/bin/sh
# tests/fuzz/as_clang.sh CLANG COMPILER ARGUMENTS …: runs CLANG instead of COMPILER.
clang=$1
shift 2
exec "$clang" "$@"
