/*
 * Exactly once through kill -9. A child process runs a queue (the journal) and a shard server over
 * it, sends numbered events, some of them again, and is killed at random moments: by a timer, or by
 * itself at a step of the store (before or after a batch, a merge, a drop, ...). Some writes fail
 * without a kill. In the end every event whose message was acknowledged is there once.
 *
 *     test_shard_crash [LOOPS [SEED]]
 *
 * Small limits make everything happen often: flushes of a few hundred rows, merges, days that are
 * dropped by size (of a tenant that nobody counts).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/sys/thread.h"
#include "common/transport/transport_journal.h"
#include "shard/store/fault.h"
#include "shard/verify.h"
#include "tests/unit/shard/shard_fixture.h"

#define SOURCES 4u
#define DAYS    5
#define BASE    (20400 * TEL_NS_PER_DAY)

/* Shared by parent and children. */
struct shared {
    _Atomic uint64_t sent[SOURCES], acked[SOURCES];
    _Atomic uint64_t steps[STORE_STEP_COUNT]; /* how often each was passed */
    _Atomic uint64_t failed_steps, self_kills;
};

static struct shared *shared;
static unsigned loops = 30;
static uint64_t seed;

/* ---- the child ---------------------------------------------------------------------------------- */

struct plan {
    enum store_step kill_step;
    int kill_count;   /* at the so many-th time; 0: never */
    unsigned fail_in; /* one step in so many fails; 0: none */
    struct tel_rand rand;
    struct tel_mutex lock;
};

static tel_code step(void *ctx, enum store_step s, struct tel_error *err)
{
    struct plan *plan = ctx;
    atomic_fetch_add(&shared->steps[s], 1);
    tel_mutex_lock(&plan->lock);
    bool die = s == plan->kill_step && plan->kill_count > 0 && --plan->kill_count == 0;
    bool broken = plan->fail_in && tel_rand_below(&plan->rand, plan->fail_in) == 0;
    tel_mutex_unlock(&plan->lock);
    if (die) {
        atomic_fetch_add(&shared->self_kills, 1);
        kill(getpid(), SIGKILL);
    }
    if (broken && err) { /* only steps before a write can fail */
        atomic_fetch_add(&shared->failed_steps, 1);
        return tel_error_set(err, TEL_ERR_IO, "made to fail");
    }
    return TEL_OK;
}

/* What is over is deleted segment by segment. */
static const struct retention_tenant bulk_rule[] = {{"bulk", RETENTION_DAYS_GENERAL, 2 << 20}};

/* Room for all that is counted, and a little: the rest is dropped, oldest days first. */
static uint64_t bytes_to_keep(void)
{
    uint64_t events = 0;
    for (uint64_t s = 0; s < SOURCES; s++)
        events += atomic_load(&shared->sent[s]);
    return (1 << 20) + events * 40;
}

static void open_world(struct world *w, const char *dir, struct store_faults *faults)
{
    memset(w, 0, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "%s", dir);
    snprintf(w->store, sizeof(w->store), "%s/store", dir);
    snprintf(w->queue, sizeof(w->queue), "%s/queue", dir);
    struct tel_transport_journal_options journal = {
        .dir = w->queue, .partitions = 1, .sync_interval_ms = 1, .partition_bytes = 256 << 20};
    struct tel_error err = {0};
    if (tel_transport_journal_new(&journal, &w->transport, &err) != TEL_OK ||
        tel_transport_producer(w->transport, &w->producer, &err) != TEL_OK) {
        fprintf(stderr, "%s\n", err.text);
        _exit(3);
    }
    w->options = (struct shard_options){
        .dir = w->store,
        .partitions = w->partitions,
        .partition_count = 1,
        .memory_bytes = 1 << 20,
        .segment_rows = 1500,
        .flush_interval_ms = 20,
        .flush_interval_max_ms = 30,
        .chunk_interval_ms = 5,
        .disk_reserve_bytes = UINT64_MAX,
        .retention = {.bytes = bytes_to_keep(), .tenants = bulk_rule, .tenant_count = 1},
        .workers = 2,
        .quiet_after_ms = 40, /* what is left of a day is merged, and coded anew */
        .cold_after_days = 1,
        .faults = faults,
    };
    if (shard_server_new(&w->options, w->transport, &w->server, &err) != TEL_OK) {
        fprintf(stderr, "%s\n", err.text);
        _exit(4);
    }
}

