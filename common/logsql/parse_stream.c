/* Stream selectors: {app="nginx", host!~"a|b" or env in ("x", "y")}. */
#include "common/base/vec.h"
#include "common/logsql/parse.h"

/* What ends an unquoted label or value. */
#define STOPS ",(){}[]|!=~"

static tel_code parse_match(struct tel_parser *p, struct tel_label_match *m)
{
    TEL_TRY(tel_parse_until(p, "a label's name", STOPS, &m->label));
    size_t at = tel_lexer_offset(&p->lex);
    if (tel_parse_is(p, "in") || tel_parse_is(p, "not_in")) {
        m->is_list = true;
        m->negative = tel_parse_is(p, "not_in");
        tel_lexer_next(&p->lex);
        if (tel_parse_is(p, "(")) {
            struct tel_lexer ahead = p->lex;
            tel_lexer_next(&ahead);
            if (tel_lexer_is(&ahead, "*")) { /* in (*): any value */
                tel_lexer_next(&ahead);
                p->lex = ahead;
                TEL_TRY(tel_parse_expect(p, ")", "')' behind '*'"));
                m->is_list = false;
                m->value = TEL_SPAN(".*");
                return tel_parse_regex(p, m->value, true, at, &m->regex);
            }
        }
        return tel_parse_args(p, &m->values, &m->value_count);
    }
    bool regex = tel_parse_is(p, "=~") || tel_parse_is(p, "!~");
    m->negative = tel_parse_is(p, "!=") || tel_parse_is(p, "!~");
    if (!regex && !m->negative && !tel_parse_is(p, "="))
        return tel_parse_expected(p, "one of = != =~ !~ in not_in behind the label");
    tel_lexer_next(&p->lex);
    at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_until(p, "the label's value", STOPS, &m->value));
    return regex ? tel_parse_regex(p, m->value, true, at, &m->regex) : TEL_OK;
}

typedef TEL_VEC(struct tel_label_match) match_vec;
typedef TEL_VEC(struct tel_stream_group) group_vec;

static void end_group(struct tel_parser *p, match_vec *matches, group_vec *groups)
{
    struct tel_stream_group group = {
        .matches = TEL_ARENA_ARRAY(p->arena, struct tel_label_match, matches->len + 1),
        .count = matches->len,
    };
    if (matches->len)
        memcpy(group.matches, matches->items, matches->len * sizeof matches->items[0]);
    tel_vec_push(groups, group);
    tel_vec_clear(matches);
}

static tel_code parse_groups(struct tel_parser *p, match_vec *matches, group_vec *groups)
{
    while (!tel_parse_is(p, "}")) {
        struct tel_label_match m = {0};
        TEL_TRY(parse_match(p, &m));
        tel_vec_push(matches, m);
        if (tel_parse_accept(p, "or")) {
            end_group(p, matches, groups);
            if (tel_parse_is(p, "}"))
                return tel_parse_expected(p, "a label behind 'or'");
        } else if (!tel_parse_is(p, "}")) {
            TEL_TRY(tel_parse_expect(p, ",", "',', 'or' or '}' behind the label's value"));
        }
    }
    tel_lexer_next(&p->lex);
    end_group(p, matches, groups);
    return TEL_OK;
}

tel_code tel_parse_stream_filter(struct tel_parser *p, size_t pos, struct tel_filter **ret)
{
    match_vec matches = {0};
    group_vec groups = {0};
    tel_lexer_next(&p->lex);
    tel_code rc = parse_groups(p, &matches, &groups);
    if (rc == TEL_OK) {
        struct tel_filter *f = tel_parse_leaf(p, TEL_FILTER_STREAM, pos, TEL_SPAN("_stream"));
        f->u.stream.groups = TEL_ARENA_ARRAY(p->arena, struct tel_stream_group, groups.len + 1);
        memcpy(f->u.stream.groups, groups.items, groups.len * sizeof groups.items[0]);
        f->u.stream.count = groups.len;
        *ret = f;
    }
    tel_vec_free(&matches);
    tel_vec_free(&groups);
    return rc;
}
