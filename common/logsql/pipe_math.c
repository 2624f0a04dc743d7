/*
 * math a / 1000 as b, round(c) as d: arithmetic on fields. A field that holds no number is NaN.
 * Expressions are evaluated column by column.
 *
 *     loosest  default  or  xor  &  + -  * / %  ^  tightest; all bind to the left; unary - first
 */
#include <math.h>

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/logsql/number.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

enum math_op {
    MATH_CONST,
    MATH_FIELD,
    MATH_MINUS, /* unary */
    MATH_POW,
    MATH_MUL,
    MATH_DIV,
    MATH_MOD,
    MATH_ADD,
    MATH_SUB,
    MATH_AND,
    MATH_XOR,
    MATH_OR,
    MATH_DEFAULT,
    MATH_ABS,
    MATH_CEIL,
    MATH_EXP,
    MATH_FLOOR,
    MATH_LN,
    MATH_MAX,
    MATH_MIN,
    MATH_NOW,
    MATH_RAND,
    MATH_ROUND,
};

static const struct math_info {
    enum math_op op;
    const char *name;
    int priority; /* of binary operators; 0: a function */
    size_t min_args, max_args;
} infos[] = {
    {MATH_POW, "^", 1, 2, 2},     {MATH_MUL, "*", 2, 2, 2},
    {MATH_DIV, "/", 2, 2, 2},     {MATH_MOD, "%", 2, 2, 2},
    {MATH_ADD, "+", 3, 2, 2},     {MATH_SUB, "-", 3, 2, 2},
    {MATH_AND, "&", 4, 2, 2},     {MATH_XOR, "xor", 5, 2, 2},
    {MATH_OR, "or", 6, 2, 2},     {MATH_DEFAULT, "default", 10, 2, 2},
    {MATH_ABS, "abs", 0, 1, 1},   {MATH_CEIL, "ceil", 0, 1, 1},
    {MATH_EXP, "exp", 0, 1, 1},   {MATH_FLOOR, "floor", 0, 1, 1},
    {MATH_LN, "ln", 0, 1, 1},     {MATH_MAX, "max", 0, 2, 64},
    {MATH_MIN, "min", 0, 2, 64},  {MATH_NOW, "now", 0, 0, 0},
    {MATH_RAND, "rand", 0, 0, 0}, {MATH_ROUND, "round", 0, 1, 2},
};

struct math_expr {
    enum math_op op;
    const struct math_info *info;
    struct tel_span text; /* of a constant, a field's name */
    bool quoted;
    double value;
    struct math_expr **args;
    size_t count;
};

struct math_entry {
    struct math_expr *expr;
    struct tel_span result;
};

struct math_pipe {
    struct tel_pipe base;
    struct math_entry *entries;
    size_t count;
};

/* ---- parsing
 * ------------------------------------------------------------------------------------------ */

static tel_code parse_expr(struct tel_parser *p, int max_priority, struct math_expr **ret);

static struct math_expr *new_expr(struct tel_parser *p, const struct math_info *info,
                                  enum math_op op, struct math_expr **args, size_t count)
{
    struct math_expr *e = TEL_ARENA_NEW(p->arena, struct math_expr);
    e->op = op;
    e->info = info;
    e->args = TEL_ARENA_ARRAY(p->arena, struct math_expr *, count + 1);
    if (count)
        memcpy(e->args, args, count * sizeof *args);
    e->count = count;
    return e;
}

static tel_code parse_call(struct tel_parser *p, const struct math_info *info,
                           struct math_expr **ret)
{
    struct math_expr *args[64];
    size_t n = 0, at = tel_lexer_offset(&p->lex);
    tel_lexer_next(&p->lex);
    TEL_TRY(tel_parse_expect(p, "(", "'('"));
    while (!tel_parse_is(p, ")")) {
        if (n == TEL_ARRAY_LEN(args))
            return tel_parse_fail(p, at, "at most 64 arguments of %s are taken", info->name);
        TEL_TRY(parse_expr(p, 10, &args[n++]));
        if (!tel_parse_is(p, ")"))
            TEL_TRY(tel_parse_expect(p, ",", "',' or ')' behind the argument"));
    }
    tel_lexer_next(&p->lex);
    if (n < info->min_args || n > info->max_args)
        return tel_parse_fail(p, at, "%s takes %zu to %zu arguments, found %zu", info->name,
                              info->min_args, info->max_args, n);
    *ret = new_expr(p, info, info->op, args, n);
    return TEL_OK;
}

