/* The parts of a segment one by one: splitter and learning, integers, columns, ids, the filter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/logsql/words.h"
#include "shard/segment/column.h"
#include "shard/segment/learn.h"
#include "shard/segment/marks.h"
#include "shard/segment/words.h"

/* ---- splitting and learning --------------------------------------------------------------- */

/* The skeleton of a line, '~' for each hole. */
static const char *skeleton(const char *text)
{
    static struct splitter sp;
    static char line[1000], out[1000];
    size_t len = strlen(text);
    memset(line, 0, sizeof(line));
    memcpy(line, text, len);
    assert_true(splitter_run(&sp, tel_span_make(line, len)));
    for (size_t i = 0; i < sp.skeleton_len; i++)
        out[i] = sp.skeleton[i] ? sp.skeleton[i] : '~';
    out[sp.skeleton_len] = 0;
    return out;
}

static void test_split(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"no variable here", "no variable here"},
        {"took 35 ms, -7 of 0x1f", "took ~ ms, ~ of ~"},
        {"block blk_-123 src: /10.0.0.1:50", "block ~ src: /~"},
        {"Dec 10 06:55:46 LabSZ sshd[24200]: bye", "~ ~ LabSZ sshd[~]: bye"},
        {"Sun Dec  4 it rained", "~ it rained"},
        {"user=bob dur=3ms empty= list=[1 2]", "user=~ dur=~ empty=~ list=[~ ~]"},
        {"a == b => c", "a == b => c"},
        {"msg=\"hello \\\"you\\\" there\" x", "msg=\"~\" x"},
        {"{\"a\":1,\"b\":\"x y\",\"c\":[1,2],\"d\":{\"e\":null}}",
         "{\"a\":~,\"b\":\"~\",\"c\":[~],\"d\":{\"e\":~}}"},
        {"\"GET /a?b=c HTTP/1.1\" 200", "\"~ ~ HTTP/~\" ~"},
        {"mail bob.x@example.com now", "mail ~ now"},
        {"1,2,3,4,5 and 1,2", "~ and ~,~"},
        {"not closed \" 5 \" 6 \" end", "not closed \"~\" ~ \" end"},
        {"first\n\tat x.y(Z.java:3)", "first\n~"},
        {"GET /static/a.js?x=1&y=2 done", "GET /~ done"},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++)
        assert_string_equal(skeleton(cases[i][0]), cases[i][1]);
    static struct splitter sp;
    static char nul[SPLIT_SLACK + 10] = "a\0b";
    assert_false(splitter_run(&sp, tel_span_make(nul, 3)));
}

static uint32_t match(struct segment_learnt *l, struct splitter *sp, uint32_t family,
                      const char *text)
{
    static char line[1000];
    size_t len = strlen(text);
    memset(line, 0, sizeof(line));
    memcpy(line, text, len);
    assert_true(splitter_run(sp, tel_span_make(line, len)));
    return learnt_match(l, family, sp, tel_span_make(line, len));
}

static void test_learn(void **state)
{
    (void)state;
    static struct splitter sp;
    static const char *const users[] = {"root", "bob", "eve", "mallory", "trent", "zoe", "max"};
    struct segment_learnt *l = segment_learnt_new();
    struct tel_field a = {TEL_SPAN("app"), TEL_SPAN("sshd")};
    struct tel_field host[] = {a, {TEL_SPAN("host"), TEL_SPAN("h1")}};
    struct tel_field b = {TEL_SPAN("app"), TEL_SPAN("cron")};
    uint32_t sshd = learnt_family(l, &a, 1), cron = learnt_family(l, &b, 1), last = 0;
    assert_int_equal(sshd, learnt_family(l, host, 2));
    assert_int_not_equal(sshd, cron);
    for (size_t i = 0; i < TEL_ARRAY_LEN(users); i++) {
        char line[100];
        snprintf(line, sizeof(line), "session opened for user %s by (uid=%zu)", users[i], i);
        last = match(l, &sp, sshd, line);
        assert_int_not_equal(last, LEARNT_NONE);
    }
    /* the name has become a hole, and stays one for names never seen */
    assert_int_equal(last, match(l, &sp, sshd, "session opened for user quentin by (uid=9)"));
    assert_int_equal(sp.hole_count, 2);
    assert_int_equal(sp.holes[0].len, strlen("quentin"));
    struct tel_span text = learnt_template(l, last)->skeleton;
    assert_true(tel_span_eq(text, tel_span_make("session opened for user \0 by (uid=\0)", 36)));
    /* keys never do, and families do not share */
    assert_int_not_equal(last, match(l, &sp, cron, "session opened for user zoe by (uid=9)"));
    segment_learnt_free(l);
}

