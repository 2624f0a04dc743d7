#include "broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/rand.h"

void broker_read_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    if (!f || !fgets(out, (int)size, f))
        fail_msg("no broker address in %s", path);
    if (f)
        fclose(f);
    out[strcspn(out, "\n")] = '\0';
}

static const char *bootstrap_file(void)
{
    const char *path = getenv("TEL_KAFKA_BOOTSTRAP_FILE");
    if (!path)
        fail_msg("TEL_KAFKA_BOOTSTRAP_FILE is not set: run this test through ctest");
    return path;
}

const char *broker_address(void)
{
    static char address[512];
    broker_read_line(bootstrap_file(), address, sizeof address);
    return address;
}

const char *broker_folder(void)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s", bootstrap_file());
    char *slash = strrchr(folder, '/');
    assert_non_null(slash);
    *slash = '\0';
    return folder;
}

/* A topic that was made is known to the broker a moment later, and led another moment later. */
static void await_topic(struct tel_kafka_admin *a, const char *name, uint32_t partitions)
{
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 60 * TEL_NS_PER_S;
    struct tel_kafka_topic_info info = {0};
    struct tel_error err;
    while (tel_kafka_admin_describe(a, name, 30000, &info, &err) != TEL_OK ||
           info.partitions != partitions || info.leaderless > 0) {
        if (tel_mono_ns(tel_clock_system()) > deadline)
            fail_msg("topic %s has not appeared", name);
        struct timespec ts = {0, 10000000};
        nanosleep(&ts, NULL);
    }
}

const char *broker_new_topic(const char *address, uint32_t partitions, const char *const *config)
{
    static char name[64];
    struct tel_kafka_admin *a;
    struct tel_error err;
    struct tel_kafka_client client = {.brokers = address};
    snprintf(name, sizeof name, "test.%016llx", (unsigned long long)tel_rand_seed());
    struct tel_kafka_topic_spec spec = {.name = name, .partitions = partitions, .config = config};
    if (tel_kafka_admin_new(&client, &a, &err) != TEL_OK ||
        tel_kafka_admin_create(a, &spec, 30000, &err) != TEL_OK)
        fail_msg("%s", err.text);
    await_topic(a, name, partitions);
    tel_kafka_admin_free(a);
    return name;
}

void broker_command(const char *fmt, ...)
{
    char args[1024], line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(args, sizeof args, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "%s %s %s >&2", TEST_PYTHON, TEST_KAFKA_CLUSTER, args);
    if (system(line) != 0) /* NOLINT: a fixed program with our own arguments */
        fail_msg("failed: %s", line);
}
