/*
 * See regex.h. Most expressions in logs hold a literal; it is searched first (words.h), so that
 * PCRE2's machine code runs only on texts that have it.
 */
#include "common/logsql/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/logsql/words.h"

#define PATTERN_BYTES_MAX 65536u
#define MATCH_LIMIT       2000000u
#define JIT_STACK_MAX     (512u << 10)

struct tel_regex {
    pcre2_code *code;
    struct tel_buf literal;
    size_t before, after; /* bytes of a match around its literal, at most; SIZE_MAX: not known */
    bool is_literal, jit, anchored;
    size_t groups;
    struct tel_span names[TEL_REGEX_GROUPS_MAX];
};

/* ---- scratch memory of a thread ---------------------------------------------------------------
 */

struct scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *ptr)
{
    struct scratch *s = ptr;
    if (!s)
        return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

static void scratch_make_key(void)
{
    TEL_CHECK(pthread_key_create(&scratch_key, scratch_free) == 0);
}

static struct scratch *scratch_get(void)
{
    pthread_once(&scratch_once, scratch_make_key);
    struct scratch *s = pthread_getspecific(scratch_key);
    if (s)
        return s;
    s = TEL_NEW(struct scratch);
    s->data = pcre2_match_data_create(TEL_REGEX_GROUPS_MAX, NULL);
    s->context = pcre2_match_context_create(NULL);
    TEL_CHECK(s->data && s->context);
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_depth_limit(s->context, MATCH_LIMIT);
    s->stack = pcre2_jit_stack_create(32u << 10, JIT_STACK_MAX, NULL);
    if (s->stack)
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    pthread_setspecific(scratch_key, s);
    return s;
}

/* ---- the literal that a match must hold -------------------------------------------------------
 */

static bool is_special(char c)
{
    return c && strchr("\\^$.|?*+()[]{}", c);
}

/* The end of the class that begins at p[i]; p.len if it has none. */
static size_t class_end(struct tel_span p, size_t i)
{
    size_t j = i + 1;
    j += j < p.len && p.ptr[j] == '^';
    j += j < p.len && p.ptr[j] == ']';
    while (j < p.len && p.ptr[j] != ']') {
        if (p.ptr[j] == '[' && j + 1 < p.len && p.ptr[j + 1] == ':') { /* [:alpha:] */
            const char *close = memchr(p.ptr + j + 2, ']', p.len - j - 2);
            if (close && close[-1] == ':')
                j = (size_t)(close - p.ptr);
        }
        j += p.ptr[j] == '\\' ? 2 : 1;
    }
    return j < p.len ? j + 1 : p.len;
}

/* The length of a class, group or escape that starts at p[i], as far as finding literals needs it;
 * SIZE_MAX when it is too much for that. */
static size_t skip_atom(struct tel_span p, size_t i)
{
    if (p.ptr[i] == '\\')
        return i + 2 <= p.len && strchr("dDsSwWbB", p.ptr[i + 1]) ? i + 2 : SIZE_MAX;
    if (p.ptr[i] == '[') {
        size_t j = i + 1;
        j += j < p.len && p.ptr[j] == '^';
        j += j < p.len && p.ptr[j] == ']';
        for (; j < p.len && p.ptr[j] != ']'; j++) {
            if (p.ptr[j] == '[')
                return SIZE_MAX; /* [:alpha:] and such */
            j += p.ptr[j] == '\\';
        }
        return j < p.len ? j + 1 : SIZE_MAX;
    }
    if (p.ptr[i] == '(') {
        if (i + 1 < p.len && p.ptr[i + 1] == '?' &&
            !(i + 2 < p.len && (p.ptr[i + 2] == ':' || p.ptr[i + 2] == 'P')))
            return SIZE_MAX; /* flags and assertions */
        for (size_t j = i + 1, depth = 1; j < p.len; j++) {
            if (p.ptr[j] == '\\')
                j++;
            else if (p.ptr[j] == '[')
                return SIZE_MAX;
            else if (p.ptr[j] == '(')
                depth++;
            else if (p.ptr[j] == ')' && --depth == 0)
                return j + 1;
        }
        return SIZE_MAX;
    }
    return i + 1;
}

/* ---- how many bytes an expression matches -----------------------------------------------------
 */

#define REACH_MAX      4096u
#define REACH_DEPTH    20u
#define CHARACTER_MAX  4u /* bytes of UTF-8 */

static size_t longest_match(struct tel_span p, unsigned depth);

/* The most bytes of the atom at p[i], which ends at *ret_next. Anchors, boundaries, references and what
 * is not understood have no bound. */
static size_t longest_atom(struct tel_span p, size_t i, unsigned depth, size_t *ret_next)
{
    char c = p.ptr[i], next = i + 1 < p.len ? p.ptr[i + 1] : 0;
    *ret_next = i + 1;
    if (!is_special(c))
        return 1;
    if (c == '.')
        return CHARACTER_MAX;
    if (c == '\\') {
        *ret_next = i + 2;
        if (next && (is_special(next) || strchr("/-\"' :=,;&%#@!<>_~`nrt", next)))
            return 1;
        return next && strchr("dDsSwW", next) ? CHARACTER_MAX : SIZE_MAX;
    }
    if (c != '[' && c != '(')
        return SIZE_MAX;
    size_t end = skip_atom(p, i);
    if (end == SIZE_MAX)
        return SIZE_MAX;
    *ret_next = end;
    if (c == '[')
        return CHARACTER_MAX;
    size_t from = i + 1;
    if (next == '?') { /* (?:...) or (?P<name>...) */
        if (i + 3 < p.len && p.ptr[i + 2] == 'P' && p.ptr[i + 3] != '<')
            return SIZE_MAX;
        const char *open = p.ptr[i + 2] == 'P' ? memchr(p.ptr + i, '>', end - i) : p.ptr + i + 2;
        if (!open)
            return SIZE_MAX;
        from = (size_t)(open - p.ptr) + 1;
    }
    return longest_match(tel_span_slice(p, from, end - 1), depth + 1);
}

/* How often what stands before p[i] is repeated at most; *ret_next is behind the quantifier. */
static size_t most_repeats(struct tel_span p, size_t i, size_t *ret_next)
{
    *ret_next = i;
    if (i == p.len || !p.ptr[i] || !strchr("?*+{", p.ptr[i]))
        return 1;
    if (p.ptr[i] == '*' || p.ptr[i] == '+')
        return SIZE_MAX;
    size_t most = 1;
    if (p.ptr[i++] == '{') {
        bool digits = false, comma = false;
        for (most = 0; i < p.len && p.ptr[i] != '}'; i++) {
            if (p.ptr[i] == ',' && digits && !comma) {
                comma = true;
                most = 0;
                digits = false;
                continue;
            }
            if (p.ptr[i] < '0' || p.ptr[i] > '9' || most > REACH_MAX)
                return SIZE_MAX;
            most = most * 10 + (size_t)(p.ptr[i] - '0');
            digits = true;
        }
        if (i == p.len || !digits)
            return SIZE_MAX;
        i++;
    }
    *ret_next = i + (i < p.len && p.ptr[i] == '?');
    bool possessive = i < p.len && p.ptr[i] == '+'; /* looks at more than it matches */
    return possessive ? SIZE_MAX : most;
}

static size_t longest_match(struct tel_span p, unsigned depth)
{
    size_t best = 0, sum = 0;
    if (depth > REACH_DEPTH)
        return SIZE_MAX;
    for (size_t i = 0; i < p.len;) {
        if (p.ptr[i] == '|') {
            best = TEL_MAX(best, sum);
            sum = 0;
            i++;
            continue;
        }
        size_t behind;
        bool part = p.ptr[i] & 0x80; /* of a character, which a quantifier takes as a whole */
        size_t atom = longest_atom(p, i, depth, &behind);
        if (atom == SIZE_MAX)
            return SIZE_MAX;
        size_t repeats = most_repeats(p, behind, &i);
        if (repeats == SIZE_MAX || (part && i != behind))
            return SIZE_MAX;
        sum += atom * repeats;
        if (sum > REACH_MAX)
            return SIZE_MAX;
    }
    return TEL_MAX(best, sum);
}

/* Finds the longest run of plain bytes that stands unconditionally in the expression. What is not
 * understood ends the search with nothing found, which is always right. */
static void find_literal(struct tel_regex *re, struct tel_span p)
{
    struct tel_buf run = {0}, best = {0};
    bool whole = p.len > 0;
    size_t i = 0, start = 0, best_start = 0, best_end = 0; /* of the runs in p */
    re->before = re->after = SIZE_MAX;
    while (i < p.len) {
        char c = p.ptr[i];
        size_t next = i + 1, end = i; /* where the run in front of this ends */
        bool plain = !is_special(c);
        if (c == '\\' && i + 1 < p.len &&
            (is_special(p.ptr[i + 1]) || strchr("/-\"' :=,;&%#@!<>_~`", p.ptr[i + 1])) &&
            p.ptr[i + 1]) {
            plain = true;
            c = p.ptr[i + 1];
            next = i + 2;
        } else if (!plain) {
            whole = false;
            next = c == '|' ? SIZE_MAX : skip_atom(p, i);
            if (next == SIZE_MAX) {
                tel_buf_free(&run);
                tel_buf_free(&best);
                return;
            }
        }
        bool optional = next < p.len && p.ptr[next] && strchr("?*{", p.ptr[next]);
        bool repeated = next < p.len && p.ptr[next] == '+';
        if (plain && !optional) {
            start = run.len ? start : i;
            tel_buf_add_char(&run, c);
        }
        if (!plain || optional || repeated) {
            /* A byte of a longer character that is optional takes its first bytes with it. */
            while (plain && optional && run.len && (c & 0xc0) == 0x80) {
                c = run.ptr[--run.len];
                end--;
            }
            if (run.len > best.len) {
                tel_buf_clear(&best);
                tel_buf_add(&best, run.ptr, run.len);
                best_start = start;
                best_end = end; /* a repeated byte is both the run's last and behind it */
            }
            tel_buf_clear(&run);
            whole = whole && plain && !optional && !repeated;
        }
        if (optional || repeated) {
            if (p.ptr[next] == '{') {
                const char *close = memchr(p.ptr + next, '}', p.len - next);
                next = close ? (size_t)(close - p.ptr) + 1 : p.len;
            } else {
                next++;
            }
            next += next < p.len && (p.ptr[next] == '?' || p.ptr[next] == '+');
        }
        i = next;
    }
    if (run.len > best.len) {
        tel_buf_clear(&best);
        tel_buf_add(&best, run.ptr, run.len);
        best_start = start;
        best_end = p.len;
    }
    tel_buf_free(&run);
    re->literal = best;
    if (best.len && !re->anchored) {
        re->before = longest_match(tel_span_slice(p, 0, best_start), 0);
        re->after = longest_match(tel_span_slice(p, best_end, p.len), 0);
    }
    re->is_literal = whole && !re->anchored;
}

/* ---- compiling and matching -------------------------------------------------------------------
 */

static void find_groups(struct tel_regex *re)
{
    uint32_t count = 0, names = 0, entry = 0;
    PCRE2_SPTR table = NULL;
    pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &count);
    pcre2_pattern_info(re->code, PCRE2_INFO_NAMECOUNT, &names);
    pcre2_pattern_info(re->code, PCRE2_INFO_NAMEENTRYSIZE, &entry);
    pcre2_pattern_info(re->code, PCRE2_INFO_NAMETABLE, &table);
    re->groups = TEL_MIN(count, TEL_REGEX_GROUPS_MAX - 1u);
    for (uint32_t i = 0; i < names; i++, table += entry) {
        size_t number = (size_t)table[0] << 8 | table[1];
        if (number < TEL_REGEX_GROUPS_MAX)
            re->names[number] = tel_span_cstr((const char *)table + 2);
    }
}

