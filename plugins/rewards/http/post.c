/* SPDX-License-Identifier: MIT */
#include "rewards/http/post.h"
#include "rewards/http/address.h"

#include <rein/util.h>

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST_WAIT 60.0 /* seconds between two tries */

struct post {
    const struct rein_host *host;
    struct post_options options;
    CURL *curl;
    struct curl_slist *headers;
    char *server; /* libcurl's memory */
    char *answer;
    size_t length, room;
    rein_status trouble; /* of the write callback */
    char why[CURL_ERROR_SIZE];
};

static int stopping(const struct rein_host *host) {
    return REIN_HAS(host, struct rein_host, stopping) && host->stopping && host->stopping(host->ctx);
}

/* ---- what libcurl calls ------------------------------------------------------------------- */

static size_t take(char *data, size_t size, size_t count, void *ctx) {
    struct post *p = ctx;
    const size_t more = size * count;

    if (more > POST_MOST - p->length) {
        p->trouble = REIN_ERR_IO;
        return 0;
    }
    if (p->length + more + 1 > p->room) {
        const size_t room = 2 * (p->length + more + 1);
        char *larger = p->host->alloc(p->host->ctx, room);

        if (!larger) {
            p->trouble = REIN_ERR_NOMEM;
            return 0;
        }
        if (p->length)
            memcpy(larger, p->answer, p->length);
        p->host->free(p->host->ctx, p->answer);
        p->answer = larger;
        p->room = room;
    }
    memcpy(p->answer + p->length, data, more);
    p->length += more;
    p->answer[p->length] = 0;
    return more;
}

/* At least once a second, and whenever a signal ends a wait. */
static int look(void *ctx, curl_off_t down, curl_off_t downed, curl_off_t up, curl_off_t upped) {
    const struct post *p = ctx;

    (void)down, (void)downed, (void)up, (void)upped;
    return stopping(p->host);
}

/* ---- opening -------------------------------------------------------------------------------- */

/* Only http and https; keeps the address without its password. */
static rein_status check_url(struct post *p) {
    const struct rein_host *host = p->host;
    const CURLUcode code = address_check(p->options.url, &p->server);
    char text[200];

    if (code == CURLUE_OK)
        return REIN_OK;
    if (code == CURLUE_OUT_OF_MEMORY)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    snprintf(text, sizeof(text), "is no address of http:// or https:// (%s)", curl_url_strerror(code));
    return host->fail_param(host->ctx, "url", text);
}

static rein_status add_header(struct post *p, const char *line) {
    struct curl_slist *longer = curl_slist_append(p->headers, line);

    if (!longer)
        return p->host->fail(p->host->ctx, REIN_ERR_NOMEM, "out of memory");
    p->headers = longer;
    return REIN_OK;
}

static rein_status add_token(struct post *p) {
    const struct rein_host *host = p->host;
    const char *token = getenv(p->options.token_env);
    char line[4096];

    if (!token || !*token)
        return host->fail_param(host->ctx, "token_env", "there is no such variable in the environment");
    if (snprintf(line, sizeof(line), "Authorization: Bearer %s", token) >= (int)sizeof(line) || !address_header(line))
        return host->fail_param(host->ctx, "token_env", "its value is too long or not printable");
    return add_header(p, line);
}

static rein_status add_headers(struct post *p) {
    const struct rein_list *list = &p->options.headers;
    rein_status status = add_header(p, "Content-Type: application/json");

    if (status == REIN_OK)
        status = add_header(p, "Accept: application/json");
    if (status == REIN_OK)
        status = add_header(p, "Expect:"); /* no asking before the body is sent */
    for (uint64_t i = 0; i < list->count && status == REIN_OK; i++) {
        const char *line = ((const char *const *)list->items)[i];

        status = address_header(line)
                     ? add_header(p, line)
                     : p->host->fail_param(p->host->ctx, "headers", "a header is written 'Name: value'");
    }
    return status == REIN_OK && p->options.token_env ? add_token(p) : status;
}

static rein_status set_options(struct post *p) {
    const long all = (long)(p->options.timeout * 1000);
    CURL *c = p->curl;

    if (curl_easy_setopt(c, CURLOPT_URL, p->options.url) || curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") ||
        curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) || curl_easy_setopt(c, CURLOPT_PROXY, "") ||
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, p->headers) || curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, all) ||
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, all < 30000 ? all : 30000L) ||
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) || curl_easy_setopt(c, CURLOPT_ERRORBUFFER, p->why) ||
        curl_easy_setopt(c, CURLOPT_USERAGENT, "rein") || curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take) ||
        curl_easy_setopt(c, CURLOPT_WRITEDATA, p) || curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L) ||
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look) || curl_easy_setopt(c, CURLOPT_XFERINFODATA, p))
        return p->host->fail(p->host->ctx, REIN_ERR_INTERNAL, "libcurl refuses an option");
    return REIN_OK;
}

