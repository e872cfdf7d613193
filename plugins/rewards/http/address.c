/* SPDX-License-Identifier: MIT */
#include "rewards/http/address.h"

#include <string.h>

CURLUcode address_check(const char *url, char **server) {
    CURLU *u = curl_url();
    char *scheme = NULL;
    CURLUcode code = u ? curl_url_set(u, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;

    if (code == CURLUE_OK)
        code = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        code = CURLUE_UNSUPPORTED_SCHEME;
    if (code == CURLUE_OK)
        code = curl_url_set(u, CURLUPART_USER, NULL, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(u, CURLUPART_URL, server, 0);
    curl_free(scheme);
    curl_url_cleanup(u);
    return code;
}

int address_header(const char *line) {
    const size_t name = strcspn(line, ":");

    if (name == 0 || line[name] != ':' || strcspn(line, " \t") < name)
        return 0;
    for (const char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            return 0;
    return 1;
}

int address_may_pass(CURLcode code, long http) {
    switch (code) {
    case CURLE_OK:
        return http == 408 || http == 429 || http >= 500;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return 1;
    default:
        return 0;
    }
}
