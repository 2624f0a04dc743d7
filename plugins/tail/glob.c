/*
 * A pattern is taken apart at its slashes and walked component by component:
 *
 *     /var/log/ ** /app-*.log      names without a wildcard are appended and looked up when the next
 *     ~~~~~~~~  ~~  ~~~~~~~~~      wildcard is met; `*` reads the folder; `**` matches here and then
 *     literal   deep  wild         in every folder below
 */
#include "plugins/tail/glob.h"

#include <dirent.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include "plugins/tail/memory.h"

#define PATH_BYTES 4096
#define DEPTH_MAX  64

static bool add_plain(struct glob_list *list, const char *pattern)
{
    if (list->len == GLOB_PATTERNS_MAX || strlen(pattern) >= PATH_BYTES)
        return false;
    char **grown = tail_alloc((list->len + 1) * sizeof(char *));
    if (list->len)
        memcpy(grown, list->patterns, list->len * sizeof(char *));
    grown[list->len++] = tail_copy(pattern, strlen(pattern));
    free(list->patterns);
    list->patterns = grown;
    return true;
}

/* The end of the alternative that begins at p: its ',' or '}' on this level, or NULL. */
static const char *alternative_end(const char *p)
{
    for (int depth = 0; *p; p++) {
        if (depth == 0 && (*p == ',' || *p == '}'))
            return p;
        depth += (*p == '{') - (*p == '}');
    }
    return NULL;
}

bool glob_add(struct glob_list *list, const char *pattern)
{
    size_t len = strlen(pattern);
    if (len == 0 || len >= PATH_BYTES)
        return false;
    const char *open = strchr(pattern, '{');
    if (!open)
        return !strchr(pattern, '}') && add_plain(list, pattern);
    /* Where the group ends, to know what follows each of its alternatives. */
    const char *close = open + 1;
    while ((close = alternative_end(close)) && *close == ',')
        close++;
    if (!close)
        return false;
    for (const char *part = open + 1;;) {
        const char *end = alternative_end(part);
        char *one = tail_alloc(len + 1);
        size_t head = (size_t)(open - pattern), middle = (size_t)(end - part);
        memcpy(one, pattern, head);
        memcpy(one + head, part, middle);
        strcpy(one + head + middle, close + 1);
        bool ok = glob_add(list, one);
        free(one);
        if (!ok)
            return false;
        if (*end == '}')
            return true;
        part = end + 1;
    }
}

void glob_free(struct glob_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        free(list->patterns[i]);
    free(list->patterns);
    *list = (struct glob_list){NULL, 0};
}

/* ---- matching a path ---------------------------------------------------------------------- */

static bool component_match(const char *pattern, size_t pattern_len, const char *name,
                            size_t name_len)
{
    char p[PATH_BYTES], n[PATH_BYTES];
    if (pattern_len >= sizeof(p) || name_len >= sizeof(n))
        return false;
    memcpy(p, pattern, pattern_len);
    p[pattern_len] = '\0';
    memcpy(n, name, name_len);
    n[name_len] = '\0';
    return fnmatch(p, n, FNM_PERIOD) == 0;
}

static bool match_from(const char *pattern, const char *path, int depth)
{
    while (*pattern == '/' && *path == '/')
        pattern++, path++;
    if (!*pattern || !*path)
        return !*pattern && !*path;
    if (depth > DEPTH_MAX)
        return false;
    size_t plen = strcspn(pattern, "/"), nlen = strcspn(path, "/");
    if (plen == 2 && pattern[0] == '*' && pattern[1] == '*') {
        const char *rest = pattern + plen + (pattern[plen] == '/');
        if (!*rest) /* "**" at the end takes any file below */
            return true;
        for (const char *at = path; *at; at += strcspn(at, "/"), at += *at == '/')
            if (match_from(rest, at, depth + 1))
                return true;
        return false;
    }
    return component_match(pattern, plen, path, nlen) &&
           match_from(pattern + plen, path + nlen, depth + 1);
}