/*
 * \S, \W and \D outside a class as a class of one: over texts that may be no UTF-8, PCRE2's machine
 * code (10.42) takes none of the characters beyond ASCII for them, and inside a class it does. False:
 * there is nothing to change.
 */
static bool negations_as_classes(struct tel_span p, struct tel_buf *out)
{
    bool changed = false;
    for (size_t i = 0; i < p.len;) {
        size_t end = i + 1;
        bool escape = p.ptr[i] == '\\' && i + 1 < p.len;
        if (escape && p.ptr[i + 1] == 'Q')
            return false; /* quoted text: too rare to follow */
        if (escape)
            end = i + 2;
        else if (p.ptr[i] == '[')
            end = class_end(p, i);
        if (escape && strchr("SWD", p.ptr[i + 1]) && p.ptr[i + 1]) {
            tel_buf_printf(out, "[\\%c]", p.ptr[i + 1]);
            changed = true;
        } else {
            tel_buf_add(out, p.ptr + i, end - i);
        }
        i = end;
    }
    return changed;
}

static pcre2_code *compile(struct tel_span pattern, uint32_t options, int *code, PCRE2_SIZE *offset)
{
    return pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len, options, code,
                         offset, NULL);
}

/* Errors point into the pattern as it was given, so that is compiled first. */
static pcre2_code *compile_mended(struct tel_span pattern, uint32_t options, int *code,
                                  PCRE2_SIZE *offset)
{
    pcre2_code *compiled = compile(pattern, options, code, offset);
    struct tel_buf mended = {0};
    int ignored;
    PCRE2_SIZE ignored_at;
    if (compiled && negations_as_classes(pattern, &mended)) {
        pcre2_code *better = compile(tel_buf_span(&mended), options, &ignored, &ignored_at);
        if (better) {
            pcre2_code_free(compiled);
            compiled = better;
        }
    }
    tel_buf_free(&mended);
    return compiled;
}

