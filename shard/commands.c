#include "shard/commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/conf/program.h"
#include "common/conf/value.h"
#include "common/net/http/http_client.h"
#include "shard/admin_snapshot.h"
#include "shard/snapshot/restore.h"
#include "shard/verify.h"

#define DEFAULT_ADMIN "http://127.0.0.1:7082"

static const char verify_usage[] = "usage: telescope-shard verify DIR\n"
                                   "Reads everything in a data folder that no server has open. Exits 0 when all is well,\n"
                                   "1 when something is damaged, twice there, or cannot be read.\n";
static const char snapshot_usage[] =
    "usage: telescope-shard snapshot [--admin URL] [--partition N]... [--rate BYTES] DEST\n"
    "Asks the running server (" DEFAULT_ADMIN " unless --admin says otherwise) for a consistent copy of\n"
    "its partitions in the folder DEST on its machine, which must not be there: an absolute path, or a\n"
    "name in its snapshot.dir. --rate: bytes a second, such as 20MiB. Ctrl-C gives it up.\n";
static const char restore_usage[] =
    "usage: telescope-shard restore SNAPSHOT --data DIR [--partition N]...\n"
    "Checks the snapshot and makes a data folder of it, or the named partitions of one; partitions that\n"
    "are there already are never overwritten. A server that starts on it reads the queue on from there.\n";

struct arguments {
    const char *place; /* the one that is no flag */
    const char *admin, *data;
    uint64_t rate;
    TEL_VEC(uint32_t) partitions;
};

static bool take_flag(struct arguments *a, const char *flag, const char *value)
{
    unsigned long long n;
    int64_t bytes;
    if (strcmp(flag, "--admin") == 0) {
        a->admin = value;
    } else if (strcmp(flag, "--data") == 0) {
        a->data = value;
    } else if (strcmp(flag, "--partition") == 0) {
        if (!tel_span_to_u64(tel_span_cstr(value), &n) || n > INT32_MAX)
            return false;
        tel_vec_push(&a->partitions, (uint32_t)n);
    } else if (strcmp(flag, "--rate") == 0) {
        if (!tel_conf_parse_size(tel_span_cstr(value), &bytes) || bytes <= 0)
            return false;
        a->rate = (uint64_t)bytes;
    } else {
        return false;
    }
    return true;
}

/* flags: those that the command has, apart by spaces. Complains, with the usage, when it is wrong. */
static bool parse(int argc, char **argv, const char *flags, const char *usage, struct arguments *a)
{
    for (int i = 2; i < argc; i++) {
        bool last = i + 1 >= argc, ok;
        if (argv[i][0] != '-') {
            ok = a->place == NULL;
            a->place = argv[i];
        } else {
            ok = !last && strstr(flags, argv[i]) && take_flag(a, argv[i], argv[i + 1]);
            i++;
        }
        if (!ok) {
            a->place = NULL;
            break;
        }
    }
    if (!a->place)
        fputs(usage, stderr);
    return a->place != NULL;
}

static bool wants_help(int argc, char **argv, const char *usage)
{
    bool help = argc == 3 && strcmp(argv[2], "--help") == 0;
    if (help)
        fputs(usage, stdout);
    return help;
}

int shard_command_verify(int argc, char **argv)
{
    struct arguments a = {0};
    if (wants_help(argc, argv, verify_usage))
        return TEL_EXIT_OK;
    if (!parse(argc, argv, "", verify_usage, &a))
        return TEL_EXIT_USAGE;
    struct shard_verify_report report = {0};
    struct tel_error err = {0};
    if (shard_verify(a.place, stdout, &report, &err) != TEL_OK) {
        fprintf(stderr, "telescope-shard: %s\n", err.text);
        return TEL_EXIT_FAILED;
    }
    printf("%llu partitions, %llu days, %llu segments, %llu events, %llu bytes; %llu damaged, %llu "
           "events twice\n",
           report.partitions, report.days, report.segments, report.events, report.bytes,
           report.damaged, report.doubles);
    return report.damaged || report.doubles ? TEL_EXIT_FAILED : TEL_EXIT_OK;
}

/* ---- snapshot ----------------------------------------------------------------------------------- */