bool glob_match(const struct glob_list *list, const char *path)
{
    for (size_t i = 0; i < list->len; i++) {
        const char *pattern = list->patterns[i], *subject = path;
        if (!strchr(pattern, '/')) {
            const char *slash = strrchr(path, '/');
            subject = slash ? slash + 1 : path;
        }
        if ((*pattern == '/') == (*subject == '/') && match_from(pattern, subject, 0))
            return true;
    }
    return false;
}

/* ---- walking ------------------------------------------------------------------------------ */

struct walk {
    const struct glob_visitor *visitor;
    char path[PATH_BYTES];
};

static void walk_from(struct walk *w, size_t len, const char *pattern, int depth);

static bool append(struct walk *w, size_t *len, const char *name, size_t name_len)
{
    if (*len + name_len + 1 > PATH_BYTES)
        return false;
    memcpy(w->path + *len, name, name_len);
    *len += name_len;
    w->path[*len] = '\0';
    return true;
}

static bool is_folder(const struct dirent *entry, const char *path, bool follow)
{
    if (entry->d_type == DT_DIR)
        return true;
    if (entry->d_type != DT_UNKNOWN && (entry->d_type != DT_LNK || !follow))
        return false;
    struct stat st;
    return (follow ? stat(path, &st) : lstat(path, &st)) == 0 && S_ISDIR(st.st_mode);
}

/* Reads the folder w->path[0..len) for the component at `pattern` of length plen (`**` if deep). */
static void walk_folder(struct walk *w, size_t len, const char *pattern, size_t plen, bool deep,
                        int depth)
{
    DIR *dir = depth > DEPTH_MAX ? NULL : opendir(len ? w->path : ".");
    if (!dir)
        return;
    if (w->visitor->folder)
        w->visitor->folder(w->visitor->ctx, len ? w->path : ".");
    const char *rest = pattern + plen;
    while (*rest == '/')
        rest++;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        size_t at = len, name_len = strlen(name);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (deep ? name[0] == '.' : !component_match(pattern, plen, name, name_len))
            continue;
        if (!append(w, &at, name, name_len))
            continue;
        if (deep) {
            bool folder = is_folder(entry, w->path, false);
            if (folder && append(w, &at, "/", 1))
                walk_folder(w, at, pattern, plen, true, depth + 1);
            else if (!*rest)
                w->visitor->file(w->visitor->ctx, w->path);
        } else if (!*rest) {
            w->visitor->file(w->visitor->ctx, w->path);
        } else if (is_folder(entry, w->path, true) && append(w, &at, "/", 1)) {
            walk_from(w, at, rest, depth + 1);
        }
        w->path[len] = '\0';
    }
    closedir(dir);
    /* `**` stands for no folder at all, too: what follows is tried in this very one. */
    if (deep && *rest)
        walk_from(w, len, rest, depth + 1);
    w->path[len] = '\0';
}

static void walk_from(struct walk *w, size_t len, const char *pattern, int depth)
{
    if (depth > DEPTH_MAX)
        return;
    size_t plen = strcspn(pattern, "/");
    if (plen == 2 && pattern[0] == '*' && pattern[1] == '*') {
        walk_folder(w, len, pattern, plen, true, depth);
        return;
    }
    char part[PATH_BYTES];
    memcpy(part, pattern, plen);
    part[plen] = '\0';
    if (part[strcspn(part, "*?[\\")]) {
        walk_folder(w, len, pattern, plen, false, depth);
        return;
    }
    size_t at = len;
    if (!append(w, &at, part, plen))
        return;
    const char *rest = pattern + plen;
    if (*rest) {
        if (append(w, &at, "/", 1))
            walk_from(w, at, rest + strspn(rest, "/"), depth + 1);
    } else if (plen) {
        if (w->visitor->folder) {
            char last = w->path[len];
            w->path[len] = '\0';
            w->visitor->folder(w->visitor->ctx, len ? w->path : ".");
            w->path[len] = last;
        }
        w->visitor->file(w->visitor->ctx, w->path);
    }
    w->path[len] = '\0';
}

void glob_walk(const struct glob_list *list, const struct glob_visitor *visitor)
{
    struct walk w = {.visitor = visitor};
    for (size_t i = 0; i < list->len; i++) {
        w.path[0] = '\0';
        walk_from(&w, 0, list->patterns[i], 0);
    }
}