/* ---- columns ------------------------------------------------------------------------------ */

/* A writer whose sections can be read again at once. */
struct pen {
    struct stream_writer out;
    struct column_writer columns;
    struct tel_buf node;
    struct tel_arena arena;
    struct segment_io io;
    struct stream_reader reader;
};

static tel_code read_section(void *ctx, uint32_t section, struct tel_span *ret,
                             struct tel_error *err)
{
    const struct pen *pen = ctx;
    for (size_t i = 0; i < pen->out.sections.len; i++) {
        const struct stream_section *s = &pen->out.sections.items[i];
        if (s->id == section) {
            *ret = tel_span_make(pen->out.data.ptr + s->start, s->len);
            return TEL_OK;
        }
    }
    return tel_error_set(err, TEL_ERR_CORRUPT, "no section %u", section);
}

static void pen_init(struct pen *pen)
{
    memset(pen, 0, sizeof(*pen));
    stream_writer_init(&pen->out);
    stream_writer_reset(&pen->out, 1, 0);
    column_writer_init(&pen->columns, &pen->out);
    tel_arena_init(&pen->arena, 0);
}

static struct cursor pen_turn(struct pen *pen)
{
    struct tel_buf table = {0};
    struct tel_error err;
    stream_writer_finish(&pen->out);
    stream_writer_packs(&pen->out, &table);
    pen->io = (struct segment_io){pen, read_section};
    pen->reader = (struct stream_reader){.io = &pen->io,
                                         .decompressor = decompressor_new(),
                                         .arena = &pen->arena,
                                         .section_count = pen->out.next_section + 1};
    pen->reader.sections =
        TEL_ARENA_ARRAY(&pen->arena, struct tel_span, pen->reader.section_count);
    assert_int_equal(stream_reader_packs(&pen->reader, tel_buf_span(&table), &err), TEL_OK);
    tel_buf_free(&table);
    /* slack, as a segment's nodes have it */
    tel_buf_reserve(&pen->node, STREAM_SLACK);
    memset(pen->node.ptr + pen->node.len, 0, STREAM_SLACK);
    return cursor_make(tel_buf_span(&pen->node));
}

static void pen_done(struct pen *pen)
{
    decompressor_free(pen->reader.decompressor);
    column_writer_done(&pen->columns);
    stream_writer_done(&pen->out);
    tel_buf_free(&pen->node);
    tel_arena_free(&pen->arena);
}

/* Streams of all sizes about many things, of which some repeat themselves. */
static void test_shelves(void **state)
{
    (void)state;
    enum { N = 3000, THINGS = 40, LARGEST = 3000 };
    struct tel_rand r;
    struct pen pen;
    struct tel_error err;
    struct tel_buf *streams = tel_calloc(N, sizeof(*streams));
    uint32_t shelves = 0;
    tel_rand_init(&r, 21);
    pen_init(&pen);
    for (unsigned i = 0; i < N; i++) {
        unsigned thing = (unsigned)tel_rand_below(&r, THINGS);
        size_t len = tel_rand_below(&r, tel_rand_below(&r, 10) ? 300 : LARGEST);
        for (size_t k = 0; k < len; k++)
            tel_buf_add_char(&streams[i], (char)(thing + tel_rand_below(&r, thing % 2 ? 256 : 4)));
        stream_writer_about(&pen.out, thing);
        stream_put(&pen.out, &pen.node, tel_buf_span(&streams[i]));
        shelves = pen.out.shelf_count;
    }
    assert_true(shelves > 1 && shelves <= SHELVES_MAX);
    struct cursor node = pen_turn(&pen);
    for (unsigned i = 0; i < N; i++) {
        struct tel_span back;
        assert_int_equal(stream_get(&pen.reader, &node, &back, &err), TEL_OK);
        assert_true(tel_span_eq(back, tel_buf_span(&streams[i])));
        tel_buf_free(&streams[i]);
    }
    /* used again, it begins with one */
    stream_writer_reset(&pen.out, 1, 0);
    assert_int_equal(pen.out.shelf_count, 1);
    assert_int_equal(pen.out.packs.len, 0);
    pen_done(&pen);
    free(streams);
}

