/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include "base/maps.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const unsigned char nothing[1];

/* O_NONBLOCK so that opening a FIFO returns and can be refused instead of hanging. */
static int open_regular(const char *path, size_t *length, struct file_identity *of, struct error *err) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return error_errno_input(err, path, "cannot open");
    if (fstat(fd, &st) != 0) {
        error_errno_input(err, path, "cannot stat");
        close(fd);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return error_input(err, "%s: is %s, not a regular file", path, S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    }
    *length = (size_t)st.st_size;
    if (of)
        *of = (struct file_identity){st.st_dev, st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    return fd;
}

int file_map_open(const char *path, struct file_map *map, struct error *err) {
    size_t length;
    void *data;
    const int fd = open_regular(path, &length, &map->of, err);

    if (fd < 0)
        return -1;
    map->data = nothing;
    map->length = length;
    if (length > 0) {
        data = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            error_errno_run(err, path, "cannot map");
            close(fd);
            return -1;
        }
        if (maps_add(data, length, path, err) != 0) {
            munmap(data, length);
            close(fd);
            return -1;
        }
        map->data = data;
    }
    close(fd);
    return 0;
}

void file_map_close(struct file_map *map) {
    if (map->length > 0) {
        maps_remove(map->data);
        munmap((void *)(uintptr_t)map->data, map->length);
    }
    map->data = NULL;
    map->length = 0;
}

void file_map_forget(const struct file_map *map, size_t first, size_t length) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t begin = first / page * page;

    if (first < map->length && length <= map->length - first && length > 0)
        madvise((void *)(uintptr_t)(map->data + begin), first + length - begin, MADV_DONTNEED);
}

char *file_read(const char *path, size_t limit, size_t *length, struct error *err) {
    size_t size, got = 0;
    char *text;
    const int fd = open_regular(path, &size, NULL, err);

    if (fd < 0)
        return NULL;
    if (size > limit) {
        close(fd);
        error_input(err, "%s: %zu bytes is too large (the limit is %zu)", path, size, limit);
        return NULL;
    }
    text = mem_array(size + 1, 1);
    if (text == NULL) {
        close(fd);
        error_nomem(err, path);
        return NULL;
    }
    while (got < size) {
        const ssize_t n = read(fd, text + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno_run(err, path, "cannot read");
            close(fd);
            free(text);
            return NULL;
        }
        if (n == 0)
            break; /* the file shrank; take what is there */
        got += (size_t)n;
    }
    close(fd);
    text[got] = '\0';
    if (length)
        *length = got;
    return text;
}

int file_write_all(int fd, const void *data, size_t length) {
    const char *p = data;

    while (length > 0) {
        const ssize_t n = write(fd, p, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        length -= (size_t)n;
    }
    return 0;
}

int file_begin(struct file_writer *w, const char *path, struct error *err) {
    struct buffer name = {0};

    memset(w, 0, sizeof(*w));
    w->fd = -1;
    w->crc = (uint32_t)crc32(0L, Z_NULL, 0);
    buffer_printf(&name, "%s.tmp-%ld", path, (long)getpid());
    w->temporary = buffer_take(&name);
    w->path = mem_strdup(path);
    if (w->temporary == NULL || w->path == NULL) {
        file_abort(w);
        return error_nomem(err, path);
    }
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        error_errno_run(err, path, "cannot create");
        file_abort(w);
        return -1;
    }
    return 0;
}

int file_put(struct file_writer *w, const void *data, size_t length, struct error *err) {
    if (file_write_all(w->fd, data, length) != 0)
        return error_errno_run(err, w->path, "cannot write");
    for (size_t done = 0; done < length;) {
        const size_t step = length - done > 1u << 30 ? 1u << 30 : length - done;
        w->crc = (uint32_t)crc32(w->crc, (const unsigned char *)data + done, (uInt)step);
        done += step;
    }
    w->bytes += length;
    return 0;
}

int file_commit(struct file_writer *w, struct error *err) {
    char *dir = NULL;
    int rc = -1;

    /* A failed fsync means the data is lost: retrying it can falsely succeed, so we never do. */
    if (fsync(w->fd) != 0) {
        error_errno_run(err, w->path, "cannot sync");
        goto out;
    }
    if (close(w->fd) != 0) {
        w->fd = -1;
        error_errno_run(err, w->path, "cannot close");
        goto out;
    }
    w->fd = -1;
    if (rename(w->temporary, w->path) != 0) {
        error_errno_run(err, w->path, "cannot rename into place");
        goto out;
    }
    free(w->temporary);
    w->temporary = NULL;
    dir = file_dirname(w->path);
    if (dir == NULL) {
        error_nomem(err, w->path);
        goto out;
    }
    rc = file_sync_folder(dir, err);
out:
    free(dir);
    file_abort(w);
    return rc;
}