struct letter {
    uint64_t source, last;
};

static void acknowledged(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)offset;
    (void)err;
    struct letter *letter = ctx;
    if (code == TEL_OK && letter->last > atomic_load(&shared->acked[letter->source]))
        atomic_store(&shared->acked[letter->source], letter->last);
    free(letter);
}

/* Numbered events of a source, over several days, late ones among them. */
static void send_counted(struct world *w, struct tel_rand *r, uint64_t source, uint64_t *next)
{
    struct world_event events[60];
    char bodies[60][64], name[16];
    uint32_t count = 1 + (uint32_t)tel_rand_below(r, 60);
    snprintf(name, sizeof(name), "s%llu", (unsigned long long)source);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = (*next)++;
        snprintf(bodies[i], sizeof(bodies[i]), "s%llu did task %llu", (unsigned long long)source,
                 (unsigned long long)id);
        int64_t day = (int64_t)(tel_hash_u64(id * 8 + source) % DAYS);
        events[i] = (struct world_event){BASE + day * TEL_NS_PER_DAY + (int64_t)id * 1000, id,
                                         bodies[i]};
    }
    uint64_t last = *next - 1;
    if (last > atomic_load(&shared->sent[source]))
        atomic_store(&shared->sent[source], last);
    struct letter *letter = malloc(sizeof(*letter));
    *letter = (struct letter){source, last};
    world_send_cb(w, 0, "default", name, events, count, acknowledged, letter);
}

/* Bulky events of ancient days, for retention to drop. */
static void send_bulk(struct world *w, struct tel_rand *r, uint64_t *position)
{
    static char body[20000];
    for (size_t i = 0; i < sizeof(body) - 1; i++)
        body[i] = (char)('!' + tel_rand_below(r, 90));
    struct world_event events[20];
    for (unsigned i = 0; i < 20; i++)
        events[i] = (struct world_event){
            (1000 + (int64_t)tel_rand_below(r, 6)) * TEL_NS_PER_DAY, ++*position, body};
    world_send(w, 0, "bulk", "bulk", events, 20);
}

static void run_child(const char *dir, uint64_t child_seed)
{
    struct plan plan = {0};
    tel_rand_init(&plan.rand, child_seed);
    tel_mutex_init(&plan.lock);
    if (tel_rand_below(&plan.rand, 2)) {
        plan.kill_step = (enum store_step)tel_rand_below(&plan.rand, STORE_STEP_COUNT);
        plan.kill_count = 1 + (int)tel_rand_below(&plan.rand, 3);
    }
    if (tel_rand_below(&plan.rand, 3) == 0)
        plan.fail_in = 10;
    struct store_faults faults = {step, &plan};
    struct world w;
    open_world(&w, dir, &faults);
    struct tel_rand r;
    tel_rand_init(&r, child_seed + 1);
    uint64_t next[SOURCES], bulk = (uint64_t)tel_wall_ns(tel_clock_system());
    for (uint64_t s = 0; s < SOURCES; s++) { /* as a sidecar whose checkpoint is behind */
        uint64_t acked = atomic_load(&shared->acked[s]), back = tel_rand_below(&r, 40);
        next[s] = acked > back ? acked - back + 1 : 1;
    }
    for (;;) {
        for (uint64_t s = 0; s < SOURCES; s++)
            if (tel_rand_below(&r, 3))
                send_counted(&w, &r, s, &next[s]);
        if (tel_rand_below(&r, 12) == 0)
            send_bulk(&w, &r, &bulk);
        tel_producer_poll(w.producer, 2);
        struct timespec ts = {0, 2000000};
        nanosleep(&ts, NULL);
    }
}

/* ---- the parent --------------------------------------------------------------------------------- */

