/* See score.h. */
#include "common/logsql/score.h"

#include <math.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/logsql/lexer.h"
#include "common/logsql/number.h"
#include "common/logsql/parser.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/print.h"

#define K1 1.2
#define B  0.75

/* ---- what is scored
 * ---------------------------------------------------------------------------------- */

static void add_term(struct tel_score *s, struct tel_span field, struct tel_span word)
{
    size_t f = 0;
    while (f < s->field_count && !tel_span_eq(s->fields[f], field))
        f++;
    for (size_t i = 0; i < s->term_count; i++)
        if (s->terms[i].field == f && tel_span_eq(s->terms[i].word, word))
            return;
    if (s->term_count == TEL_SCORE_TERMS_MAX)
        return;
    if (f == s->field_count)
        s->fields[s->field_count++] = field;
    s->terms[s->term_count++] = (struct tel_score_term){.word = word, .field = f};
}

static void add_words(struct tel_score *s, struct tel_span field, struct tel_span text)
{
    struct tel_span word;
    size_t pos = 0;
    while (tel_words_next(text, &pos, &word))
        add_term(s, field, word);
}

static void collect_terms(struct tel_score *s, const struct tel_filter *f)
{
    if (f->op == TEL_FILTER_AND || f->op == TEL_FILTER_OR)
        for (size_t i = 0; i < f->kid_count; i++)
            collect_terms(s, f->kids[i]);
    if (tel_span_eq_cstr(f->field, TEL_FIELD_STREAM_ID))
        return;
    if (f->op == TEL_FILTER_PHRASE)
        add_words(s, f->field, f->text);
    if (f->op == TEL_FILTER_SEQUENCE || f->op == TEL_FILTER_CONTAINS_ALL ||
        f->op == TEL_FILTER_CONTAINS_ANY)
        for (size_t i = 0; i < f->value_count; i++)
            add_words(s, f->field, f->values[i]);
}

struct tel_score *tel_score_new(const struct tel_query *query, struct tel_arena *arena)
{
    struct tel_phrase name = tel_phrase_make(TEL_SPAN("_score"));
    struct tel_buf text = {0};
    for (size_t i = 0; i < query->pipe_count; i++) {
        tel_pipe_print(&text, query->pipes[i]);
        tel_buf_add_char(&text, ' ');
    }
    bool named = tel_phrase_find(&name, tel_buf_span(&text), 0, false) != SIZE_MAX;
    tel_buf_free(&text);
    if (!named)
        return NULL;
    struct tel_score *s = TEL_ARENA_NEW(arena, struct tel_score);
    collect_terms(s, query->filter);
    s->known = s->term_count == 0; /* every score is 0 then */
    return s;
}

/* ---- the numbers
 * ------------------------------------------------------------------------------------- */

void tel_score_print(const struct tel_score *s, struct tel_buf *out)
{
    tel_buf_add_u64(out, s->docs);
    for (size_t i = 0; i < s->field_count; i++) {
        tel_buf_add_char(out, ' ');
        tel_buf_add_u64(out, s->field_words[i]);
    }
    for (size_t i = 0; i < s->term_count; i++) {
        tel_buf_add_char(out, ' ');
        tel_buf_add_u64(out, s->terms[i].df);
    }
}

static bool next_number(struct tel_span *rest, uint64_t *ret)
{
    return rest->ptr && tel_number_u64(tel_span_split(rest, ' '), ret);
}

bool tel_score_parse(struct tel_score *s, struct tel_span text)
{
    struct tel_score copy = *s;
    bool ok = next_number(&text, &copy.docs);
    for (size_t i = 0; i < s->field_count; i++)
        ok = ok && next_number(&text, &copy.field_words[i]);
    for (size_t i = 0; i < s->term_count; i++)
        ok = ok && next_number(&text, &copy.terms[i].df);
    if (!ok || text.ptr)
        return false;
    copy.known = true;
    *s = copy;
    return true;
}

static bool is_scope(const struct tel_filter *f)
{
    return f->op == TEL_FILTER_TIME || f->op == TEL_FILTER_DAY_RANGE ||
           f->op == TEL_FILTER_WEEK_RANGE || f->op == TEL_FILTER_STREAM;
}