void file_abort(struct file_writer *w) {
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary != NULL)
        unlink(w->temporary);
    free(w->temporary);
    free(w->path);
    memset(w, 0, sizeof(*w));
    w->fd = -1;
}

int file_write(const char *path, const void *data, size_t length, struct error *err) {
    struct file_writer w;

    if (file_begin(&w, path, err) != 0)
        return -1;
    if (file_put(&w, data, length, err) != 0) {
        file_abort(&w);
        return -1;
    }
    return file_commit(&w, err);
}

int file_sync_folder(const char *path, struct error *err) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return error_errno_run(err, path, "cannot open folder");
    rc = fsync(fd);
    if (rc != 0 && errno == EINVAL)
        rc = 0; /* some file systems cannot sync a folder */
    if (rc != 0)
        error_errno_run(err, path, "cannot sync folder");
    close(fd);
    return rc == 0 ? 0 : -1;
}

int file_make_folder(const char *path, struct error *err) {
    char *copy = mem_strdup(path);

    if (copy == NULL)
        return error_nomem(err, path);
    for (char *p = copy + 1;; p++) {
        const char end = *p;
        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            error_errno_run(err, copy, "cannot create folder");
            free(copy);
            return -1;
        }
        *p = end;
        if (end == '\0')
            break;
    }
    free(copy);
    if (!file_is_folder(path))
        return error_run(err, "%s: exists and is not a folder", path);
    return 0;
}

int file_remove_tree(const char *path, struct error *err) {
    struct stat st;
    struct dirent *entry;
    DIR *dir;
    int rc = 0;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : error_errno_run(err, path, "cannot stat");
    if (!S_ISDIR(st.st_mode))
        return unlink(path) == 0 ? 0 : error_errno_run(err, path, "cannot remove");
    dir = opendir(path);
    if (dir == NULL)
        return error_errno_run(err, path, "cannot open folder");
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        char *child;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        child = file_join(path, entry->d_name);
        rc = child ? file_remove_tree(child, err) : error_nomem(err, path);
        free(child);
    }
    closedir(dir);
    if (rc == 0 && rmdir(path) != 0)
        rc = error_errno_run(err, path, "cannot remove folder");
    return rc;
}

int file_copy(const char *from, const char *to, struct error *err) {
    struct file_map map;
    int rc;

    if (file_map_open(from, &map, err) != 0)
        return -1;
    rc = file_write(to, map.data, map.length, err);
    file_map_close(&map);
    return rc;
}

int file_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

int file_folder_is_empty(const char *path) {
    struct dirent *entry;
    DIR *dir = opendir(path);
    int empty = 1;

    if (dir == NULL)
        return errno == ENOENT;
    while (empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

char *file_join(const char *dir, const char *name) {
    struct buffer b = {0};

    if (name[0] == '/' || strcmp(dir, ".") == 0)
        return mem_strdup(name);
    buffer_printf(&b, "%s%s%s", dir, dir[0] && dir[strlen(dir) - 1] == '/' ? "" : "/", name);
    return buffer_take(&b);
}

char *file_way(const char *from, const char *to) {
    size_t common = 0, up = 0, at = 0;
    char *way;

    for (size_t i = 0;; i++) { /* `common`: how much of both is folders above both */
        const bool end = (from[i] == '/' || from[i] == '\0') && (to[i] == '/' || to[i] == '\0');

        if (end)
            common = i;
        if (from[i] != to[i] || from[i] == '\0')
            break;
    }
    if (common == 0)
        return NULL;
    for (const char *p = from + common; *p; p++)
        up += *p == '/';
    way = mem_array(3 * up + strlen(to + common) + 2, 1);
    if (way == NULL)
        return NULL;
    for (; up > 0; up--, at += 3)
        memcpy(way + at, "../", 3);
    strcpy(way + at, to[common] ? to + common + 1 : ".");
    return way;
}

char *file_dirname(const char *path) {
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return mem_strdup(".");
    if (slash == path)
        return mem_strdup("/");
    return mem_strndup(path, (size_t)(slash - path));
}