static uint64_t sample(struct tel_rand *r, unsigned kind, uint64_t i)
{
    switch (kind) {
    case 0:
        return 42;
    case 1:
        return tel_rand_below(r, 1000);
    case 2:
        return 1000000007 * i + tel_rand_below(r, 50);
    case 3:
        return tel_rand_below(r, 300) ? tel_rand_below(r, 8) : tel_rand_u64(r) >> 10;
    case 4:
        return tel_rand_u64(r);
    case 5:
        return (unsigned char)"abcabcabd"[i % 9];
    default:
        return i % 2 ? UINT64_MAX : 0;
    }
}

static void test_ints(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 9, 255, 256, 257, 5000};
    struct tel_rand r;
    tel_rand_init(&r, 7);
    for (unsigned kind = 0; kind < 7; kind++) {
        for (size_t s = 0; s < TEL_ARRAY_LEN(sizes); s++) {
            size_t n = sizes[s];
            uint64_t *v = tel_calloc(n, sizeof(*v)), *back = tel_calloc(n, sizeof(*v));
            struct pen pen;
            struct tel_error err;
            pen_init(&pen);
            for (size_t i = 0; i < n; i++)
                v[i] = sample(&r, kind, i);
            ints_put(&pen.columns.ints, &pen.out, &pen.node, v, n);
            struct cursor node = pen_turn(&pen), again = node;
            assert_int_equal(ints_get(&pen.reader, &node, n, back, &err), TEL_OK);
            assert_memory_equal(v, back, n * sizeof(*v));
            assert_int_equal(cursor_left(&node), 0);
            ints_skip(&again);
            assert_false(again.bad);
            assert_int_equal(cursor_left(&again), 0);
            pen_done(&pen);
            free(v);
            free(back);
        }
    }
}

static void make_value(char *out, size_t cap, struct tel_rand *r, unsigned kind, size_t i)
{
    unsigned long long a = tel_rand_below(r, 256), b = tel_rand_u64(r);
    switch (kind) {
    case 0:
        snprintf(out, cap, "always the same");
        break;
    case 1:
        snprintf(out, cap, "%s", i % 3 ? "GET" : i % 7 ? "POST" : "");
        break;
    case 2:
        snprintf(out, cap, "2026-01-02T%02zu:%02zu:%02llu.%06llu", i / 3600 % 24, i / 60 % 60,
                 a % 60, b % 1000000);
        break;
    case 3:
        snprintf(out, cap, "10.%llu.%llu.%llu:%llu", a, b % 256, b / 256 % 256, b / 65536 % 65536);
        break;
    case 4:
        snprintf(out, cap, "%016llx", b);
        break;
    case 5:
        snprintf(out, cap, "/api/v%llu/users/u%llux/items", a % 3, b % 100000);
        break;
    case 6:
        snprintf(out, cap, "%0*llu", (int)(a % 9), b % 1000000);
        break;
    default:
        for (size_t k = 0; k < a % 30; k++)
            out[k] = (char)('a' + tel_rand_below(r, 26));
        out[a % 30] = 0;
    }
}

