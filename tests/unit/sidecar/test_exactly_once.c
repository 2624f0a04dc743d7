/*
 * Every order of fates, saves and kills, against the real pipeline and checkpoint.
 *
 * One thread plays all parts: the plugin that reads a text, the queue that takes messages and tells what
 * became of them, the disk that saves or does not, and whoever kills the sidecar. At each step it chooses
 * among what may happen then: all choices in turn (`every_order`), or by a seed (`by_chance`).
 *
 *     emit   the plugin hands over the next line of a source
 *     step   the input's thread comes round: takes deliveries, sends
 *     fate   of a message in flight: taken and told; taken, but told as failed; failed; failed, and yet
 *            under way: such a message may still turn up in the log, at any later time
 *     save   the checkpoint becomes durable, or the disk refuses it
 *     kill   the sidecar begins anew from the disk; what was in flight may still turn up
 *
 * The log is read as a shard reads it: what is not above the highest position of its source is a repeat.
 * Positions count the bytes of the text, so each event that is no repeat must hold exactly the bytes
 * that follow those before it: anything lost, twice, cut wrongly or under another name is noticed at once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/sys/fs_fault.h"
#include "sidecar/checkpoint.h"
#include "sidecar/pipeline.h"
#include "sidecar/sidecar.h"
#include "sidecar/sink.h"

#define SOURCES_MAX 3
#define TEXT_MAX    4096

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOW 1 /* a step less */
#else
#define SLOW 0
#endif

/* ---- choices ------------------------------------------------------------------------------- */

struct tape { /* random: by chance; else the choices of this run, those behind `at` are first ones */
    struct tel_rand *random;
    unsigned char taken[64], of[64];
    size_t len, at;
};

static unsigned choose(struct tape *t, unsigned n)
{
    if (t->random)
        return (unsigned)tel_rand_below(t->random, n);
    assert_true(t->at < sizeof(t->taken) && n > 0 && n < 256);
    if (t->at == t->len) {
        t->taken[t->len] = 0;
        t->of[t->len++] = (unsigned char)n;
    }
    assert_int_equal(t->of[t->at], n); /* the same choices lead to the same state */
    return t->taken[t->at++];
}

/* To the next run; false: that was the last. */
static bool turn(struct tape *t)
{
    while (t->len && t->taken[t->len - 1] + 1 == t->of[t->len - 1])
        t->len--;
    if (t->len)
        t->taken[t->len - 1]++;
    t->at = 0;
    return t->len > 0;
}

/* ---- the world ----------------------------------------------------------------------------- */

struct letter {
    uint32_t partition;
    char *key, *value;
    size_t value_len;
    void *ctx;
};

struct text { /* what a source reads, and what came of it */
    char id[16], bytes[TEXT_MAX];
    size_t len, ends[64], lines;
    struct source *source;
    uint64_t read; /* bytes that the plugin has handed over */
    uint64_t indexed; /* highest position in the log */
    char name[64];  /* of the source, and its partition, as in the log */
    uint32_t partition;
};

struct world {
    struct tel_producer producer;
    struct tape *tape;
    struct tel_fs_fault *fault;
    struct tel_clock_manual clock;
    struct tel_waker waker;
    struct checkpoint *checkpoint;
    struct sink sink;
    struct pipeline_budget budget;
    struct sidecar_input input;
    struct pipeline pipeline;
    struct text texts[SOURCES_MAX];
    unsigned sources;
    TEL_VEC(struct letter) flying, late; /* late: nobody waits for them, but they may turn up */
    bool full, idle; /* idle: a step would change nothing */
    size_t limit;    /* larger messages are refused; 0: none */
    bool limit_told_late; /* as a fate */
    unsigned kills, failures, repeats, cut, messages;
};

static char folder[64]; /* of all worlds, one after the other */

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s", tel_code_name(rc), err->text);
}

static void letter_free(struct letter *l)
{
    free(l->key);
    free(l->value);
}

/* ---- the queue ----------------------------------------------------------------------------- */