static tel_code parse_atom(struct tel_parser *p, struct math_expr **ret)
{
    size_t at = tel_lexer_offset(&p->lex);
    bool quoted = p->lex.token.kind == TEL_TOKEN_QUOTED;
    struct tel_span text;
    TEL_TRY(tel_parse_until(p, "a number, a field or a function", ",()[]|!=+-*/%^&", &text));
    struct math_expr *e = new_expr(p, NULL, MATH_FIELD, NULL, 0);
    e->text = text.len ? text : TEL_SPAN("_msg");
    e->quoted = quoted;
    if (tel_number_prefix(text)) {
        if (!tel_number_parse_any(text, &e->value))
            return tel_parse_fail(p, at, "expected a number, found %.*s",
                                  (int)TEL_MIN(text.len, 60), text.ptr);
        e->op = MATH_CONST;
    }
    *ret = e;
    return TEL_OK;
}

static tel_code parse_operand(struct tel_parser *p, struct math_expr **ret)
{
    TEL_TRY(tel_parse_enter(p));
    if (tel_parse_accept(p, "(")) {
        TEL_TRY(parse_expr(p, 10, ret));
        TEL_TRY(tel_parse_expect(p, ")", "')'"));
    } else if (tel_parse_accept(p, "-")) {
        struct math_expr *arg;
        TEL_TRY(parse_operand(p, &arg));
        *ret = new_expr(p, NULL, MATH_MINUS, &arg, 1);
    } else if (tel_parse_accept(p, "+")) {
        TEL_TRY(parse_operand(p, ret));
    } else {
        const struct math_info *call = NULL;
        struct tel_lexer ahead = p->lex;
        tel_lexer_next(&ahead);
        for (size_t i = 0; i < TEL_ARRAY_LEN(infos); i++)
            if (!infos[i].priority && tel_parse_is(p, infos[i].name) && tel_lexer_is(&ahead, "("))
                call = &infos[i];
        TEL_TRY(call ? parse_call(p, call, ret) : parse_atom(p, ret));
    }
    tel_parse_leave(p);
    return TEL_OK;
}

static const struct math_info *operator_here(const struct tel_parser *p)
{
    for (size_t i = 0; i < TEL_ARRAY_LEN(infos); i++)
        if (infos[i].priority && tel_parse_is(p, infos[i].name))
            return &infos[i];
    return NULL;
}

/* Operators of at most max_priority (the higher the looser). */
static tel_code parse_expr(struct tel_parser *p, int max_priority, struct math_expr **ret)
{
    struct math_expr *left;
    TEL_TRY(parse_operand(p, &left));
    const struct math_info *op;
    while ((op = operator_here(p)) && op->priority <= max_priority) {
        struct math_expr *args[2] = {left};
        tel_lexer_next(&p->lex);
        TEL_TRY(tel_parse_enter(p));
        TEL_TRY(parse_expr(p, op->priority - 1, &args[1]));
        tel_parse_leave(p);
        left = new_expr(p, op, op->op, args, 2);
    }
    *ret = left;
    return TEL_OK;
}

static void print_expr(struct tel_buf *out, const struct math_expr *e)
{
    if (e->op == MATH_CONST || e->op == MATH_FIELD) {
        if (e->op == MATH_FIELD)
            tel_print_token(out, e->text);
        else if (e->quoted)
            tel_lexer_quote(out, e->text);
        else
            tel_buf_add_span(out, e->text);
    } else if (e->op == MATH_MINUS) {
        bool parens = e->args[0]->info && e->args[0]->info->priority;
        tel_buf_add_span(out, parens ? TEL_SPAN("-(") : TEL_SPAN("-"));
        print_expr(out, e->args[0]);
        tel_buf_add_span(out, parens ? TEL_SPAN(")") : TEL_SPAN(""));
    } else if (e->info->priority) {
        for (size_t i = 0; i < 2; i++) {
            const struct math_info *arg = e->args[i]->info;
            bool parens =
                arg && arg->priority &&
                (i ? arg->priority >= e->info->priority : arg->priority > e->info->priority);
            if (i)
                tel_buf_printf(out, " %s ", e->info->name);
            if (parens)
                tel_buf_add_char(out, '(');
            print_expr(out, e->args[i]);
            if (parens)
                tel_buf_add_char(out, ')');
        }
    } else {
        tel_buf_printf(out, "%s(", e->info->name);
        for (size_t i = 0; i < e->count; i++) {
            if (i)
                TEL_BUF_ADD_LIT(out, ", ");
            print_expr(out, e->args[i]);
        }
        tel_buf_add_char(out, ')');
    }
}