static void test_columns(void **state)
{
    (void)state;
    static const uint8_t kinds[] = {COLUMN_CONSTANT, COLUMN_DICTIONARY, COLUMN_SHAPED,
                                    COLUMN_SHAPED,   COLUMN_SHAPED,     COLUMN_SHAPED,
                                    COLUMN_TEXT,     COLUMN_TEXT};
    enum { N = 3000, CAP = 80 };
    struct tel_rand r;
    tel_rand_init(&r, 11);
    for (unsigned kind = 0; kind < TEL_ARRAY_LEN(kinds); kind++) {
        char *text = tel_calloc(N + 1, CAP);
        struct tel_span *v = tel_calloc(N, sizeof(*v)), *back = tel_calloc(N, sizeof(*v));
        struct pen pen;
        struct tel_error err;
        pen_init(&pen);
        for (size_t i = 0; i < N; i++) {
            make_value(text + i * CAP, CAP, &r, kind, i);
            v[i] = tel_span_cstr(text + i * CAP);
        }
        column_put(&pen.columns, &pen.node, v, N);
        if (kind != 6) /* widths of all kinds: whichever is taken must be right */
            assert_int_equal(pen.node.ptr[0], kinds[kind]);
        struct cursor node = pen_turn(&pen), again = node;
        assert_int_equal(column_get(&pen.reader, &node, N, NULL, back, &err), TEL_OK);
        uint32_t marks = 0;
        for (size_t i = 0; i < N; i++) {
            assert_true(tel_span_eq(v[i], back[i]));
            marks |= marks_of(v[i]);
        }
        assert_int_equal(marks & ~pen.columns.marks, 0);
        /* what a value holds the column may hold */
        for (size_t i = 0; i < N; i += 100) {
            bool may = false;
            node = again;
            size_t from = tel_rand_below(&r, v[i].len + 1);
            assert_int_equal(column_may_hold(&pen.reader, &node, N,
                                             tel_span_slice(v[i], from, from + 12), &may, &err),
                             TEL_OK);
            assert_true(may || v[i].len == from);
        }
        pen_done(&pen);
        free(text);
        free(v);
        free(back);
    }
}

/* Fields that become integers, of every width that they may have, and wider ones. */
static void test_fields_of_all_widths(void **state)
{
    (void)state;
    enum { N = 300, CAP = 96 };
    static char text[N + 1][CAP];
    struct tel_span v[N], back[N];
    struct tel_rand r;
    struct tel_error err;
    tel_rand_init(&r, 12);
    for (unsigned kind = 0; kind < 3; kind++) {
        for (int width = 1; width <= 20; width++) {
            struct pen pen;
            pen_init(&pen);
            for (size_t i = 0; i < N; i++) {
                const char *digits = kind == 2 ? "0123456789abcdef" : "0123456789";
                for (int k = 0; k < width; k++)
                    text[i][k] = digits[tel_rand_below(&r, kind == 2 ? 16 : 10)];
                if (kind == 1 && text[i][0] == '0') /* no leading zero, widths differ */
                    text[i][0] = '1';
                size_t len = kind == 1 ? 1 + i % (size_t)width : (size_t)width;
                memset(text[i] + len, 'f', CAP - len); /* what lies behind must not matter */
                v[i] = tel_span_make(text[i], len);
            }
            column_put(&pen.columns, &pen.node, v, N);
            struct cursor node = pen_turn(&pen);
            assert_int_equal(column_get(&pen.reader, &node, N, NULL, back, &err), TEL_OK);
            for (size_t i = 0; i < N; i++)
                assert_true(tel_span_eq(v[i], back[i]));
            pen_done(&pen);
        }
    }
}

