/* plugins/rewards/http/post.h - one JSON text to a server, one back, tried again when that may help.
 * SPDX-License-Identifier: MIT
 *
 * Only http and https, no redirects, no proxy from the environment, no cookies, no .netrc. An answer larger than
 * POST_MOST bytes is refused while it comes. A stop of the run is noticed within a second.
 */
#ifndef REIN_HTTP_POST_H
#define REIN_HTTP_POST_H

#include <rein/host.h>
#include <rein/param.h>

enum { POST_MOST = 16 << 20 };

struct post_options {
    const char *url, *token_env;
    struct rein_list headers;
    int64_t retries;
    double timeout, backoff;
};

struct post;

/* What is wrong with an option is a failure of that option. [main] */
rein_status post_open(const struct rein_host *host, const struct post_options *o, struct post **out);
void post_close(struct post *p);
/* *answer is NUL-terminated and the post's until the next call. What fails names the server and how often it was tried.
 */
rein_status post_send(struct post *p, const char *body, size_t length, const char **answer, size_t *answer_length);
/* The address without name and password, for messages. */
const char *post_server(const struct post *p);

#endif
