# Algorithms, reward sources and what they share.
PLUGIN_CPP = -I$(top_srcdir)/include -I$(top_srcdir)/plugins
PLUGIN_LINK = plugins/common/libcommon.la

noinst_LTLIBRARIES += plugins/common/libcommon.la
plugins_common_libcommon_la_SOURCES = \
	plugins/common/advantage.c plugins/common/advantage.h \
	plugins/common/beta.c plugins/common/beta.h \
	plugins/common/clip.c plugins/common/clip.h \
	plugins/common/family.c plugins/common/family.h \
	plugins/common/gae.c plugins/common/gae.h \
	plugins/common/kl.c plugins/common/kl.h \
	plugins/common/scored.c plugins/common/scored.h \
	plugins/common/module.h plugins/common/moments.c plugins/common/moments.h \
	plugins/common/numeric.h plugins/common/options.h \
	plugins/common/policy.c plugins/common/policy.h \
	plugins/common/reduce.c plugins/common/reduce.h \
	plugins/common/shape.c plugins/common/shape.h \
	plugins/common/span.h \
	plugins/common/totals.c plugins/common/totals.h \
	plugins/common/whiten.c plugins/common/whiten.h
plugins_common_libcommon_la_CPPFLAGS = $(PLUGIN_CPP)

algorithms_LTLIBRARIES += plugins/algorithms/sft/sft.la plugins/algorithms/rm/rm.la plugins/algorithms/ppo/ppo.la \
	plugins/algorithms/grpo/grpo.la
plugins_algorithms_sft_sft_la_SOURCES = plugins/algorithms/sft/sft.c
plugins_algorithms_sft_sft_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_algorithms_sft_sft_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_sft_sft_la_LDFLAGS = $(MODULE_LINK)
plugins_algorithms_rm_rm_la_SOURCES = plugins/algorithms/rm/rm.c
plugins_algorithms_rm_rm_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_algorithms_rm_rm_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_rm_rm_la_LDFLAGS = $(MODULE_LINK)
plugins_algorithms_ppo_ppo_la_SOURCES = plugins/algorithms/ppo/ppo.c
plugins_algorithms_ppo_ppo_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_algorithms_ppo_ppo_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_ppo_ppo_la_LDFLAGS = $(MODULE_LINK)
plugins_algorithms_grpo_grpo_la_SOURCES = plugins/algorithms/grpo/grpo.c
plugins_algorithms_grpo_grpo_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_algorithms_grpo_grpo_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_grpo_grpo_la_LDFLAGS = $(MODULE_LINK)

algorithms_LTLIBRARIES += plugins/algorithms/dpo/dpo.la
plugins_algorithms_dpo_dpo_la_SOURCES = plugins/algorithms/dpo/dpo.c plugins/algorithms/dpo/dpo.h \
	plugins/algorithms/dpo/kto.c plugins/algorithms/dpo/pairs.c
plugins_algorithms_dpo_dpo_la_CPPFLAGS = $(PLUGIN_CPP) -I$(top_srcdir)/plugins/algorithms
plugins_algorithms_dpo_dpo_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_dpo_dpo_la_LDFLAGS = $(MODULE_LINK)
algorithms_LTLIBRARIES += plugins/algorithms/rloo/rloo.la plugins/algorithms/reinforce/reinforce.la
plugins_algorithms_rloo_rloo_la_SOURCES = plugins/algorithms/rloo/rloo.c
plugins_algorithms_rloo_rloo_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_algorithms_rloo_rloo_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_rloo_rloo_la_LDFLAGS = $(MODULE_LINK)
plugins_algorithms_reinforce_reinforce_la_SOURCES = plugins/algorithms/reinforce/reinforce.c
plugins_algorithms_reinforce_reinforce_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_algorithms_reinforce_reinforce_la_LIBADD = $(PLUGIN_LINK)
plugins_algorithms_reinforce_reinforce_la_LDFLAGS = $(MODULE_LINK)

rewards_LTLIBRARIES += plugins/rewards/rm/rm.la plugins/rewards/rule/rule.la
plugins_rewards_rm_rm_la_SOURCES = plugins/rewards/rm/rm.c
plugins_rewards_rm_rm_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_rm_rm_la_LIBADD = $(PLUGIN_LINK)
plugins_rewards_rm_rm_la_LDFLAGS = $(MODULE_LINK)
plugins_rewards_rule_rule_la_SOURCES = plugins/rewards/rule/rule.c plugins/rewards/rule/answer.c \
	plugins/rewards/rule/answer.h plugins/rewards/rule/number.c plugins/rewards/rule/number.h \
	plugins/rewards/rule/pattern.c plugins/rewards/rule/pattern.h
plugins_rewards_rule_rule_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_rule_rule_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(PCRE2_CFLAGS)
plugins_rewards_rule_rule_la_LIBADD = $(JANSSON_LIBS) $(PCRE2_LIBS)
plugins_rewards_rule_rule_la_LDFLAGS = $(MODULE_LINK)

# reward models asked more than once
rewards_LTLIBRARIES += plugins/rewards/rm-ensemble/rm-ensemble.la plugins/rewards/rm-dropout/rm-dropout.la \
	plugins/rewards/rm-perturb/rm-perturb.la
plugins_rewards_rm_ensemble_rm_ensemble_la_SOURCES = plugins/rewards/rm-ensemble/rm-ensemble.c
plugins_rewards_rm_ensemble_rm_ensemble_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_rm_ensemble_rm_ensemble_la_LIBADD = $(PLUGIN_LINK)
plugins_rewards_rm_ensemble_rm_ensemble_la_LDFLAGS = $(MODULE_LINK)
plugins_rewards_rm_dropout_rm_dropout_la_SOURCES = plugins/rewards/rm-dropout/rm-dropout.c
plugins_rewards_rm_dropout_rm_dropout_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_rm_dropout_rm_dropout_la_LIBADD = $(PLUGIN_LINK)
plugins_rewards_rm_dropout_rm_dropout_la_LDFLAGS = $(MODULE_LINK)
plugins_rewards_rm_perturb_rm_perturb_la_SOURCES = plugins/rewards/rm-perturb/rm-perturb.c
plugins_rewards_rm_perturb_rm_perturb_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_rm_perturb_rm_perturb_la_LIBADD = $(PLUGIN_LINK)
plugins_rewards_rm_perturb_rm_perturb_la_LDFLAGS = $(MODULE_LINK)
# a language model as judge
rewards_LTLIBRARIES += plugins/rewards/judge/judge.la
plugins_rewards_judge_judge_la_SOURCES = plugins/rewards/judge/judge.c plugins/rewards/judge/rubric.c \
	plugins/rewards/judge/rubric.h
plugins_rewards_judge_judge_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_judge_judge_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
plugins_rewards_judge_judge_la_LIBADD = $(JANSSON_LIBS)
plugins_rewards_judge_judge_la_LDFLAGS = $(MODULE_LINK)

# a reward server: only where libcurl is (--with-curl)
if HAVE_CURL
rewards_LTLIBRARIES += plugins/rewards/http/http.la
plugins_rewards_http_http_la_SOURCES = plugins/rewards/http/http.c plugins/rewards/http/post.c \
	plugins/rewards/http/post.h plugins/rewards/http/address.c plugins/rewards/http/address.h
plugins_rewards_http_http_la_CPPFLAGS = $(PLUGIN_CPP)
plugins_rewards_http_http_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
plugins_rewards_http_http_la_LIBADD = $(JANSSON_LIBS) $(CURL_LIBS)
plugins_rewards_http_http_la_LDFLAGS = $(MODULE_LINK)
endif
