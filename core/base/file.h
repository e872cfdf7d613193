/* core/base/file.h - reading what may lie, writing what must last.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_FILE_H
#define REIN_CORE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* A read-only mapping of a regular file (directories, FIFOs and devices are
 * refused). An empty file maps to length 0 and a non-NULL pointer. */
struct file_map {
    const unsigned char *data;
    size_t length;
    struct file_identity {
        uint64_t device, inode;
        int64_t seconds, nanoseconds; /* of its last change */
    } of;
};
int file_map_open(const char *path, struct file_map *map, struct error *err);
void file_map_close(struct file_map *map);
/* The bytes will not be needed for a while: what is read of them no longer counts as this process's memory. */
void file_map_forget(const struct file_map *map, size_t first, size_t length);

/* The whole of a regular file of at most `limit` bytes, NUL-terminated; free() it. */
char *file_read(const char *path, size_t limit, size_t *length, struct error *err);

/* Atomic: writes a temporary beside `path`, fsyncs it, renames it, fsyncs the
 * folder. On failure the old file stays and the temporary is gone. */
int file_write(const char *path, const void *data, size_t length, struct error *err);

/* The same in pieces: file_begin, any number of file_put, then file_commit or file_abort. */
struct file_writer {
    int fd;
    uint32_t crc;   /* CRC-32 of everything put so far */
    uint64_t bytes;
    char *path, *temporary;
};
int file_begin(struct file_writer *w, const char *path, struct error *err);
int file_put(struct file_writer *w, const void *data, size_t length, struct error *err);
int file_commit(struct file_writer *w, struct error *err); /* releases w whatever happens */
void file_abort(struct file_writer *w);

/* Writes everything, across EINTR and short writes. */
int file_write_all(int fd, const void *data, size_t length);
int file_sync_folder(const char *path, struct error *err); /* fsync of the directory `path` */
int file_make_folder(const char *path, struct error *err); /* like mkdir -p */
int file_remove_tree(const char *path, struct error *err); /* never follows symbolic links */
int file_copy(const char *from, const char *to, struct error *err);
int file_is_folder(const char *path);
int file_exists(const char *path);
/* 1 when the directory has no entries (or does not exist), else 0. */
int file_folder_is_empty(const char *path);

/* "dir/name"; free() it. NULL when out of memory. An absolute `name` is returned as it is. */
char *file_join(const char *dir, const char *name);
/* The way from one folder to another path ("../../one/model"), both absolute and without links or dots; free() it. NULL
 * without memory, and when they have nothing in common. */
char *file_way(const char *from, const char *to);
/* The directory part of a path ("." when there is none); free() it. */
char *file_dirname(const char *path);

#endif
