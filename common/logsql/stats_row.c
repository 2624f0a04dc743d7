/* row_any, row_min, row_max: one row of the group as a JSON object: any, or the one with the least
 * or greatest value of a field. */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/logsql/order.h"
#include "common/logsql/parse.h"
#include "common/logsql/stats.h"
#include "common/logsql/strset.h"

struct row_state {
    struct tel_buf row, value;
};

static tel_code parse_source(struct tel_parser *p, struct tel_stats_func *f)
{
    struct tel_span *args;
    size_t count, at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_fields_in_parens(p, &args, &count));
    if (count == 0 || tel_field_is_wildcard(args[0]))
        return tel_parse_fail(p, at, "expected the field to compare as the first argument");
    f->source = args[0];
    f->fields = args + 1;
    f->field_count = count - 1;
    return TEL_OK;
}

/* Does a row with this value take the place of the one that is kept? */
static bool wins(const struct tel_stats_func *f, const struct row_state *s, struct tel_span value)
{
    if (f->ops == &tel_stats_row_any)
        return s->row.len == 0;
    if (value.len == 0)
        return false;
    if (s->value.len == 0)
        return true;
    struct tel_span kept = tel_buf_span(&s->value);
    return f->ops == &tel_stats_row_min ? tel_order_less(value, kept) : tel_order_less(kept, value);
}

static tel_code update(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                       struct tel_error *err)
{
    (void)err;
    for (size_t i = 0; i < b->rows; i++) {
        struct row_state *s = tel_stats_state(b, f, i);
        struct tel_span value = b->source ? b->source[i] : (struct tel_span){"", 0};
        if (!s || !wins(f, s, value))
            continue;
        tel_buf_clear(&s->row);
        tel_stats_print_row(b, i, &s->row);
        tel_buf_clear(&s->value);
        tel_buf_add_span(&s->value, value);
    }
    return TEL_OK;
}

static void save(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    const struct row_state *s = state;
    (void)f;
    if (s->row.len == 0)
        return;
    tel_strlist_add(out, tel_buf_span(&s->value));
    tel_strlist_add(out, tel_buf_span(&s->row));
}

static bool merge(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    struct row_state *s = state;
    struct tel_span value, row;
    size_t pos = 0;
    if (bytes.len == 0)
        return true;
    if (!tel_strlist_next(bytes, &pos, &value) || !tel_strlist_next(bytes, &pos, &row) ||
        pos != bytes.len)
        return false;
    if (!wins(f, s, value))
        return true;
    tel_buf_clear(&s->row);
    tel_buf_add_span(&s->row, row);
    tel_buf_clear(&s->value);
    tel_buf_add_span(&s->value, value);
    return true;
}

static void result(const struct tel_stats_func *f, const void *state, const struct tel_stage *stage,
                   struct tel_buf *out)
{
    const struct row_state *s = state;
    (void)f;
    (void)stage;
    if (s->row.len)
        tel_buf_add_span(out, tel_buf_span(&s->row));
    else
        TEL_BUF_ADD_LIT(out, "{}");
}

static void drop(void *state)
{
    struct row_state *s = state;
    tel_buf_free(&s->row);
    tel_buf_free(&s->value);
}

static size_t held(const void *state)
{
    const struct row_state *s = state;
    return s->row.cap + s->value.cap;
}

#define ROW_OPS(fn_name, parse_fn)                                                                 \
    {                                                                                              \
        .name = fn_name, .state_size = sizeof(struct row_state), .parse = parse_fn,                \
        .update = update, .save = save, .merge = merge, .result = result, .drop = drop,            \
        .held = held                                                                               \
    }

const struct tel_stats_ops tel_stats_row_any = ROW_OPS("row_any", NULL);
const struct tel_stats_ops tel_stats_row_min = ROW_OPS("row_min", parse_source);
const struct tel_stats_ops tel_stats_row_max = ROW_OPS("row_max", parse_source);
