/*
 * Patterns of paths: `*` and `?` and `[a-z]` within a name (as fnmatch has them), `**` for any number
 * of folders, `{a,b}` for alternatives. A pattern is absolute or relative to the working folder.
 */
#ifndef TELESCOPE_TAIL_GLOB_H
#define TELESCOPE_TAIL_GLOB_H

#include <stdbool.h>
#include <stddef.h>

struct glob_list {
    char **patterns; /* braces resolved */
    size_t len;
};

#define GLOB_PATTERNS_MAX 1024

/* Adds a pattern. False if it is empty, has unbalanced braces or expands to too many. */
bool glob_add(struct glob_list *list, const char *pattern);
void glob_free(struct glob_list *list);

/* Does any of the patterns match this whole path? One without a slash is tried on the last name. */
bool glob_match(const struct glob_list *list, const char *path);

/* Called for each thing that the walk meets; path is valid during the call. */
struct glob_visitor {
    void (*file)(void *ctx, const char *path);   /* something that matches; not necessarily a file */
    void (*folder)(void *ctx, const char *path); /* a folder whose content decides; may be NULL */
    void *ctx;
};

/* Walks the file system and calls `file` for every path that matches. One path may be met by two
 * patterns. Symbolic links are followed where a pattern names them, but `**` does not descend
 * through them, so loops end. Folders that cannot be read are passed over. */
void glob_walk(const struct glob_list *list, const struct glob_visitor *visitor);

#endif