static tel_code on_send(struct tel_producer *producer, uint32_t partition, struct tel_span key,
                        struct tel_span value, tel_delivery_cb *cb, void *ctx, struct tel_error *err)
{
    struct world *w = TEL_CONTAINER_OF(producer, struct world, producer);
    if (w->full)
        return tel_error_set(err, TEL_ERR_AGAIN, "full");
    if (w->limit && !w->limit_told_late && value.len > w->limit)
        return tel_error_set(err, TEL_ERR_LIMIT, "%zu bytes", value.len);
    assert_true(cb == pipeline_delivered);
    struct letter l = {.partition = partition,
                       .key = tel_strndup(key),
                       .value = tel_strndup(value),
                       .value_len = value.len,
                       .ctx = ctx};
    tel_vec_push(&w->flying, l);
    w->messages++;
    return TEL_OK;
}

static const struct tel_transport_ops queue_ops = {.name = "world", .send = on_send};

/* One event in the log, as a shard takes it. */
static void index_event(struct world *w, struct text *t, const struct tel_event *e)
{
    if (e->position <= t->indexed) {
        w->repeats++;
        return;
    }
    uint64_t from = e->position - e->body.len;
    if (from != t->indexed)
        fail_msg("source %s: bytes %llu to %llu stand in the log behind byte %llu", t->id,
                 (unsigned long long)from, (unsigned long long)e->position,
                 (unsigned long long)t->indexed);
    assert_memory_equal(e->body.ptr, t->bytes + from, e->body.len);
    for (uint32_t a = 0; a < e->attribute_count; a++)
        w->cut += tel_span_eq_cstr(e->attributes[a].name, "telescope.split");
    t->indexed = e->position;
}

static void append(struct world *w, const struct letter *l)
{
    struct tel_arena arena;
    struct tel_batch b;
    struct tel_error err;
    tel_arena_init(&arena, 0);
    must(tel_record_decode(NULL, tel_span_make(l->value, l->value_len), &arena, &b, &err), &err);
    assert_true(tel_span_eq_cstr(b.source, l->key));
    struct text *t = NULL;
    for (unsigned i = 0; i < w->sources; i++)
        if (tel_span_ends(b.source, tel_span_cstr(w->texts[i].id)))
            t = &w->texts[i];
    assert_non_null(t);
    if (!*t->name) {
        snprintf(t->name, sizeof(t->name), "%s", l->key);
        t->partition = l->partition;
    }
    assert_string_equal(t->name, l->key); /* never another name, nor another partition */
    assert_int_equal(t->partition, l->partition);
    for (uint32_t i = 0; i < b.event_count; i++)
        index_event(w, t, &b.events[i]);
    tel_arena_free(&arena);
}

static struct letter take_letter(struct letter *items, size_t *len, size_t at)
{
    struct letter l = items[at];
    memmove(&items[at], &items[at + 1], (--*len - at) * sizeof(l));
    return l;
}

static bool refused_for_size(const struct world *w, const struct letter *l)
{
    return w->limit && l->value_len > w->limit;
}

enum fate { TAKEN, TAKEN_BUT_FAILED, FAILED, FAILED_BUT_LATE, FATES };

static void decide(struct world *w, size_t at, enum fate fate)
{
    struct letter l = take_letter(w->flying.items, &w->flying.len, at);
    struct tel_error err;
    tel_code code = fate == TAKEN ? TEL_OK : TEL_ERR_UNAVAILABLE;
    if (refused_for_size(w, &l))
        fate = FAILED, code = TEL_ERR_LIMIT;
    (void)tel_error_set(&err, code ? code : TEL_ERR_CLOSED, "as it happens");
    if (fate == TAKEN || fate == TAKEN_BUT_FAILED)
        append(w, &l);
    w->failures += code == TEL_ERR_UNAVAILABLE;
    pipeline_delivered(l.ctx, code, code ? -1 : 0, &err);
    w->idle = false;
    if (fate == FAILED_BUT_LATE)
        tel_vec_push(&w->late, l);
    else
        letter_free(&l);
}