static void test_ids(void **state)
{
    (void)state;
    enum { N = 4000, LEN = 40 };
    struct tel_rand r;
    struct ids_writer w;
    struct pen pen;
    struct tel_error err;
    struct tel_span *back;
    char *text = tel_calloc(N + 1, LEN);
    uint32_t *lens = tel_calloc(N, sizeof(*lens));
    tel_rand_init(&r, 3);
    pen_init(&pen);
    ids_writer_init(&w);
    for (uint32_t i = 0; i < N; i++) {
        char *s = text + i * LEN;
        if (i < 50 || tel_rand_below(&r, 10) == 0)
            for (size_t k = 0; k < LEN; k++)
                s[k] = "0123456789abcdef"[tel_rand_below(&r, 16)];
        else
            memcpy(s, text + (i - 1 - tel_rand_below(&r, 50)) * LEN, LEN);
        if (tel_rand_below(&r, 4) == 0)
            s[tel_rand_below(&r, LEN)] = 'f';
        lens[i] = tel_rand_below(&r, 20) ? 5 + (uint32_t)tel_rand_below(&r, 36) : 0;
        ids_add(&w, i / 2, tel_span_make(s, lens[i]));
    }
    ids_put(&w, &pen.out, &pen.node, N / 2);
    struct cursor node = pen_turn(&pen);
    assert_int_equal(ids_get(&pen.reader, &node, N, &back, &err), TEL_OK);
    for (size_t i = 0; i < N; i++)
        assert_true(tel_span_eq(back[i], tel_span_make(text + i * LEN, lens[i])));
    assert_true(pen.out.data.len < N * 13); /* of some 22 characters each, most recur */
    ids_writer_done(&w);
    pen_done(&pen);
    free(text);
    free(lens);
}

/* ---- the filter --------------------------------------------------------------------------- */

static void test_words(void **state)
{
    (void)state;
    struct words_writer w;
    struct words_filter f;
    struct tel_buf section = {0};
    char word[64];
    unsigned wrong = 0;
    words_writer_init(&w);
    words_writer_reset(&w, 1000000);
    for (unsigned i = 0; i < 20000; i++) {
        int n = snprintf(word, sizeof(word), "id%08x plain", i * 2654435761u);
        words_add_text(&w, tel_span_make(word, (size_t)n));
    }
    words_put(&w, &section);
    assert_true(words_filter_open(tel_buf_span(&section), &f));
    assert_in_range(section.len, 20000, 30000);
    assert_true(words_filter_may(&f, 0, TEL_SPAN("plain")));
    assert_true(words_filter_may(&f, 0, TEL_SPAN("123"))); /* short numbers do not count */
    for (unsigned i = 0; i < 20000; i++) {
        int n = snprintf(word, sizeof(word), "id%08x", i * 2654435761u);
        assert_true(words_filter_may(&f, 0, tel_span_make(word, (size_t)n)));
        n = snprintf(word, sizeof(word), "no%08x", i);
        wrong += words_filter_may(&f, 0, tel_span_make(word, (size_t)n));
    }
    assert_true(wrong < 20000 / 150); /* one in 256 */
    words_writer_reset(&w, 1000);
    w.under = words_under(0, TEL_SPAN("level"));
    memcpy(word, "fatal", 5); /* with readable bytes behind it */
    words_add_text(&w, tel_span_make(word, 5));
    tel_buf_clear(&section);
    words_put(&w, &section);
    assert_true(words_filter_open(tel_buf_span(&section), &f));
    assert_true(words_filter_may(&f, words_under(0, TEL_SPAN("level")), TEL_SPAN("fatal")));
    assert_false(words_filter_may(&f, words_under(0, TEL_SPAN("user")), TEL_SPAN("fatal")));
    assert_false(words_filter_may(&f, words_under(1, TEL_SPAN("level")), TEL_SPAN("fatal")));
    assert_false(words_filter_may(&f, 0, TEL_SPAN("fatal")));
    section.ptr[0] = 0; /* of an earlier version, where they stood among those of bodies */
    assert_true(words_filter_open(tel_buf_span(&section), &f));
    assert_true(words_filter_may(&f, words_under(0, TEL_SPAN("user")), TEL_SPAN("fatal")));
    section.ptr[0] = 3; /* flags that there are not */
    assert_false(words_filter_open(tel_buf_span(&section), &f));
    words_writer_reset(&w, 10); /* a budget that runs out */
    for (unsigned i = 0; i < 20; i++) {
        int n = snprintf(word, sizeof(word), "id%08x", i);
        words_add_text(&w, tel_span_make(word, (size_t)n));
    }
    tel_buf_clear(&section);
    words_put(&w, &section);
    assert_true(words_filter_open(tel_buf_span(&section), &f));
    assert_true(words_filter_may(&f, 0, TEL_SPAN("anything")));
    words_writer_done(&w);
    tel_buf_free(&section);
}