/* The query that counts: the times and streams of the query, and stats over them. */
static void print_counting(const struct tel_query *q, struct tel_buf *out)
{
    const struct tel_score *s = q->score;
    struct tel_filter all = {.op = TEL_FILTER_ALL};
    struct tel_query head = *q;
    head.filter = &all;
    head.pipe_count = 0;
    head.score = NULL;
    tel_query_print(out, &head);
    if (is_scope(q->filter)) {
        tel_buf_add_char(out, ' ');
        tel_filter_print(out, q->filter);
    }
    for (size_t i = 0; q->filter->op == TEL_FILTER_AND && i < q->filter->kid_count; i++) {
        if (!is_scope(q->filter->kids[i]))
            continue;
        tel_buf_add_char(out, ' ');
        tel_filter_print(out, q->filter->kids[i]);
    }
    TEL_BUF_ADD_LIT(out, " | stats count() as n");
    for (size_t i = 0; i < s->field_count; i++) {
        TEL_BUF_ADD_LIT(out, ", sum_words(");
        tel_lexer_quote(out, s->fields[i]);
        tel_buf_printf(out, ") as w%zu", i);
    }
    for (size_t i = 0; i < s->term_count; i++) {
        TEL_BUF_ADD_LIT(out, ", count() if (");
        tel_lexer_quote(out, s->fields[s->terms[i].field]);
        tel_buf_add_char(out, ':');
        tel_lexer_quote(out, s->terms[i].word);
        tel_buf_printf(out, ") as d%zu", i);
    }
}

static void read_number(const struct tel_block *block, const char *prefix, size_t i, uint64_t *ret)
{
    char name[16];
    int len = snprintf(name, sizeof name, i == SIZE_MAX ? "%s" : "%s%zu", prefix, i);
    const struct tel_column *column = tel_block_column(block, tel_span_make(name, (size_t)len));
    if (column && column->values)
        tel_number_u64(column->values[0], ret);
}

static tel_code take_counts(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct tel_score *s = ctx;
    (void)err;
    if (block->rows == 0)
        return TEL_OK;
    read_number(block, "n", SIZE_MAX, &s->docs);
    for (size_t i = 0; i < s->field_count; i++)
        read_number(block, "w", i, &s->field_words[i]);
    for (size_t i = 0; i < s->term_count; i++)
        read_number(block, "d", i, &s->terms[i].df);
    s->known = true;
    return TEL_OK;
}

tel_code tel_score_gather(struct tel_query *q, struct tel_exec *exec, struct tel_error *err)
{
    struct tel_arena arena = {0};
    struct tel_buf text = {0};
    struct tel_query *counting;
    if (!exec->run)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "what _score needs cannot be counted here");
    print_counting(q, &text);
    tel_code rc = tel_query_parse(tel_buf_span(&text), q->now_ns, NULL, &arena, &counting, err);
    if (rc == TEL_OK) {
        rc = exec->run(exec->run_ctx, counting, take_counts, q->score, err);
        tel_query_done(counting);
    }
    if (rc == TEL_OK)
        q->options.given = true; /* the numbers are printed with the options */
    tel_buf_free(&text);
    tel_arena_free(&arena);
    return rc;
}

/* ---- scores
 * ------------------------------------------------------------------------------------------- */

static double field_score(const struct tel_score *s, size_t field, const double *idf,
                          struct tel_span value)
{
    uint32_t tf[TEL_SCORE_TERMS_MAX] = {0};
    struct tel_span word;
    size_t pos = 0, length = 0;
    double sum = 0;
    for (; tel_words_next(value, &pos, &word); length++)
        for (size_t t = 0; t < s->term_count; t++)
            if (s->terms[t].word.len == word.len && s->terms[t].field == field &&
                memcmp(s->terms[t].word.ptr, word.ptr, word.len) == 0)
                tf[t]++;
    double average = s->docs ? (double)s->field_words[field] / (double)s->docs : 0;
    double norm = average > 0 ? 1 - B + B * (double)length / average : 1;
    for (size_t t = 0; t < s->term_count; t++)
        if (tf[t])
            sum += idf[t] * tf[t] * (K1 + 1) / (tf[t] + K1 * norm);
    return sum;
}

const struct tel_span *tel_score_values(const struct tel_score *s, const struct tel_block *block,
                                        struct tel_arena *arena)
{
    struct tel_span *out = TEL_ARENA_ARRAY(arena, struct tel_span, block->rows + 1);
    const struct tel_span *columns[TEL_SCORE_TERMS_MAX];
    double idf[TEL_SCORE_TERMS_MAX];
    struct tel_buf text = {0};
    for (size_t f = 0; f < s->field_count; f++)
        columns[f] = tel_block_values(block, s->fields[f], arena);
    for (size_t t = 0; t < s->term_count; t++) {
        double df = (double)s->terms[t].df, docs = TEL_MAX((double)s->docs, df);
        idf[t] = log(1 + (docs - df + 0.5) / (df + 0.5));
    }
    for (size_t r = 0; r < block->rows; r++) {
        double sum = 0;
        for (size_t f = 0; f < s->field_count; f++)
            if (columns[f] && columns[f][r].len)
                sum += field_score(s, f, idf, columns[f][r]);
        tel_number_print(&text, sum);
        out[r] = tel_text_take(arena, &text);
    }
    tel_buf_free(&text);
    return out;
}