static void turn_up(struct world *w, size_t at)
{
    struct letter l = take_letter(w->late.items, &w->late.len, at);
    append(w, &l);
    letter_free(&l);
}

/* ---- the sidecar --------------------------------------------------------------------------- */

static void on_acked(void *ctx, void *user, uint64_t position)
{
    const struct text *t = user;
    (void)ctx;
    assert_true(position <= t->indexed); /* only what is in the log */
}

static void on_urgent(void *ctx)
{
    (void)ctx;
}

static void open_source(struct world *w, struct text *t)
{
    struct tel_error err;
    uint64_t position = 0;
    struct telescope_source_spec spec = {.id = {t->id, strlen(t->id)}, .user = t};
    t->source = pipeline_open(&w->pipeline, &spec, &position, &err);
    if (!t->source)
        fail_msg("%s", err.text);
    assert_true(position <= t->indexed);
    if (position > t->read)
        t->read = position;
    w->idle = false;
}

static void start(struct world *w)
{
    struct tel_error err;
    must(checkpoint_open(tel_fs_fault_fs(w->fault), folder, false, &w->checkpoint, &err), &err);
    struct pipeline_options o = {.input = &w->input,
                                 .sidecar_id = "s",
                                 .tenant = "t",
                                 .host = "",
                                 .checkpoint = w->checkpoint,
                                 .sink = &w->sink,
                                 .budget = &w->budget,
                                 .clock = &w->clock.clock,
                                 .batch_bytes = 1 << 20,
                                 .batch_events = 1, /* the first line of a batch sends it */
                                 .batch_age_ns = TEL_NS_PER_S,
                                 .waker = &w->waker,
                                 .acked = on_acked,
                                 .urgent = on_urgent};
    pipeline_init(&w->pipeline, &o);
    for (unsigned i = 0; i < w->sources; i++) {
        w->texts[i].read = 0;
        open_source(w, &w->texts[i]);
    }
}

static void stop(struct world *w)
{
    while (w->flying.len) {
        struct letter l = take_letter(w->flying.items, &w->flying.len, 0);
        if (refused_for_size(w, &l))
            letter_free(&l);
        else
            tel_vec_push(&w->late, l);
    }
    pipeline_done(&w->pipeline);
    checkpoint_free(w->checkpoint);
    assert_int_equal(w->budget.held, 0);
}

static void emit(struct world *w, struct text *t)
{
    size_t line = 0, taken;
    struct tel_error err;
    while (t->ends[line] <= t->read)
        line++;
    struct telescope_record r = {.position = t->ends[line],
                                 .observed_ns = 1,
                                 .body = {t->bytes + t->read, t->ends[line] - t->read}};
    enum telescope_result rc = pipeline_take(t->source, &r, 1, &taken, &err);
    if (rc == TELESCOPE_FAILED)
        fail_msg("%s", err.text);
    if (taken)
        t->read = t->ends[line];
    w->idle = false;
}

static void step(struct world *w)
{
    tel_clock_manual_advance(&w->clock, 20 * TEL_NS_PER_S); /* whatever is paused is due */
    (void)pipeline_step(&w->pipeline, false);
    w->idle = true;
}

static void save(struct world *w, bool refused)
{
    struct tel_error err;
    if (refused)
        tel_fs_fault_at(w->fault, TEL_FAULT_CHANGES, NULL, 1 + choose(w->tape, 4), true, ENOSPC);
    tel_code rc = checkpoint_save(w->checkpoint, &err);
    assert_true(refused || rc == TEL_OK);
    tel_fs_fault_clear(w->fault);
    w->idle = false;
}

/* ---- runs ---------------------------------------------------------------------------------- */

/* What the world is like; at the start of a run all else is zero. */
struct setting {
    unsigned sources, lines;
    size_t line_max, limit;
    bool limit_told_late;
    unsigned steps, kills, failures, saves; /* at most */
    bool unruly; /* full queues, refused saves, sources that are closed and opened, a growing topic */
};