static tel_code parse_entry(struct tel_parser *p, struct math_entry *entry)
{
    TEL_TRY(parse_expr(p, 10, &entry->expr));
    if (tel_parse_accept(p, "as") || (!tel_parse_at_end(p) && !tel_parse_is(p, ",")))
        return tel_parse_field(p, &entry->result);
    struct tel_buf name = {0};
    print_expr(&name, entry->expr);
    entry->result = tel_arena_copy(p->arena, tel_buf_span(&name));
    tel_buf_free(&name);
    return TEL_OK;
}

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    TEL_VEC(struct math_entry) v = {0};
    tel_code rc;
    do {
        struct math_entry entry = {0};
        rc = parse_entry(p, &entry);
        if (rc == TEL_OK)
            tel_vec_push(&v, entry);
    } while (rc == TEL_OK && tel_parse_accept(p, ","));
    if (rc == TEL_OK) {
        struct math_pipe *m = TEL_ARENA_NEW(p->arena, struct math_pipe);
        m->entries = TEL_ARENA_ARRAY(p->arena, struct math_entry, v.len);
        memcpy(m->entries, v.items, v.len * sizeof v.items[0]);
        m->count = v.len;
        *ret = &m->base;
    }
    tel_vec_free(&v);
    return rc;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct math_pipe *m = (const struct math_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "math ");
    for (size_t i = 0; i < m->count; i++) {
        if (i)
            TEL_BUF_ADD_LIT(out, ", ");
        bool parens = m->entries[i].expr->info && m->entries[i].expr->info->priority;
        if (parens)
            tel_buf_add_char(out, '(');
        print_expr(out, m->entries[i].expr);
        if (parens)
            tel_buf_add_char(out, ')');
        TEL_BUF_ADD_LIT(out, " as ");
        tel_print_token(out, m->entries[i].result);
    }
}

static void expr_fields(const struct math_expr *e, struct tel_fields *fields)
{
    if (e->op == MATH_FIELD)
        tel_fields_add(fields, e->text);
    for (size_t i = 0; i < e->count; i++)
        expr_fields(e->args[i], fields);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct math_pipe *m = (const struct math_pipe *)pipe;
    for (size_t i = m->count; i-- > 0;) {
        if (!tel_fields_has(fields, m->entries[i].result))
            continue;
        tel_fields_remove(fields, m->entries[i].result);
        expr_fields(m->entries[i].expr, fields);
    }
}

/* ---- evaluating
 * --------------------------------------------------------------------------------------- */

static uint64_t to_bits(double f)
{
    return f >= 0 && f < 18446744073709551616.0
               ? (uint64_t)f
               : (uint64_t)(int64_t)TEL_MAX(TEL_MIN(f, 9e18), -9e18);
}

static double modulo(double x, double y)
{
    if (fabs(x) < 9e15 && fabs(y) < 9e15 && x == floor(x) && y == floor(y))
        return y == 0 ? NAN : (double)((int64_t)x % (int64_t)y);
    return fmod(x, y);
}

/* To the nearest multiple, without the noise of binary fractions. */
static double round_to(double f, double nearest)
{
    double scale = 1;
    if (!(nearest != 0) || isinf(f))
        return NAN;
    while (nearest * scale != floor(nearest * scale) && scale < 1e15)
        scale *= 10;
    f += 0.5 * copysign(nearest, f);
    f -= fmod(f, nearest);
    return trunc(f * scale + copysign(1e-9, f)) / scale;
}