static void one_loop(const char *dir, struct tel_rand *r)
{
    uint64_t child_seed = tel_rand_u64(r) >> 24;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run_child(dir, child_seed);
        _exit(0);
    }
    int64_t deadline = tel_mono_ns(tel_clock_system()) +
                       (20 + (int64_t)tel_rand_below(r, 400)) * TEL_NS_PER_MS;
    int status = 0;
    while (tel_mono_ns(tel_clock_system()) < deadline) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            goto ended;
        struct timespec ts = {0, 2000000};
        nanosleep(&ts, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
ended:
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("the child ended by itself: status %x", status);
}

/* In a child, too: the parent must stay without threads to fork. */
static int check_all(const char *dir)
{
    struct world w;
    open_world(&w, dir, NULL);
    /* An event behind everything else: when it is found, all is. */
    struct world_event mark = {BASE, 1, "the last mark"};
    char source[32];
    snprintf(source, sizeof(source), "mark-%d", (int)getpid());
    world_send(&w, 0, "default", source, &mark, 1);
    world_sync(&w);
    char query[64];
    snprintf(query, sizeof(query), "host:\"%s\"", source);
    world_await(&w, "default", query, 1);
    struct found found;
    struct tel_error err = {0};
    int bad = 0;
    if (world_search(&w, "default", "task", 0, &found, &err) != TEL_OK) {
        fprintf(stderr, "search: %s\n", err.text);
        return 1;
    }
    uint64_t expected = 0;
    for (uint64_t s = 0; s < SOURCES; s++) {
        uint64_t acked = atomic_load(&shared->acked[s]), sent = atomic_load(&shared->sent[s]);
        for (uint64_t id = 1; id <= sent && bad < 10; id++) {
            char body[64];
            int len = snprintf(body, sizeof(body), "s%llu did task %llu", (unsigned long long)s,
                               (unsigned long long)id);
            uint64_t *times = tel_map_get(&found.bodies, tel_span_make(body, (size_t)len));
            uint64_t n = times ? *times : 0;
            expected += n;
            if (n > 1 || (n == 0 && id <= acked)) {
                fprintf(stderr, "[%s] is there %llu times\n", body, (unsigned long long)n);
                bad++;
            }
        }
    }
    if (!bad && expected != found.rows.len) {
        fprintf(stderr, "%zu rows, %llu known\n", found.rows.len, (unsigned long long)expected);
        bad++;
    }
    if (*found.end->partitions[0]->missing) {
        fprintf(stderr, "missing: %s\n", found.end->partitions[0]->missing);
        bad++;
    }
    printf("[ counts   ] %zu events, each once\n", found.rows.len);
    found_done(&found);
    world_stop(&w, true);
    tel_producer_free(w.producer);
    tel_transport_free(w.transport);
    struct shard_verify_report report = {0};
    if (shard_verify(w.store, stderr, &report, &err) != TEL_OK || report.damaged) {
        fprintf(stderr, "verify: %s\n", err.text);
        bad++;
    }
    return bad;
}

static void test_crashes(void **state)
{
    (void)state;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    char dir[] = "/tmp/tel-crash-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct tel_rand r;
    tel_rand_init(&r, seed);
    for (unsigned i = 0; i < loops; i++) {
        one_loop(dir, &r);
        if (i % 25 == 24 || i + 1 == loops) {
            fflush(stdout);
            pid_t pid = fork();
            if (pid == 0) {
                int bad = check_all(dir);
                fflush(stdout);
                _exit(bad ? 5 : 0);
            }
            int status;
            assert_int_equal(waitpid(pid, &status, 0), pid);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail_msg("after %u kills: status %x; the folder is %s", i + 1, status, dir);
        }
    }
    printf("[ steps    ]");
    for (unsigned i = 0; i < STORE_STEP_COUNT; i++)
        printf(" %llu", (unsigned long long)atomic_load(&shared->steps[i]));
    printf("; %llu failed, %llu kills at a step\n",
           (unsigned long long)atomic_load(&shared->failed_steps),
           (unsigned long long)atomic_load(&shared->self_kills));
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : tel_rand_seed() >> 32;
    if (argc > 1)
        loops = (unsigned)strtoul(argv[1], NULL, 10);
    printf("[ seed     ] %llu, %u loops\n", (unsigned long long)seed, loops);
    tel_log_set_level(TEL_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
