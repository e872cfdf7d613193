/* SPDX-License-Identifier: MIT */
#include "train/save.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/standard.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* fsync of every file of a folder, then of the folder. */
static int sync_folder(const char *folder, struct error *err) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int rc = 0;

    if (dir == NULL)
        return error_errno_run(err, folder, "cannot open folder");
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        int fd;

        if (entry->d_type != DT_REG)
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            rc = error_errno_run(err, folder, "cannot sync a file");
        if (fd >= 0)
            close(fd);
    }
    closedir(dir);
    return rc == 0 ? file_sync_folder(folder, err) : -1;
}

static int save_one(const struct run *r, struct model *m, const char *name, const uint8_t *avoid, struct error *err) {
    const struct stage *s = r->stage;
    const bool own = m == r->trainer.critic && !s->critic.share;
    const struct lora_options *lora = (own ? &s->critic : &s->model)->source.lora;
    const bool whole = lora && lora->merge;
    char *final = file_join(r->stage->output, name);
    struct buffer b = {0};
    char *temporary;
    int rc = -1;

    buffer_printf(&b, "%s/%s.tmp-%ld", r->stage->output, name, (long)getpid());
    temporary = buffer_take(&b);
    if (final == NULL || temporary == NULL) {
        error_nomem(err, "saving a model");
        goto out;
    }
    if (file_remove_tree(temporary, err) != 0 || file_make_folder(temporary, err) != 0)
        goto out;
    if ((whole ? model_save_merged : model_save)(m, temporary, avoid, err) != 0 || sync_folder(temporary, err) != 0 ||
        file_remove_tree(final, err) != 0)
        goto remove;
    if (rename(temporary, final) != 0) {
        error_errno_run(err, final, "cannot rename into place");
        goto remove;
    }
    rc = file_sync_folder(r->stage->output, err);
    goto out;
remove:
    file_remove_tree(temporary, NULL);
out:
    free(final);
    free(temporary);
    return rc;
}

/* Ids that occur in the data: a score model's pad token must not be one of them. */
static uint8_t *ids_in_use(const struct run *r, struct error *err) {
    const size_t vocabulary = (size_t)model_config(r->trainer.actor)->vocabulary;
    uint8_t *bitmap = mem_zeros(vocabulary / 8 + 1, 1);

    if (bitmap == NULL) {
        error_nomem(err, "saving a model");
        return NULL;
    }
    for (size_t i = 0; i < r->count; i++)
        samples_mark(&r->samples[i], bitmap, vocabulary);
    samples_mark(&r->eval, bitmap, vocabulary);
    return bitmap;
}

/* As its weights are now: the average's scores lie elsewhere than those of the last weights. */
static int save_actor(struct run *r, const char *name, const uint8_t *avoid, struct error *err) {
    return standard_measure(r, err) != 0 || save_one(r, r->trainer.actor, name, avoid, err) != 0 ? -1 : 0;
}

int save_models(struct run *r, struct error *err) {
    uint8_t *avoid;
    int rc = 0;

    if (optimizer_check_finite(r->trainer.optimizer, err) != 0 ||
        (r->trainer.critic_optimizer != NULL && optimizer_check_finite(r->trainer.critic_optimizer, err) != 0))
        return -1;
    avoid = ids_in_use(r, err);
    if (avoid == NULL)
        return -1;
    if (r->trainer.critic != NULL)
        rc = save_one(r, r->trainer.critic, "critic", avoid, err);
    if (rc == 0 && r->average != NULL) {
        rc = average_swap(r->average, err);
        if (rc == 0)
            rc = save_actor(r, "ema", avoid, err);
        if (average_swap(r->average, rc == 0 ? err : NULL) != 0)
            rc = -1;
    }
    if (rc == 0)
        rc = save_actor(r, "model", avoid, err);
    free(avoid);
    return rc;
}
