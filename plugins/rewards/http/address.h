/* plugins/rewards/http/address.h - what a request may be made of, and when it may be made again.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_HTTP_ADDRESS_H
#define REIN_HTTP_ADDRESS_H

#include <curl/curl.h>

/* Is it an address of http or https? *server (release with curl_free) is the same without name and password. */
CURLUcode address_check(const char *url, char **server);
/* "Name: value", printable, on one line? */
int address_header(const char *line);
/* May the same request succeed later? `http` is the status, where there was an answer. */
int address_may_pass(CURLcode code, long http);

#endif
