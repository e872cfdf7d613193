# Plugins that know nothing but the public headers: of the build folder by `make check`, of what `make install` put down
# by `make installcheck`.
TESTS += tests/out_of_tree/new.sh tests/out_of_tree/cvar.sh tests/out_of_tree/guide.sh
EXTRA_DIST += tests/out_of_tree/check.sh tests/out_of_tree/new.sh tests/out_of_tree/cvar.sh \
	tests/out_of_tree/guide.sh \
	tests/out_of_tree/myalgo.c tests/out_of_tree/cvar.c tests/out_of_tree/committee.c
INSTALLED = '$(DESTDIR)$(bindir)' '$(DESTDIR)$(plugindir)' '$(DESTDIR)$(pkgdatadir)'
installcheck-local:
	CC='$(CC)'; CFLAGS='$(SAN_FLAGS)'; PKG_CONFIG='$(PKG_CONFIG)'; PKG_CONFIG_SYSROOT_DIR='$(DESTDIR)'; \
	PKG_CONFIG_PATH='$(DESTDIR)$(pkgconfigdir)'; top='$(abs_top_srcdir)'; \
	export CC CFLAGS PKG_CONFIG PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH; \
	$(SHELL) "$$top/tests/out_of_tree/check.sh" "$$top" $(INSTALLED) && \
	$(SHELL) "$$top/tests/out_of_tree/cvar.sh" "$$top" $(INSTALLED) && \
	$(SHELL) "$$top/tests/out_of_tree/new.sh" $(INSTALLED) && \
	$(SHELL) "$$top/tests/out_of_tree/guide.sh" "$$top" $(INSTALLED)
