/*
 * Stats functions: what `stats` calculates per group. Each group holds one state per function, side
 * by side in one piece of memory; a function updates the states of a whole block in one call.
 * States export to bytes on the shards and are merged from bytes on the router.
 *
 * A function is the file stats_<symbol>.c, which defines tel_stats_<symbol>, and a line in
 * stats.def.
 */
#ifndef TEL_LOGSQL_STATS_H
#define TEL_LOGSQL_STATS_H

#include "common/logsql/fields.h"
#include "common/logsql/pipe.h"

struct tel_parser;
struct tel_stats_ops;

struct tel_stats_func {
    const struct tel_stats_ops *ops;
    struct tel_span *fields; /* names and wildcards; none given is "*" */
    size_t field_count;
    bool all_fields; /* "*" is among them */
    uint64_t limit;  /* limit N behind the arguments; 0: none */
    double phi;      /* quantile */
    struct tel_span phi_text;
    struct tel_span source;       /* row_min, row_max: the field that is compared */
    struct tel_filter *condition; /* if (...); NULL: none */
    struct tel_span name;         /* of the result */
    size_t offset;                /* of its state in a group */
    const struct tel_pipe *pipe;
};

/* A block that is being counted. */
struct tel_stats_batch {
    struct tel_stage *stage;
    const struct tel_block *block;
    size_t rows;
    char *const *groups; /* per row: its group's states; NULL where the condition does not hold */
    char *single;        /* all rows go to this one group, without a condition; NULL otherwise */
    /* The columns of the function's fields that the block has; a name without a wildcard is here
     * even if no row has it. */
    const struct tel_span *names;
    const struct tel_span *const *columns;
    size_t column_count;
    const struct tel_span *source; /* values of func->source */
};

/* Does one of the function's names stand for many? Which columns a block has of those, and in which
 * order, says nothing about its rows: an absent field of theirs and an empty one are the same. */
static inline bool tel_stats_has_wildcard(const struct tel_stats_func *f)
{
    for (size_t i = 0; i < f->field_count; i++)
        if (tel_field_is_wildcard(f->fields[i]))
            return true;
    return false;
}

/* The state of a row, or NULL. */
static inline void *tel_stats_state(const struct tel_stats_batch *b, const struct tel_stats_func *f,
                                    size_t row)
{
    char *group = b->single ? b->single : b->groups[row];
    return group ? group + f->offset : NULL;
}

struct tel_stats_ops {
    const char *name;
    size_t state_size;
    bool has_limit;     /* takes `limit N` */
    bool needs_nothing; /* looks at no columns if none are named */
    bool no_args;       /* takes none, and prints none */
    bool takes_hits;    /* heeds the hits of a block, or rows that are alike change nothing */
    bool any_order;     /* the order of rows changes nothing; it does not where takes_hits is set */
    /* Instead of the usual list of fields; NULL: that. Behind the name. */
    tel_code (*parse)(struct tel_parser *p, struct tel_stats_func *f);
    /* Zeroed memory is the empty state unless init says more. */
    void (*init)(const struct tel_stats_func *f, void *state);
    tel_code (*update)(const struct tel_stats_func *f, const struct tel_stats_batch *batch,
                       struct tel_error *err);
    void (*save)(const struct tel_stats_func *f, const void *state, struct tel_buf *out);
    /* Merges what save wrote; false if it is no such thing. */
    bool (*merge)(const struct tel_stats_func *f, void *state, struct tel_span bytes);
    void (*result)(const struct tel_stats_func *f, const void *state, const struct tel_stage *stage,
                   struct tel_buf *out);
    void (*drop)(void *state); /* frees what the state holds outside; NULL: nothing */
    size_t (*held)(
        const void *state); /* bytes held outside the state, for the budget; NULL: none */
};

/* What rates divide by: the bucket of _time, else the length of the query's time range; 0 when
 * there is none. */
double tel_stats_rate_seconds(const struct tel_stage *stage);

/* The i-th field that a stats pipe groups by; false if it has fewer, or is no stats pipe. */
bool tel_stats_by_field(const struct tel_pipe *pipe, size_t i, struct tel_span *ret);
/* A row of a batch as a JSON object of its non-empty fields (stats_values.c). */
void tel_stats_print_row(const struct tel_stats_batch *b, size_t row, struct tel_buf *out);

const struct tel_stats_ops *tel_stats_find(struct tel_span name);
void tel_stats_func_print(struct tel_buf *out, const struct tel_stats_func *f);

#define TEL_STATS(symbol, name) extern const struct tel_stats_ops tel_stats_##symbol;
#include "common/logsql/stats.def"
#undef TEL_STATS

#endif