static void test_fuse(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 10, 500, 5000, 200000};
    struct tel_rand r;
    uint64_t seed = tel_rand_seed();
    tel_rand_init(&r, seed);
    for (size_t i = 0; i < TEL_ARRAY_LEN(sizes); i++) {
        size_t n = sizes[i], wrong = 0, asked = 100000;
        struct fuse fuse = fuse_shape(n);
        uint64_t *hashes = calloc(n + 1, sizeof(*hashes));
        uint8_t *prints = malloc(fuse_bytes(&fuse));
        for (size_t k = 0; k < n; k++) /* in half of the rounds, alike in the half that picks segments */
            hashes[k] = i % 2 ? tel_rand_u64(&r) : (UINT64_C(77) << 32) + k * 3;
        if (!fuse_build(&fuse, hashes, n, prints))
            fail_msg("%zu hashes (seed %llu)", n, (unsigned long long)seed);
        for (size_t k = 0; k < n; k++)
            assert_true(fuse_has(&fuse, hashes[k]));
        for (size_t k = 0; k < asked; k++)
            wrong += fuse_has(&fuse, tel_rand_u64(&r) | UINT64_C(1) << 63);
        assert_true(n < 5000 || fuse_bytes(&fuse) < n * 3 / 2);
        assert_true(wrong < asked / 128);
        hashes[n] = hashes[0]; /* one that is there twice has no place of its own */
        struct fuse twice = fuse_shape(n + 1);
        prints = realloc(prints, fuse_bytes(&twice));
        assert_false(fuse_build(&twice, hashes, n + 1, prints));
        free(prints);
        free(hashes);
    }
}

/* The words of any text are those that LogsQL sees in it, wherever they lie in its 16 bytes. */
static void test_words_of_texts(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "z", "Z", "@", "[", "`", "{", "/", ":", "0", "9",
                                         "_", " ", "  ", "word", "Abc_9", "\xc3\xa4", "\xff", "-",
                                         "0123456789abcdef", ".", "seventeen_letters"};
    uint64_t seed = tel_rand_seed();
    struct tel_rand r;
    struct words_writer w;
    struct words_filter f;
    struct tel_buf section = {0};
    char text[300];
    tel_rand_init(&r, seed);
    words_writer_init(&w);
    for (unsigned round = 0; round < 2000; round++) {
        memset(text, 'x', sizeof(text)); /* what lies behind the text does not count */
        size_t len = 0;
        for (uint64_t n = tel_rand_below(&r, 15); n > 0; n--) {
            const char *piece = pieces[tel_rand_below(&r, TEL_ARRAY_LEN(pieces))];
            memcpy(text + len, piece, strlen(piece));
            len += strlen(piece);
        }
        words_writer_reset(&w, 1000000);
        words_add_text(&w, tel_span_make(text, len));
        tel_buf_clear(&section);
        words_put(&w, &section);
        assert_true(words_filter_open(tel_buf_span(&section), &f));
        struct tel_span word;
        size_t expected = 0;
        for (size_t pos = 0; tel_words_next(tel_span_make(text, len), &pos, &word);) {
            expected += words_counts(word);
            if (!words_filter_may(&f, 0, word))
                fail_msg("seed %llu round %u: %.*s", (unsigned long long)seed, round,
                         TEL_SPAN_ARG(word));
        }
        if (w.hashes.len > expected)
            fail_msg("seed %llu round %u: too many words", (unsigned long long)seed, round);
    }
    words_writer_done(&w);
    tel_buf_free(&section);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),   cmocka_unit_test(test_learn), cmocka_unit_test(test_ints),
        cmocka_unit_test(test_shelves),
        cmocka_unit_test(test_columns), cmocka_unit_test(test_fields_of_all_widths),
        cmocka_unit_test(test_ids),     cmocka_unit_test(test_words),
        cmocka_unit_test(test_fuse),    cmocka_unit_test(test_words_of_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
