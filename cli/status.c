/* telescope status: what /select/status says, as a table. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char usage[] =
    "usage: telescope status [--url URL] [--ca FILE] [-o text|json]\n"
    "Shards, replicas, lags and sizes. Exits 0 if all is well, 3 if some shard is not ready, 2 on an error.\n";

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

struct totals {
    uint64_t events, stored, raw;
    bool all_ready;
};

static void print_shard(const json_t *s, struct totals *t)
{
    char stored[32], raw[32];
    uint64_t stored_bytes = (uint64_t)number_of(s, "stored_bytes"), raw_bytes = (uint64_t)number_of(s, "raw_bytes");
    json_int_t high = number_of(s, "high"), watermark = number_of(s, "watermark");
    cli_size_text(stored, stored_bytes);
    cli_size_text(raw, raw_bytes);
    printf("%9lld  %-16s %-11s %12lld %10lld %8lld ms %10s %10s%s%s\n", (long long)number_of(s, "partition"),
           text_of(s, "node"), text_of(s, "state"), (long long)number_of(s, "events"),
           (long long)(high > watermark ? high - watermark : 0), (long long)number_of(s, "lag_ms"), raw,
           stored, *text_of(s, "error") ? "  " : "", text_of(s, "error"));
    t->events += (uint64_t)number_of(s, "events");
    t->stored += stored_bytes;
    t->raw += raw_bytes;
    t->all_ready = t->all_ready && strcmp(text_of(s, "state"), "ready") == 0;
}

static int print_table(struct tel_buf *text)
{
    json_error_t e;
    json_t *root = json_loadb(text->ptr, text->len, 0, &e);
    json_t *shards = json_object_get(root, "shards"), *shard;
    size_t i;
    if (!json_is_array(shards)) {
        cli_complain("the server's answer is not the status of a router");
        json_decref(root);
        return CLI_ERROR;
    }
    struct totals t = {.all_ready = true};
    printf("%9s  %-16s %-11s %12s %10s %11s %10s %10s\n", "partition", "node", "state", "events", "behind", "lag",
           "raw", "stored");
    json_array_foreach(shards, i, shard)
        print_shard(shard, &t);
    char stored[32], raw[32];
    cli_size_text(stored, t.stored);
    cli_size_text(raw, t.raw);
    if (t.raw > 0)
        printf("%llu events; stored: %s of text in %s (%.3f)\n", (unsigned long long)t.events, raw, stored,
               (double)t.stored / (double)t.raw);
    else
        printf("%llu events; no segment is stored yet\n", (unsigned long long)t.events);
    json_decref(root);
    return t.all_ready ? 0 : CLI_PARTIAL;
}

int cli_status(int argc, char **argv)
{
    struct cli_server server;
    bool json = false;
    cli_server_init(&server);
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(usage, stdout), 0;
        if ((v = cli_flag(argc, argv, &i, "-o")) && (strcmp(v, "json") == 0 || strcmp(v, "text") == 0))
            json = v[0] == 'j';
        else if (!cli_server_flag(&server, argc, argv, &i)) {
            cli_complain("unknown option %s", argv[i]);
            return fputs(usage, stderr), CLI_ERROR;
        }
    }
    struct tel_http_call call = {.method = "GET", .timeout_ms = 10000};
    struct tel_buf text = {0};
    struct tel_error err;
    unsigned status = 0;
    cli_server_open(&server);
    tel_code rc = cli_server_call(&server, "/select/status", &call, &status, &text, &err);
    cli_server_close(&server);
    int code = 0;
    if (rc != TEL_OK) {
        cli_complain("%s", err.text);
        code = CLI_ERROR;
    } else if (status != 200) {
        cli_complain("%u: %s", status, tel_buf_cstr(&text));
        code = CLI_ERROR;
    } else if (json) {
        fwrite(text.ptr, 1, text.len, stdout);
    } else {
        code = print_table(&text);
    }
    tel_buf_free(&text);
    return code;
}