static double binary(enum math_op op, double a, double b)
{
    switch ((int)op) {
    case MATH_POW:
        return pow(a, b);
    case MATH_MUL:
        return a * b;
    case MATH_DIV:
        return a / b;
    case MATH_MOD:
        return modulo(a, b);
    case MATH_ADD:
        return a + b;
    case MATH_SUB:
        return a - b;
    case MATH_AND:
        return isnan(a) || isnan(b) ? NAN : (double)(to_bits(a) & to_bits(b));
    case MATH_XOR:
        return isnan(a) || isnan(b) ? NAN : (double)(to_bits(a) ^ to_bits(b));
    case MATH_OR:
        return isnan(a) || isnan(b) ? NAN : (double)(to_bits(a) | to_bits(b));
    case MATH_DEFAULT:
        return isnan(a) ? b : a;
    case MATH_ROUND:
        return round_to(a, b);
    case MATH_MAX:
        return isnan(a) || b > a ? b : a;
    case MATH_MIN:
        return isnan(a) || b < a ? b : a;
    default:
        TEL_UNREACHABLE();
    }
}

static double unary(enum math_op op, double a)
{
    switch ((int)op) {
    case MATH_MINUS:
        return -a;
    case MATH_ABS:
        return fabs(a);
    case MATH_CEIL:
        return ceil(a);
    case MATH_EXP:
        return exp(a);
    case MATH_FLOOR:
        return floor(a);
    case MATH_LN:
        return log(a);
    case MATH_ROUND:
        return round(a);
    default:
        TEL_UNREACHABLE();
    }
}

static void load_field(struct tel_stage *stage, const struct math_expr *e,
                       const struct tel_block *block, double *out)
{
    const struct tel_column *column = tel_block_column(block, e->text);
    (void)stage;
    for (size_t i = 0; i < block->rows; i++) {
        out[i] = NAN;
        if (column && !column->values)
            out[i] = (double)block->keys[i].time_ns;
        else if (column && i > 0 && column->values[i].ptr == column->values[i - 1].ptr &&
                 column->values[i].len == column->values[i - 1].len)
            out[i] = out[i - 1];
        else if (column)
            tel_number_parse_any(column->values[i], &out[i]);
    }
}

static double *evaluate(struct tel_stage *stage, const struct math_expr *e,
                        const struct tel_block *block)
{
    struct tel_rand *rand = stage->state;
    double *out = TEL_ARENA_ARRAY(&stage->scratch, double, block->rows + 1);
    if (e->op == MATH_FIELD) {
        load_field(stage, e, block, out);
        return out;
    }
    double *args[64];
    for (size_t i = 0; i < e->count; i++)
        args[i] = evaluate(stage, e->args[i], block);
    for (size_t r = 0; r < block->rows; r++) {
        if (e->op == MATH_CONST)
            out[r] = e->value;
        else if (e->op == MATH_NOW)
            out[r] = (double)stage->query->now_ns;
        else if (e->op == MATH_RAND)
            out[r] = tel_rand_double(rand);
        else if (e->count == 1)
            out[r] = unary(e->op, args[0][r]);
        else
            out[r] = binary(e->op, args[0][r], args[1][r]);
        for (size_t i = 2; i < e->count; i++)
            out[r] = binary(e->op, out[r], args[i][r]);
    }
    return out;
}

static tel_code math_open(struct tel_stage *stage, struct tel_error *err)
{
    (void)err;
    tel_rand_init(stage->state, stage->exec->seed ? stage->exec->seed : tel_rand_seed());
    return TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct math_pipe *m = (const struct math_pipe *)stage->pipe;
    struct tel_block_edit edit;
    tel_block_edit_init(&edit, block, &stage->scratch);
    struct tel_buf text = {0};
    for (size_t i = 0; i < m->count; i++) {
        double *f = evaluate(stage, m->entries[i].expr, &edit.block);
        struct tel_span *values =
            TEL_ARENA_ARRAY(&stage->scratch, struct tel_span, block->rows + 1);
        for (size_t r = 0; r < block->rows; r++) {
            tel_number_print(&text, f[r]);
            values[r] = tel_text_take(&stage->scratch, &text);
        }
        tel_block_edit_set(&edit, m->entries[i].result, values);
    }
    tel_buf_free(&text);
    return tel_stage_emit(stage, &edit.block, err);
}

const struct tel_pipe_ops tel_pipe_math = {.name = "math",
                                           .parse = parse,
                                           .print = print,
                                           .needed = needed,
                                           .state_size = sizeof(struct tel_rand),
                                           .open = math_open,
                                           .push = push};
