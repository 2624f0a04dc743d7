#include "router/newest.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/vec.h"

#define BLOCK_ROWS_MAX 1024u

struct pick {
    struct rows *rows;
    size_t row;
};

struct newest {
    uint64_t limit, offset;
    size_t memory_max, held_bytes;
    TEL_VEC(struct pick) picks;  /* newest first */
    TEL_VEC(struct rows *) held; /* taken from their sources */
    size_t next, left;           /* picks[next..left) were not shown yet */
    bool newest_first, begun;
    struct tel_arena arena; /* of the block that is shown */
};

struct newest *newest_new(uint64_t limit, uint64_t offset, bool newest_first, size_t memory_max)
{
    struct newest *n = TEL_NEW(struct newest);
    n->limit = limit;
    n->offset = offset;
    n->newest_first = newest_first;
    n->memory_max = memory_max;
    return n;
}

size_t newest_bytes(const struct newest *n)
{
    return n->held_bytes;
}

void newest_free(struct newest *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->held.len; i++)
        rows_free(n->held.items[i]);
    tel_vec_free(&n->held);
    tel_vec_free(&n->picks);
    tel_arena_free(&n->arena);
    free(n);
}

static const struct tel_row_key *head_key(const struct fanout_source *s)
{
    const struct rows *r = fanout_head(s);
    return &r->block.keys[r->next];
}

/* The source with the newest row, and the newest row of all others. */
static struct fanout_source *best_source(struct fanout *f, const struct tel_row_key **ret_second)
{
    struct fanout_source *best = NULL;
    const struct tel_row_key *best_key = NULL, *second = NULL;
    for (struct fanout_source *s = fanout_first(f); s; s = fanout_next(s)) {
        const struct tel_row_key *key = head_key(s);
        if (!best || tel_row_key_cmp(key, best_key) > 0) {
            second = best_key;
            best = s;
            best_key = key;
        } else if (!second || tel_row_key_cmp(key, second) > 0) {
            second = key;
        }
    }
    *ret_second = second;
    return best;
}

static void hold(struct newest *n, struct fanout_source *s)
{
    struct rows *r = fanout_pop(s);
    tel_vec_push(&n->held, r);
    n->held_bytes += r->bytes;
}

/* Rows of s, while they are newer than everybody else's. */
static tel_code take_run(struct newest *n, struct fanout_source *s,
                         const struct tel_row_key *second, struct tel_error *err)
{
    struct rows *r = fanout_head(s);
    uint64_t want = n->limit + n->offset;
    fanout_touch(s);
    while (r->next < r->block.rows && n->picks.len < want) {
        const struct tel_row_key *key = &r->block.keys[r->next];
        if (second && tel_row_key_cmp(key, second) < 0)
            return TEL_OK;
        if (n->picks.len > 0) {
            const struct pick *last = &n->picks.items[n->picks.len - 1];
            if (tel_row_key_cmp(key, &last->rows->block.keys[last->row]) >= 0)
                return tel_error_set(err, TEL_ERR_CORRUPT, "rows of partition %u are not in order",
                                     key->partition);
        }
        tel_vec_push(&n->picks, ((struct pick){r, r->next}));
        r->next++;
    }
    if (r->next == r->block.rows)
        hold(n, s);
    return TEL_OK;
}

static tel_code check_keys(struct fanout *f, struct tel_error *err)
{
    for (struct fanout_source *s = fanout_first(f); s; s = fanout_next(s))
        if (!fanout_head(s)->block.keys)
            return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent rows without their keys");
    return TEL_OK;
}

/* Keeps the rows that stand half-taken in their sources: they are picked from. */
static void hold_begun(struct newest *n, struct fanout *f)
{
    for (struct fanout_source *s = fanout_first(f), *next; s; s = next) {
        next = fanout_next(s);
        if (fanout_head(s)->next > 0)
            hold(n, s);
    }
}

