# REIN_CHECK_EMU: the compiler for the emulated GPU of the tests (tests/cuda-emu).
# Sets have_emu, emu_why; substitutes CXX, EMU_WATCH (flags that make loads and stores call hooks). Needs g++; nothing else is C++.
AC_DEFUN([REIN_CHECK_EMU], [
  AC_ARG_VAR([CXX], [C++ compiler, for the emulated GPU of the tests])
  AC_CHECK_PROGS([CXX], [g++ c++], [no])
  EMU_WATCH="-fsanitize=thread,alignment,bounds,shift,integer-divide-by-zero --param tsan-instrument-func-entry-exit=0"
  EMU_WATCH="$EMU_WATCH -fno-tree-loop-distribute-patterns -fno-tree-vectorize"
  have_emu=no emu_why="no C++ compiler"
  AS_IF([test "x$CXX" != xno], [
    AC_MSG_CHECKING([whether $CXX can watch loads and stores])
    echo 'int f(const int *p) { return *p; }' >conftest.cpp
    AS_IF([$CXX -std=c++17 -O2 $EMU_WATCH -S -o conftest.s conftest.cpp >&AS_MESSAGE_LOG_FD 2>&1 && grep __tsan_read4 conftest.s >/dev/null],
      [have_emu=yes; emu_why=], [emu_why="$CXX does not know $EMU_WATCH"])
    rm -f conftest.cpp conftest.s
    AC_MSG_RESULT([$have_emu])
  ])
  AC_SUBST([EMU_WATCH])
  AM_CONDITIONAL([HAVE_EMU], [test $have_emu = yes])
])