tel_code tel_regex_new(struct tel_span pattern, bool anchored, struct tel_regex **ret,
                       size_t *ret_offset, struct tel_error *err)
{
    if (ret_offset)
        *ret_offset = 0;
    if (pattern.len > PATTERN_BYTES_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT,
                             "a regular expression of %zu bytes, at most %u are taken", pattern.len,
                             PATTERN_BYTES_MAX);
    uint32_t options =
        PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    if (anchored)
        options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    int code;
    PCRE2_SIZE offset;
    pcre2_code *compiled = compile_mended(pattern, options, &code, &offset);
    if (!compiled) {
        char text[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        if (ret_offset)
            *ret_offset = offset;
        return tel_error_set(err, TEL_ERR_PARSE, "bad regular expression: %s at its byte %zu", text,
                             (size_t)offset);
    }
    struct tel_regex *re = TEL_NEW(struct tel_regex);
    re->code = compiled;
    re->anchored = anchored;
    re->jit = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
    find_groups(re);
    find_literal(re, pattern);
    *ret = re;
    return TEL_OK;
}

void tel_regex_free(struct tel_regex *re)
{
    if (!re)
        return;
    pcre2_code_free(re->code);
    tel_buf_free(&re->literal);
    free(re);
}

/* > 0: matched, 0: not, < 0: an error of PCRE2. */
static int run(const struct tel_regex *re, struct tel_span text, size_t from, struct scratch *s)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(text.ptr ? text.ptr : "");
    int rc = re->jit ? pcre2_jit_match(re->code, subject, text.len, from, 0, s->data, s->context)
                     : pcre2_match(re->code, subject, text.len, from, 0, s->data, s->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    return rc == 0 ? TEL_REGEX_GROUPS_MAX : rc; /* 0: more groups than there is room for */
}

static tel_code run_error(int rc, struct tel_error *err)
{
    char text[128];
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
    return tel_error_set(err, TEL_ERR_LIMIT,
                         "a regular expression needs too many steps on one value (%s)", text);
}

tel_code tel_regex_match(const struct tel_regex *re, struct tel_span text, bool *ret,
                         struct tel_error *err)
{
    if (re->literal.len && tel_words_find_bytes(text, tel_buf_span(&re->literal), 0) == SIZE_MAX) {
        *ret = false;
        return TEL_OK;
    }
    if (re->is_literal) {
        *ret = true;
        return TEL_OK;
    }
    int rc = run(re, text, 0, scratch_get());
    if (rc < 0)
        return run_error(rc, err);
    *ret = rc > 0;
    return TEL_OK;
}

tel_code tel_regex_exec(const struct tel_regex *re, struct tel_span text, size_t from,
                        struct tel_span ret_spans[TEL_REGEX_GROUPS_MAX], size_t *ret_count,
                        struct tel_error *err)
{
    struct scratch *s = scratch_get();
    int rc = run(re, text, from, s);
    if (rc < 0)
        return run_error(rc, err);
    *ret_count = 0;
    if (rc == 0)
        return TEL_OK;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->data);
    for (size_t i = 0; i <= re->groups; i++) {
        bool set = i < (size_t)rc && at[2 * i] != PCRE2_UNSET && at[2 * i] <= at[2 * i + 1];
        ret_spans[i] = set ? tel_span_slice(text, at[2 * i], at[2 * i + 1]) : (struct tel_span){0};
    }
    *ret_count = re->groups + 1;
    return TEL_OK;
}

size_t tel_regex_group_count(const struct tel_regex *re)
{
    return re->groups;
}

struct tel_span tel_regex_group_name(const struct tel_regex *re, size_t group)
{
    return group < TEL_REGEX_GROUPS_MAX ? re->names[group] : (struct tel_span){0};
}

struct tel_span tel_regex_literal(const struct tel_regex *re)
{
    return tel_buf_span(&re->literal);
}

bool tel_regex_reach(const struct tel_regex *re, size_t *ret_before, size_t *ret_after)
{
    *ret_before = re->before;
    *ret_after = re->after;
    return re->before != SIZE_MAX && re->after != SIZE_MAX;
}

bool tel_regex_is_literal(const struct tel_regex *re)
{
    return re->is_literal;
}
