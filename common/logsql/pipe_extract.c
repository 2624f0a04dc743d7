/* extract "ip=<ip> " and extract_regexp "(?P<ip>[0-9.]+)": fields out of text. */
#include "common/logsql/parse.h"
#include "common/logsql/pattern.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"
#include "common/logsql/regex.h"
#include "common/logsql/unpack.h"

struct extract_pipe {
    struct tel_pipe base;
    struct tel_unpack unpack;
    struct tel_span text;
    struct tel_pattern pattern;
    struct tel_regex *regex;
    struct tel_span *results; /* the names that come out */
    size_t result_count;
};

static tel_code check_pattern(struct tel_parser *p, struct extract_pipe *e, size_t at)
{
    if (!tel_pattern_parse(e->text, p->arena, &e->pattern))
        return tel_parse_fail(p, at, "expected '>' behind each '<' of the pattern");
    e->results = TEL_ARENA_ARRAY(p->arena, struct tel_span, e->pattern.count + 1);
    for (size_t i = 0; i < e->pattern.count; i++) {
        const struct tel_pattern_step *s = &e->pattern.steps[i];
        if (i > 0 && s->prefix.len == 0)
            return tel_parse_fail(p, at, "expected text between two fields of the pattern");
        if (tel_field_is_wildcard(s->field))
            return tel_parse_fail(p, at, "a field of the pattern cannot end with '*'");
        if (s->field.len)
            e->results[e->result_count++] = s->field;
    }
    if (e->result_count == 0)
        return tel_parse_fail(p, at, "expected at least one <field> with a name in the pattern");
    return TEL_OK;
}

static tel_code check_regexp(struct tel_parser *p, struct extract_pipe *e, size_t at)
{
    TEL_TRY(tel_parse_regex(p, e->text, false, at, &e->regex));
    size_t groups = tel_regex_group_count(e->regex);
    e->results = TEL_ARENA_ARRAY(p->arena, struct tel_span, groups + 1);
    for (size_t i = 1; i <= groups; i++) {
        struct tel_span name = tel_regex_group_name(e->regex, i);
        if (name.len)
            e->results[e->result_count++] = name;
    }
    if (e->result_count == 0)
        return tel_parse_fail(p, at, "expected at least one (?P<field>...) in the expression");
    return TEL_OK;
}

static tel_code parse(struct tel_parser *p, bool regexp, struct tel_pipe **ret)
{
    struct extract_pipe *e = TEL_ARENA_NEW(p->arena, struct extract_pipe);
    TEL_TRY(tel_parse_if(p, &e->unpack.condition));
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a pattern", &e->text));
    TEL_TRY(regexp ? check_regexp(p, e, at) : check_pattern(p, e, at));
    TEL_TRY(tel_unpack_parse_rest(p, &e->unpack, false, false));
    *ret = &e->base;
    return TEL_OK;
}

static tel_code parse_extract(struct tel_parser *p, struct tel_pipe **ret)
{
    return parse(p, false, ret);
}

static tel_code parse_regexp(struct tel_parser *p, struct tel_pipe **ret)
{
    return parse(p, true, ret);
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct extract_pipe *e = (const struct extract_pipe *)pipe;
    tel_buf_printf(out, "%s", pipe->ops->name);
    tel_print_if(out, e->unpack.condition);
    tel_buf_add_char(out, ' ');
    tel_lexer_quote(out, e->text);
    tel_unpack_print_rest(out, &e->unpack);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct extract_pipe *e = (const struct extract_pipe *)pipe;
    tel_unpack_needed(fields, &e->unpack, e->results, e->result_count);
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    struct extract_pipe *e = (struct extract_pipe *)pipe;
    return e->unpack.condition ? visit(ctx, &e->unpack.condition, err) : TEL_OK;
}

static const struct tel_pattern *excerpt(const struct tel_pipe *pipe)
{
    const struct extract_pipe *e = (const struct extract_pipe *)pipe;
    return e->unpack.condition || !tel_span_eq_cstr(e->unpack.from, TEL_FIELD_MSG) ? NULL : &e->pattern;
}

#define STEPS_STACK 64

static tel_code run_pattern(void *ctx, struct tel_span value, struct tel_unpacker *u,
                            struct tel_error *err)
{
    const struct extract_pipe *e = ctx;
    struct tel_span stack[STEPS_STACK], *values = stack;
    (void)err;
    if (e->pattern.count > STEPS_STACK)
        values = TEL_ARENA_ARRAY(tel_unpack_arena(u), struct tel_span, e->pattern.count);
    tel_pattern_match(&e->pattern, value, tel_unpack_arena(u), values);
    for (size_t i = 0; i < e->pattern.count; i++)
        if (e->pattern.steps[i].field.len)
            tel_unpack_add(u, e->pattern.steps[i].field, values[i]);
    return TEL_OK;
}

static tel_code run_regexp(void *ctx, struct tel_span value, struct tel_unpacker *u,
                           struct tel_error *err)
{
    const struct extract_pipe *e = ctx;
    struct tel_span groups[TEL_REGEX_GROUPS_MAX];
    size_t count;
    tel_code rc = tel_regex_exec(e->regex, value, 0, groups, &count, err);
    for (size_t i = 1; i <= tel_regex_group_count(e->regex) && rc == TEL_OK; i++) {
        struct tel_span name = tel_regex_group_name(e->regex, i);
        if (name.len)
            tel_unpack_add(u, name,
                           i < count && groups[i].ptr ? groups[i] : (struct tel_span){"", 0});
    }
    return rc;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct extract_pipe *e = (const struct extract_pipe *)stage->pipe;
    return tel_unpack_run(stage, &e->unpack, block, e->regex ? run_regexp : run_pattern,
                          (void *)(uintptr_t)e, err);
}

const struct tel_pipe_ops tel_pipe_extract = {.name = "extract",
                                              .parse = parse_extract,
                                              .print = print,
                                              .needed = needed,
                                              .filters = filters,
                                              .excerpt = excerpt,
                                              .push = push};
const struct tel_pipe_ops tel_pipe_extract_regexp = {.name = "extract_regexp",
                                                     .parse = parse_regexp,
                                                     .print = print,
                                                     .needed = needed,
                                                     .filters = filters,
                                                     .push = push};
