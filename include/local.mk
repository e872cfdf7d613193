reinincludedir = $(includedir)/rein
reininclude_HEADERS = include/rein/abi.h include/rein/param.h include/rein/plugin.h include/rein/host.h \
	include/rein/algorithm.h include/rein/reward.h include/rein/backend.h include/rein/half.h include/rein/perturb.h include/rein/util.h include/rein/rein.h
