# REIN_CHECK_CURL: --with-curl[=auto|yes|no]
# Sets have_curl and, when it is not used, curl_why; substitutes CURL_CFLAGS, CURL_LIBS.
# auto: the http reward is built when libcurl is there, else say why not. yes: a miss is an error.
AC_DEFUN([REIN_CHECK_CURL], [
  AC_ARG_WITH([curl],
    [AS_HELP_STRING([--with-curl@<:@=auto|yes|no@:>@], [build the http reward @<:@auto@:>@])],
    [], [with_curl=auto])
  have_curl=no curl_why="no http reward: disabled"
  AS_IF([test "x$with_curl" != xno],
    [PKG_CHECK_MODULES([CURL], [libcurl >= 7.85], [have_curl=yes curl_why=],
      [curl_why="no http reward: libcurl 7.85 or newer was not found"])])
  AS_IF([test $have_curl = no && test "x$with_curl" = xyes],
    [AC_MSG_ERROR([--with-curl was given but libcurl 7.85 or newer was not found])])
  AM_CONDITIONAL([HAVE_CURL], [test $have_curl = yes])
])
