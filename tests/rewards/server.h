/* tests/rewards/server.h - a web server on the loopback that does as it is told.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_SERVER_H
#define REIN_TESTS_SERVER_H

#include <stddef.h>

enum server_way {
    SERVER_ECHO,    /* rewards: the lengths of the queries */
    SERVER_ANSWER,  /* `status`, `header` and `body` as they are */
    SERVER_CLOSE,   /* reads the request and hangs up */
    SERVER_PARTIAL, /* hangs up within the answer */
    SERVER_SILENT,  /* says nothing until the client goes away */
    SERVER_HUGE,    /* a body of 20 MiB */
};

struct server_step {
    enum server_way way;
    int status;         /* 0: 200 */
    const char *header; /* "Retry-After: 0\r\n", or NULL */
    const char *body;
};

/* Listens on a port of its own, in a thread. The steps are taken one a request; the last stays. */
int server_start(void);                                            /* the port, or -1 */
void server_script(const struct server_step *steps, size_t count); /* copied; forgets earlier requests */
size_t server_requests(void);
/* Header and body of a request since the script began, oldest first; "" past the end. Valid until the next script. */
const char *server_head(size_t index);
const char *server_body(size_t index);
void server_stop(void);

#endif