static void world_open(struct world *w, const struct setting *s, struct tape *tape)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct tel_error err;
    *w = (struct world){.tape = tape, .sources = s->sources, .limit = s->limit};
    w->limit_told_late = s->limit_told_late;
    w->producer.ops = &queue_ops;
    w->sink.producer = &w->producer;
    atomic_store(&w->sink.partitions, 3);
    w->budget.limit = 1 << 30;
    w->input = (struct sidecar_input){.name = "in", .keep_timestamps = true};
    w->fault = tel_fs_fault_new(1);
    tel_clock_manual_init(&w->clock, TEL_NS_PER_DAY);
    must(tel_waker_init(&w->waker, &err), &err);
    for (unsigned i = 0; i < s->sources; i++) {
        struct text *t = &w->texts[i];
        snprintf(t->id, sizeof(t->id), "/f%u", i);
        t->lines = s->lines;
        for (unsigned l = 0; l < s->lines; l++) {
            size_t len = tape->random ? 1 + tel_rand_below(tape->random, s->line_max) : 1;
            for (size_t b = 0; b < len; b++, t->len++)
                t->bytes[t->len] = letters[(t->len + l) % 26];
            t->ends[l] = t->len;
        }
        assert_true(t->len <= sizeof(t->bytes));
    }
    start(w);
}

