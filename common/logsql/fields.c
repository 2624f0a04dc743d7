/* See fields.h. */
#include "common/logsql/fields.h"

bool tel_field_is_wildcard(struct tel_span pattern)
{
    return pattern.len > 0 && pattern.ptr[pattern.len - 1] == '*';
}

bool tel_field_matches(struct tel_span pattern, struct tel_span name)
{
    if (tel_field_is_wildcard(pattern))
        return tel_span_starts(name, tel_span_slice(pattern, 0, pattern.len - 1));
    return tel_span_eq(pattern, name);
}

bool tel_field_matches_any(const struct tel_span *patterns, size_t count, struct tel_span name)
{
    for (size_t i = 0; i < count; i++)
        if (tel_field_matches(patterns[i], name))
            return true;
    return false;
}

/* Does every name that matches b match a? */
static bool covers(struct tel_span a, struct tel_span b)
{
    if (!tel_field_is_wildcard(a))
        return tel_span_eq(a, b);
    struct tel_span stem = tel_span_slice(b, 0, b.len - tel_field_is_wildcard(b));
    return tel_span_starts(stem, tel_span_slice(a, 0, a.len - 1));
}

void tel_fields_init(struct tel_fields *f, struct tel_arena *arena)
{
    *f = (struct tel_fields){.arena = arena};
}

static void push(struct tel_arena *arena, struct tel_span **list, size_t *count, size_t *cap,
                 struct tel_span name)
{
    for (size_t i = 0; i < *count; i++)
        if (covers((*list)[i], name))
            return;
    if (*count == *cap) {
        size_t grown = *cap ? *cap * 2 : 8;
        struct tel_span *bigger = TEL_ARENA_ARRAY(arena, struct tel_span, grown);
        if (*count)
            memcpy(bigger, *list, *count * sizeof **list);
        *list = bigger;
        *cap = grown;
    }
    (*list)[(*count)++] = name;
}

static void drop_covered(struct tel_span *list, size_t *count, struct tel_span by)
{
    size_t n = 0;
    for (size_t i = 0; i < *count; i++)
        if (!covers(by, list[i]))
            list[n++] = list[i];
    *count = n;
}

void tel_fields_add(struct tel_fields *f, struct tel_span name)
{
    drop_covered(f->deny, &f->deny_count, name);
    /* A name below a denied wildcard comes back; the wildcard cannot stay then. */
    size_t n = 0;
    for (size_t i = 0; i < f->deny_count; i++)
        if (!covers(f->deny[i], name))
            f->deny[n++] = f->deny[i];
    f->deny_count = n;
    push(f->arena, &f->allow, &f->allow_count, &f->allow_cap, name);
}

void tel_fields_remove(struct tel_fields *f, struct tel_span name)
{
    drop_covered(f->allow, &f->allow_count, name);
    for (size_t i = 0; i < f->allow_count; i++) {
        if (covers(f->allow[i], name)) {
            push(f->arena, &f->deny, &f->deny_count, &f->deny_cap, name);
            return;
        }
    }
}

void tel_fields_add_all(struct tel_fields *f, const struct tel_span *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tel_fields_add(f, names[i]);
}

void tel_fields_clear(struct tel_fields *f)
{
    f->allow_count = f->deny_count = 0;
}

void tel_fields_intersect(struct tel_fields *f, const struct tel_span *names, size_t count)
{
    struct tel_fields old = *f;
    f->allow = NULL;
    f->allow_count = f->allow_cap = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < old.allow_count; j++) {
            if (covers(old.allow[j], names[i]))
                push(f->arena, &f->allow, &f->allow_count, &f->allow_cap, names[i]);
            else if (covers(names[i], old.allow[j]))
                push(f->arena, &f->allow, &f->allow_count, &f->allow_cap, old.allow[j]);
        }
    }
}

bool tel_fields_has(const struct tel_fields *f, struct tel_span name)
{
    return tel_field_matches_any(f->allow, f->allow_count, name) &&
           !tel_field_matches_any(f->deny, f->deny_count, name);
}

bool tel_fields_has_any(const struct tel_fields *f, struct tel_span pattern)
{
    if (!tel_field_is_wildcard(pattern))
        return tel_fields_has(f, pattern);
    for (size_t i = 0; i < f->deny_count; i++)
        if (covers(f->deny[i], pattern))
            return false;
    for (size_t i = 0; i < f->allow_count; i++)
        if (covers(f->allow[i], pattern) || covers(pattern, f->allow[i]))
            return true;
    return false;
}

bool tel_fields_empty(const struct tel_fields *f)
{
    return f->allow_count == 0;
}

bool tel_fields_is_all(const struct tel_fields *f)
{
    return tel_field_matches_any(f->allow, f->allow_count, TEL_SPAN(""));
}