static void add_encoded(struct tel_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-_./", c))
            tel_buf_add(out, text, 1);
        else
            tel_buf_printf(out, "%%%02X", c);
    }
}

/* Shows the lines of the answer; keeps the last. */
struct answer {
    struct tel_buf line;
    bool done;
};

static bool show(void *ctx, struct tel_span piece)
{
    struct answer *answer = ctx;
    for (size_t i = 0; i < piece.len; i++) {
        tel_buf_add(&answer->line, piece.ptr + i, 1);
        if (piece.ptr[i] != '\n')
            continue;
        struct tel_span line = tel_buf_span(&answer->line);
        answer->done = tel_span_starts(line, TEL_SPAN("done "));
        bool failed = tel_span_starts(line, TEL_SPAN("error "));
        fprintf(failed ? stderr : stdout, "%s%.*s", failed ? "telescope-shard: " : "",
                TEL_SPAN_ARG(failed ? tel_span_slice(line, 6, line.len) : line));
        fflush(stdout);
        tel_buf_clear(&answer->line);
    }
    return true;
}

int shard_command_snapshot(int argc, char **argv)
{
    struct arguments a = {.admin = DEFAULT_ADMIN};
    if (wants_help(argc, argv, snapshot_usage))
        return TEL_EXIT_OK;
    if (!parse(argc, argv, "--admin --partition --rate", snapshot_usage, &a)) {
        tel_vec_free(&a.partitions);
        return TEL_EXIT_USAGE;
    }
    struct tel_buf url = {0}, text = {0};
    tel_buf_printf(&url, "%s/snapshot?rate=%llu", a.admin, (unsigned long long)a.rate);
    for (size_t i = 0; i < a.partitions.len; i++)
        tel_buf_printf(&url, "&partition=%u", a.partitions.items[i]);
    tel_buf_printf(&url, "&dest=");
    add_encoded(&url, a.place);
    static const char *const headers[] = {SHARD_SNAPSHOT_HEADER ": snapshot", NULL};
    struct answer answer = {0};
    struct tel_http_call call = {
        .method = "POST", .url = tel_buf_cstr(&url), .headers = headers, .on_data = show, .ctx = &answer};
    struct tel_http_client_options options = {0};
    struct tel_http_client *client = tel_http_client_new(&options);
    unsigned status = 0;
    struct tel_error err = {0};
    tel_code rc = tel_http_client_call(client, &call, &status, &text, &err);
    if (rc != TEL_OK)
        fprintf(stderr, "telescope-shard: %s: %s\n", a.admin, err.text);
    else if (status != 200)
        fprintf(stderr, "telescope-shard: %.*s\n", TEL_SPAN_ARG(tel_span_trim(tel_buf_span(&text))));
    bool done = rc == TEL_OK && status == 200 && answer.done;
    tel_http_client_free(client);
    tel_buf_free(&answer.line);
    tel_buf_free(&text);
    tel_buf_free(&url);
    tel_vec_free(&a.partitions);
    return done ? TEL_EXIT_OK : TEL_EXIT_FAILED;
}

/* ---- restore ------------------------------------------------------------------------------------ */

int shard_command_restore(int argc, char **argv)
{
    struct arguments a = {0};
    if (wants_help(argc, argv, restore_usage))
        return TEL_EXIT_OK;
    bool right = parse(argc, argv, "--data --partition", restore_usage, &a);
    if (right && !a.data)
        fputs(restore_usage, stderr);
    if (!right || !a.data) {
        tel_vec_free(&a.partitions);
        return TEL_EXIT_USAGE;
    }
    struct restore_options options = {
        .snapshot = a.place,
        .dir = a.data,
        .partitions = a.partitions.len ? a.partitions.items : NULL,
        .count = a.partitions.len,
        .out = stdout,
    };
    struct tel_error err = {0};
    tel_code rc = restore_run(&options, &err);
    if (rc != TEL_OK)
        fprintf(stderr, "telescope-shard: %s\n", err.text);
    tel_vec_free(&a.partitions);
    return rc == TEL_OK ? TEL_EXIT_OK : TEL_EXIT_FAILED;
}
