/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* strcasestr */
#include "rewards/server.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_STEPS = 16, MOST_REQUESTS = 64, LONGEST = 1 << 16 };

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    int listener, wake[2]; /* a byte in the pipe ends the thread */
    struct server_step steps[MOST_STEPS];
    size_t nsteps, nrequests;
    char *heads[MOST_REQUESTS], *bodies[MOST_REQUESTS];
} s = {.lock = PTHREAD_MUTEX_INITIALIZER, .listener = -1};

static void send_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        const ssize_t n = send(fd, data, length, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        data += n;
        length -= (size_t)n;
    }
}

/* Waits for the socket; 0 when the server is to end. */
static int readable(int fd) {
    struct pollfd p[] = {{fd, POLLIN, 0}, {s.wake[0], POLLIN, 0}};

    while (poll(p, 2, -1) < 0)
        ;
    return !(p[1].revents & POLLIN);
}

/* A whole request in `text`; returns where its body begins, or NULL. */
static char *read_request(int fd, char text[LONGEST]) {
    size_t length = 0, wanted = SIZE_MAX;
    char *body = NULL;

    while (length < LONGEST - 1 && length < wanted && readable(fd)) {
        const ssize_t n = recv(fd, text + length, LONGEST - 1 - length, 0);

        if (n <= 0)
            return NULL;
        length += (size_t)n;
        text[length] = 0;
        if (body == NULL && (body = strstr(text, "\r\n\r\n")) != NULL) {
            const char *size = strcasestr(text, "\r\nContent-Length:");

            body += 4;
            wanted = (size_t)(body - text) + (size > body || !size ? 0 : strtoul(size + 17, NULL, 10));
        }
    }
    return length >= wanted ? body : NULL;
}

static void answer(int fd, int status, const char *header, const char *body, size_t claimed) {
    char head[512];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nConnection: close\r\n%s"
             "Content-Length: %zu\r\n\r\n",
             status, header ? header : "", claimed);
    send_all(fd, head, strlen(head));
    send_all(fd, body, strlen(body));
}

static void echo(int fd, const char *body) {
    json_t *request = json_loads(body, 0, NULL), *rewards = json_array(), *query, *all;
    size_t i;
    char *text;

    json_array_foreach(json_object_get(request, "query"), i, query)
        json_array_append_new(rewards, json_integer((json_int_t)json_string_length(query)));
    all = json_pack("{s:o}", "rewards", rewards);
    text = json_dumps(all, JSON_COMPACT);
    answer(fd, 200, NULL, text, strlen(text));
    free(text);
    json_decref(all);
    json_decref(request);
}

static void huge(int fd) {
    static char block[1 << 16];

    memset(block, ' ', sizeof(block));
    answer(fd, 200, NULL, "", 20 << 20);
    for (int i = 0; i < 320; i++)
        send_all(fd, block, sizeof(block));
}

static void serve(int fd) {
    static char text[LONGEST];
    struct server_step step;
    char *body = read_request(fd, text), rest[256];

    if (body == NULL)
        return;
    pthread_mutex_lock(&s.lock);
    step = s.steps[s.nrequests < s.nsteps ? s.nrequests : s.nsteps - 1];
    if (s.nrequests < MOST_REQUESTS) {
        s.heads[s.nrequests] = strndup(text, (size_t)(body - text));
        s.bodies[s.nrequests] = strdup(body);
        s.nrequests++;
    }
    pthread_mutex_unlock(&s.lock);
    if (step.way == SERVER_ECHO)
        echo(fd, body);
    else if (step.way == SERVER_ANSWER)
        answer(fd, step.status ? step.status : 200, step.header, step.body, strlen(step.body));
    else if (step.way == SERVER_PARTIAL)
        answer(fd, 200, NULL, "{\"rewards\"", 100);
    else if (step.way == SERVER_HUGE)
        huge(fd);
    else if (step.way == SERVER_SILENT)
        while (readable(fd) && recv(fd, rest, sizeof(rest), 0) > 0)
            ;
}

static void *run(void *ctx) {
    (void)ctx;
    while (readable(s.listener)) {
        const int fd = accept(s.listener, NULL, NULL);

        if (fd < 0)
            continue;
        serve(fd);
        close(fd);
    }
    return NULL;
}

int server_start(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);

    s.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s.listener < 0 || pipe(s.wake) != 0 || bind(s.listener, (struct sockaddr *)&at, size) != 0 ||
        listen(s.listener, 8) != 0 || getsockname(s.listener, (struct sockaddr *)&at, &size) != 0)
        return -1;
    server_script(&(const struct server_step){.way = SERVER_ECHO}, 1);
    return pthread_create(&s.thread, NULL, run, NULL) == 0 ? ntohs(at.sin_port) : -1;
}

void server_script(const struct server_step *steps, size_t count) {
    pthread_mutex_lock(&s.lock);
    for (size_t i = 0; i < s.nrequests; i++) {
        free(s.heads[i]);
        free(s.bodies[i]);
    }
    s.nrequests = 0;
    s.nsteps = count < MOST_STEPS ? count : MOST_STEPS;
    memcpy(s.steps, steps, s.nsteps * sizeof(*steps));
    pthread_mutex_unlock(&s.lock);
}

size_t server_requests(void) {
    size_t n;

    pthread_mutex_lock(&s.lock);
    n = s.nrequests;
    pthread_mutex_unlock(&s.lock);
    return n;
}

static const char *kept(char *const *list, size_t index) {
    const char *text;

    pthread_mutex_lock(&s.lock);
    text = index < s.nrequests ? list[index] : "";
    pthread_mutex_unlock(&s.lock);
    return text;
}

const char *server_head(size_t index) {
    return kept(s.heads, index);
}

const char *server_body(size_t index) {
    return kept(s.bodies, index);
}

void server_stop(void) {
    if (write(s.wake[1], "x", 1) == 1)
        pthread_join(s.thread, NULL);
    server_script(&(const struct server_step){.way = SERVER_ECHO}, 1);
    close(s.listener);
    close(s.wake[0]);
    close(s.wake[1]);
}
