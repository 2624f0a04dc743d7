/*
 * A set of field names, with wildcards: which columns a query needs, or a pipe names. A name is in
 * the set when something allows it and nothing denies it; "app*" stands for all names that start
 * with app, "*" for all. Lives in the arena that it was made with.
 */
#ifndef TEL_LOGSQL_FIELDS_H
#define TEL_LOGSQL_FIELDS_H

#include <stdbool.h>

#include "common/base/arena.h"

struct tel_fields {
    struct tel_arena *arena;
    struct tel_span *allow, *deny;
    size_t allow_count, allow_cap, deny_count, deny_cap;
};

void tel_fields_init(struct tel_fields *f, struct tel_arena *arena); /* the empty set */
/* Adds and removes a name or wildcard; what was removed before comes back when added. */
void tel_fields_add(struct tel_fields *f, struct tel_span name);
void tel_fields_remove(struct tel_fields *f, struct tel_span name);
void tel_fields_add_all(struct tel_fields *f, const struct tel_span *names, size_t count);
void tel_fields_clear(struct tel_fields *f);
/* Leaves only what is also among these names and wildcards. */
void tel_fields_intersect(struct tel_fields *f, const struct tel_span *names, size_t count);

bool tel_fields_has(const struct tel_fields *f, struct tel_span name);
/* Might some name that matches the wildcard (or is the name) be in the set? */
bool tel_fields_has_any(const struct tel_fields *f, struct tel_span pattern);
bool tel_fields_empty(const struct tel_fields *f);
/* All names, but for those in deny. */
bool tel_fields_is_all(const struct tel_fields *f);

/* Does a name match a name or wildcard? */
bool tel_field_matches(struct tel_span pattern, struct tel_span name);
bool tel_field_is_wildcard(struct tel_span pattern);
bool tel_field_matches_any(const struct tel_span *patterns, size_t count, struct tel_span name);

#endif