tel_code newest_take(struct newest *n, struct fanout *f, bool *ret_full, struct tel_error *err)
{
    uint64_t want = n->limit + n->offset;
    while (n->picks.len < want && fanout_all_ready(f)) {
        tel_code rc = check_keys(f, err);
        if (rc != TEL_OK)
            return rc;
        const struct tel_row_key *second;
        struct fanout_source *s = best_source(f, &second);
        if (!s)
            break;
        rc = take_run(n, s, second, err);
        if (rc != TEL_OK)
            return rc;
        if (n->held_bytes > n->memory_max)
            return tel_error_set(
                err, TEL_ERR_LIMIT,
                "the newest %llu rows need more than the query's memory of %zu MiB",
                (unsigned long long)want, n->memory_max >> 20);
    }
    if (n->picks.len >= want)
        hold_begun(n, f);
    *ret_full = n->picks.len >= want;
    return TEL_OK;
}

static bool column_empty(const struct tel_column *c, const struct pick *picks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c->values[picks[i].row].len > 0)
            return false;
    return true;
}

/* The row of the i-th line of a block of picks[0..count), which are newest first. */
static size_t row_at(const struct newest *n, const struct pick *picks, size_t count, size_t i)
{
    return picks[n->newest_first ? i : count - 1 - i].row;
}

/* picks[0..count), all of the same rows, in the order asked for. */
static void make_block(struct newest *n, const struct pick *picks, size_t count,
                       struct tel_block *ret)
{
    const struct tel_block *from = &picks[0].rows->block;
    struct tel_row_key *keys = TEL_ARENA_ARRAY(&n->arena, struct tel_row_key, count);
    for (size_t i = 0; i < count; i++)
        keys[i] = from->keys[row_at(n, picks, count, i)];
    struct tel_column *columns = TEL_ARENA_ARRAY(&n->arena, struct tel_column, from->column_count);
    size_t used = 0;
    for (size_t c = 0; c < from->column_count; c++) {
        const struct tel_column *col = &from->columns[c];
        if (!col->values) {
            columns[used++] = *col;
            continue;
        }
        if (column_empty(col, picks, count))
            continue;
        struct tel_span *values = TEL_ARENA_ARRAY(&n->arena, struct tel_span, count);
        for (size_t i = 0; i < count; i++)
            values[i] = col->values[row_at(n, picks, count, i)];
        columns[used++] = (struct tel_column){.name = col->name, .values = values};
    }
    *ret =
        (struct tel_block){.rows = count, .keys = keys, .column_count = used, .columns = columns};
}

/* The next run of picks that lie in the same rows: [*ret_begin, *ret_end). */
static bool next_run(struct newest *n, size_t *ret_begin, size_t *ret_end)
{
    if (n->next >= n->left)
        return false;
    const struct pick *picks = n->picks.items;
    size_t begin, end;
    if (n->newest_first) {
        begin = end = n->next;
        while (end < n->left && end - begin < BLOCK_ROWS_MAX && picks[end].rows == picks[begin].rows)
            end++;
        n->next = end;
    } else {
        end = n->left;
        begin = end - 1;
        while (begin > n->next && end - begin < BLOCK_ROWS_MAX &&
               picks[begin - 1].rows == picks[end - 1].rows)
            begin--;
        n->left = begin;
    }
    *ret_begin = begin;
    *ret_end = end;
    return true;
}

bool newest_next(struct newest *n, struct tel_block *ret)
{
    if (!n->begun) {
        n->begun = true;
        n->next = (size_t)TEL_MIN(n->offset, n->picks.len);
        n->left = n->picks.len;
    }
    size_t begin, end;
    if (!next_run(n, &begin, &end))
        return false;
    tel_arena_reset(&n->arena);
    make_block(n, &n->picks.items[begin], end - begin, ret);
    return true;
}

void newest_drop(struct fanout *f)
{
    for (struct fanout_source *s = fanout_first(f), *next; s; s = next) {
        next = fanout_next(s);
        rows_free(fanout_pop(s));
    }
}

bool newest_last_key(const struct newest *n, struct tel_row_key *ret)
{
    if (n->picks.len == 0 || n->picks.len < n->limit + n->offset)
        return false;
    const struct pick *last = &n->picks.items[n->picks.len - 1];
    *ret = last->rows->block.keys[last->row];
    return true;
}