rein_status post_open(const struct rein_host *host, const struct post_options *o, struct post **out) {
    struct post *p;
    rein_status status;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return host->fail(host->ctx, REIN_ERR_INTERNAL, "libcurl cannot be used");
    p = host->alloc(host->ctx, sizeof(*p));
    if (!p) {
        curl_global_cleanup();
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    }
    *p = (struct post){.host = host, .options = *o, .curl = curl_easy_init()};
    status = p->curl ? check_url(p) : host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    if (status == REIN_OK)
        status = add_headers(p);
    if (status == REIN_OK)
        status = set_options(p);
    if (status == REIN_OK)
        *out = p;
    else
        post_close(p);
    return status;
}

void post_close(struct post *p) {
    curl_easy_cleanup(p->curl);
    curl_slist_free_all(p->headers);
    curl_free(p->server);
    p->host->free(p->host->ctx, p->answer);
    p->host->free(p->host->ctx, p);
    curl_global_cleanup();
}

const char *post_server(const struct post *p) {
    return p->server;
}

/* ---- sending ---------------------------------------------------------------------------------- */

/* In slices, so that a stop is noticed. 0 when there is one. */
static int wait_for(const struct rein_host *host, double seconds) {
    const struct timespec slice = {0, 50000000};

    for (; seconds > 0; seconds -= 0.05) {
        const struct timespec rest = {0, (long)(seconds * 1e9)};

        if (stopping(host))
            return 0;
        nanosleep(seconds < 0.05 ? &rest : &slice, NULL);
    }
    return !stopping(host);
}

static rein_status fail(struct post *p, CURLcode code, long http, int64_t tries) {
    const struct rein_host *host = p->host;
    char times[40] = "";

    if (tries > 1)
        snprintf(times, sizeof(times), " (tried %lld times)", (long long)tries);
    if (p->trouble == REIN_ERR_NOMEM)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    if (p->trouble != REIN_OK)
        return rein_failf(host, REIN_ERR_IO, "%s: the answer is larger than %d MiB", p->server, POST_MOST >> 20);
    if (code != CURLE_OK)
        return rein_failf(host, REIN_ERR_IO, "%s: %s%s", p->server, *p->why ? p->why : curl_easy_strerror(code), times);
    if (http >= 300 && http < 400)
        return rein_failf(host, REIN_ERR_IO, "%s: HTTP status %ld: redirects are not followed, give the address itself",
                          p->server, http);
    for (char *c = p->answer; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = ' ';
    return rein_failf(host, REIN_ERR_IO, "%s: HTTP status %ld%s%s%.160s", p->server, http, times, p->length ? ": " : "",
                      p->length ? p->answer : "");
}

rein_status post_send(struct post *p, const char *body, size_t length, const char **answer, size_t *answer_length) {
    const struct rein_host *host = p->host;
    double wait = p->options.backoff;

    curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(p->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    for (int64_t tries = 1;; tries++, wait *= 2) {
        curl_off_t asked_for = 0;
        CURLcode code;
        long http = 0;

        p->length = 0;
        p->why[0] = 0;
        p->trouble = REIN_OK;
        code = curl_easy_perform(p->curl);
        curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &http);
        curl_easy_getinfo(p->curl, CURLINFO_RETRY_AFTER, &asked_for);
        if (code == CURLE_OK && http >= 200 && http < 300) {
            *answer = p->length ? p->answer : "";
            *answer_length = p->length;
            return REIN_OK;
        }
        if (code == CURLE_ABORTED_BY_CALLBACK || stopping(host))
            return host->fail(host->ctx, REIN_ERR_IO, "stopped while waiting for the server");
        if (tries > p->options.retries || !address_may_pass(code, http))
            return fail(p, code, http, tries);
        if (tries == 1 && code == CURLE_OK)
            rein_logf(host, REIN_LOG_WARN, "%s: HTTP status %ld: trying again", p->server, http);
        else if (tries == 1)
            rein_logf(host, REIN_LOG_WARN, "%s: %s: trying again", p->server,
                      *p->why ? p->why : curl_easy_strerror(code));
        if (!wait_for(host, fmin(fmax(wait, (double)asked_for), LONGEST_WAIT)))
            return host->fail(host->ctx, REIN_ERR_IO, "stopped while waiting for the server");
    }
}
