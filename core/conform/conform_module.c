/* What any module must be, whatever it plugs into. SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/file.h"
#include "conform/conform.h"
#include "conform/watch.h"

#include <dlfcn.h>
#include <elf.h>
#include <string.h>

/* Symbols that linkers of some systems export from every shared object. */
static bool linkers_own(const char *name) {
    static const char *const names[] = {"_init", "_fini", "_edata", "__bss_start", "_end", NULL};

    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

/* The sections of the file, or NULL when it is not a 64-bit ELF file of this machine's byte order that can be read. */
static const Elf64_Shdr *sections(const struct file_map *m, size_t *count) {
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)m->data;
    const uint16_t one = 1;
    int data = *(const unsigned char *)&one ? ELFDATA2LSB : ELFDATA2MSB;

    if (m->length < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != data || h->e_shentsize != sizeof(Elf64_Shdr) || h->e_shoff % 8 != 0 ||
        h->e_shoff > m->length || (m->length - h->e_shoff) / sizeof(Elf64_Shdr) < h->e_shnum)
        return NULL;
    *count = h->e_shnum;
    return (const Elf64_Shdr *)(m->data + h->e_shoff);
}

static bool inside(const struct file_map *m, const Elf64_Shdr *s) {
    return s->sh_offset % 8 == 0 && s->sh_offset <= m->length && s->sh_size <= m->length - s->sh_offset;
}

/* Walks .dynsym; false when there is none. */
static bool check_symbols(const struct file_map *m, bool *exports_entry_alone, bool *needs_nothing) {
    size_t count = 0;
    const Elf64_Shdr *s = sections(m, &count);

    *exports_entry_alone = *needs_nothing = true;
    for (size_t i = 0; s && i < count; i++) {
        if (s[i].sh_type != SHT_DYNSYM || !inside(m, &s[i]) || s[i].sh_link >= count)
            continue;
        const Elf64_Shdr *names = &s[s[i].sh_link];
        const Elf64_Sym *symbol = (const Elf64_Sym *)(m->data + s[i].sh_offset);
        if (names->sh_offset > m->length || names->sh_size > m->length - names->sh_offset || names->sh_size == 0 ||
            m->data[names->sh_offset + names->sh_size - 1] != 0)
            return false;
        for (size_t k = 0; k < s[i].sh_size / sizeof(*symbol); k++) {
            if (symbol[k].st_name >= names->sh_size || ELF64_ST_BIND(symbol[k].st_info) == STB_LOCAL)
                continue;
            const char *name = (const char *)m->data + names->sh_offset + symbol[k].st_name;
            if (symbol[k].st_shndx == SHN_UNDEF) {
                if (!strncmp(name, "rein_", 5)) {
                    conform_note("undefined: %s", name);
                    *needs_nothing = false;
                }
            } else if (strcmp(name, REIN_PLUGIN_ENTRY) != 0 && !linkers_own(name)) {
                conform_note("exported: %s", name);
                *exports_entry_alone = false;
            }
        }
        return true;
    }
    return false;
}

void conform_module(const char *path) {
    void *handle = dlopen(strchr(path, '/') ? path : "", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    const struct rein_plugin *(*entry)(uint32_t) = NULL;
    bool alone, nothing;
    struct file_map m;

    if (handle)
        *(void **)&entry = dlsym(handle, REIN_PLUGIN_ENTRY);
    watch_report();
    if (entry)
        conform_ok(entry(0) == entry(0) && entry(UINT32_MAX) == NULL,
                   "the entry answers the same for the same index, and NULL past the end");
    if (file_map_open(path, &m, NULL) == 0) {
        if (check_symbols(&m, &alone, &nothing)) {
            conform_ok(alone, "exports " REIN_PLUGIN_ENTRY " and nothing else");
            conform_ok(nothing, "needs no symbol of rein");
        } else {
            conform_skip("exports " REIN_PLUGIN_ENTRY " and nothing else", "the symbol table cannot be read here");
        }
        file_map_close(&m);
    }
}