static void world_close(struct world *w)
{
    static const char *const files[] = {"checkpoint", "checkpoint.prev", "checkpoint.next"};
    char path[128];
    stop(w);
    while (w->late.len) {
        struct letter l = take_letter(w->late.items, &w->late.len, 0);
        letter_free(&l);
    }
    tel_vec_free(&w->flying);
    tel_vec_free(&w->late);
    tel_waker_done(&w->waker);
    tel_fs_fault_free(w->fault);
    for (size_t i = 0; i < TEL_ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
}

enum action { EMIT, STEP, FATE, SAVE, LATE, KILL, REFUSED_SAVE, FULL, REOPEN, GROW, ACTIONS };

static bool possible(const struct world *w, const struct setting *s, enum action a)
{
    bool more = false;
    for (unsigned i = 0; i < w->sources; i++)
        more |= w->texts[i].read < w->texts[i].len;
    switch (a) {
    case EMIT: return more;
    case STEP: return !w->idle;
    case FATE: return w->flying.len > 0;
    case SAVE: return checkpoint_dirty(w->checkpoint);
    case LATE: return w->late.len > 0;
    case KILL: return w->kills < s->kills;
    case REFUSED_SAVE: return s->unruly && checkpoint_dirty(w->checkpoint);
    case FULL:
    case REOPEN:
    case GROW: return s->unruly;
    case ACTIONS: break;
    }
    return false;
}

static void act(struct world *w, const struct setting *s, enum action a)
{
    struct text *t = &w->texts[w->sources > 1 ? choose(w->tape, w->sources) : 0];
    switch (a) {
    case EMIT:
        if (t->read < t->len)
            emit(w, t);
        return;
    case STEP: step(w); return;
    case FATE: {
        size_t at = w->flying.len > 1 ? choose(w->tape, (unsigned)w->flying.len) : 0;
        decide(w, at, w->failures < s->failures ? (enum fate)choose(w->tape, FATES) : TAKEN);
        return;
    }
    case SAVE: save(w, false); return;
    case LATE: turn_up(w, w->late.len > 1 ? choose(w->tape, (unsigned)w->late.len) : 0); return;
    case KILL:
        stop(w);
        start(w);
        w->kills++;
        return;
    case REFUSED_SAVE: save(w, true); return;
    case FULL: w->full = !w->full; return;
    case REOPEN: /* the plugin goes on where it was */
        pipeline_close(t->source, false);
        open_source(w, t);
        return;
    case GROW: atomic_fetch_add(&w->sink.partitions, 1); return;
    case ACTIONS: return;
    }
}

/* Lets all go well from here on: everything arrives. */
static void finish(struct world *w)
{
    w->full = false;
    for (unsigned round = 0;; round++) {
        bool all = true;
        for (unsigned i = 0; i < w->sources; i++) {
            struct text *t = &w->texts[i];
            while (t->read < t->len)
                emit(w, t);
            all &= t->source->acked == t->len;
        }
        save(w, false);
        step(w);
        while (w->flying.len)
            decide(w, 0, TAKEN);
        if (all)
            break;
        assert_true(round < 1000);
    }
    while (w->late.len)
        turn_up(w, 0);
    for (unsigned i = 0; i < w->sources; i++) {
        assert_int_equal(w->texts[i].indexed, w->texts[i].len);
        assert_int_equal(w->texts[i].source->entry->position, w->texts[i].len);
    }
}

static void run(struct world *w, const struct setting *s, struct tape *tape)
{
    world_open(w, s, tape);
    for (unsigned n = 0; n < s->steps; n++) {
        enum action open[ACTIONS];
        unsigned count = 0;
        for (enum action a = 0; a < ACTIONS; a++)
            if (possible(w, s, a))
                open[count++] = a;
        if (count == 0)
            break;
        act(w, s, open[choose(tape, count)]);
    }
    finish(w);
    world_close(w);
}

/* All orders of a few steps: once with a failure, once with a kill, once with both. */
static void every_order(void **state)
{
    static const struct setting settings[] = {
        {.sources = 1, .lines = 3, .steps = 10, .failures = 2},
        {.sources = 1, .lines = 3, .steps = 9, .kills = 2},
        {.sources = 1, .lines = 3, .steps = 8, .kills = 1, .failures = 1},
    };
    const char *more = getenv("TEL_TEST_STEPS");
    (void)state;
    for (size_t i = 0; i < TEL_ARRAY_LEN(settings); i++) {
        struct tape tape = {0};
        struct world w;
        struct setting s = settings[i];
        unsigned runs = 0, repeats = 0;
        s.steps += (more ? (unsigned)strtoul(more, NULL, 10) : 0) - SLOW;
        do {
            run(&w, &s, &tape);
            repeats += w.repeats;
            runs++;
        } while (turn(&tape));
        print_message("%u orders, %u repeats\n", runs, repeats);
        assert_true(runs > 1000 && repeats > 100);
    }
}

static void by_chance(void **state)
{
    const char *given = getenv("TEL_TEST_SEED"), *wanted = getenv("TEL_TEST_RUNS");
    uint64_t seed = given ? strtoull(given, NULL, 10) : tel_rand_seed() % 1000000000;
    unsigned runs = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 3000 / (1 + 4 * SLOW), repeats = 0, cut = 0;
    (void)state;
    for (unsigned i = 0; i < runs; i++) {
        struct tel_rand random;
        struct tape tape = {.random = &random};
        struct world w;
        tel_rand_init(&random, seed + i);
        struct setting s = {.sources = 1 + (unsigned)tel_rand_below(&random, SOURCES_MAX),
                            .lines = 1 + (unsigned)tel_rand_below(&random, 12),
                            .line_max = tel_rand_below(&random, 2) ? 4 : 300,
                            .limit = tel_rand_below(&random, 2) ? 150 : 0,
                            .limit_told_late = tel_rand_below(&random, 2),
                            .steps = 100,
                            .kills = 4,
                            .failures = 10,
                            .unruly = true};
        if (given || i == 0)
            print_message("seed %llu\n", (unsigned long long)(seed + i));
        run(&w, &s, &tape);
        repeats += w.repeats;
        cut += w.cut;
    }
    print_message("%u runs, %u repeats, %u pieces of events\n", runs, repeats, cut);
    assert_true(repeats > 0 && cut > 0);
}

/* In memory where there is such a folder: many thousand checkpoints are written. */
static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "%s/telescope-once-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    struct tel_error err;
    (void)state;
    return tel_fs_remove_all(tel_fs_system(), folder, &err) == TEL_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order),
        cmocka_unit_test(by_chance),
    };
    tel_log_set_level(TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
