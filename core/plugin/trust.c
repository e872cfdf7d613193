/* SPDX-License-Identifier: MIT */
#include "plugin/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool owned(const struct stat *st) {
    return st->st_uid == 0 || st->st_uid == geteuid();
}

static const char *writers(const struct stat *st) {
    return st->st_mode & S_IWOTH ? "everybody" : "its group";
}

static int trust_folder(const char *path, bool last, struct error *err) {
    struct stat st;

    if (lstat(path, &st) != 0)
        return error_input(err, "its folder %s cannot be examined: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_input(err, "%s on its way is not a folder", path);
    if (!owned(&st))
        return error_input(err, "its folder %s belongs to another user (%ld)", path, (long)st.st_uid);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) && (last || !(st.st_mode & S_ISVTX)))
        return error_input(err, "its folder %s can be written by %s (chmod go-w)", path, writers(&st));
    return 0;
}

static int trust_folders(const char *path, struct error *err) {
    const char *slash = strrchr(path, '/');
    char part[PATH_MAX];

    for (const char *end = path; end != NULL; end = end == slash ? NULL : strchr(end + 1, '/')) {
        const size_t length = end == path ? 1 : (size_t)(end - path);
        if (length >= sizeof(part))
            return error_input(err, "its path is too long");
        memcpy(part, path, length);
        part[length] = '\0';
        if (trust_folder(part, end == slash, err) != 0)
            return -1;
    }
    return 0;
}

int trust_file(const char *path, struct error *err) {
    /* O_NONBLOCK so that a FIFO is refused instead of waited for */
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int rc;

    if (fd < 0 && errno == ELOOP)
        return error_input(err, "it is a symbolic link");
    if (fd < 0)
        return error_input(err, "it cannot be opened: %s", strerror(errno));
    if (fstat(fd, &st) != 0)
        rc = error_input(err, "it cannot be examined: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = error_input(err, "it is not a regular file");
    else if (!owned(&st))
        rc = error_input(err, "it belongs to another user (%ld)", (long)st.st_uid);
    else if (st.st_mode & (S_IWGRP | S_IWOTH))
        rc = error_input(err, "it can be written by %s (chmod go-w)", writers(&st));
    else
        rc = trust_folders(path, err);
    close(fd);
    return rc;
}
