/* A program as main.c files are, whose work is to say what it was told. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/conf/program.h"
#include "tests/unit/conf/example.h"

static void on_reload(const void *config, struct tel_conf *conf, void *arg)
{
    const struct example_config *example = config;
    (void)conf;
    (void)arg;
    printf("reloaded %s\n", example->name);
    fflush(stdout);
}

static void check(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes)
{
    const struct example_config *example = config;
    if (example->batch_spool_on && example->batch_max_events == 1)
        tel_conf_mistake(mistakes, conf->root, "batch.spool.on",
                         "makes no sense for single events");
}

static tel_code run(const void *config, struct tel_program_run *run_, struct tel_error *err)
{
    const struct example_config *example = config;
    if (tel_span_eq_cstr(TEL_SPAN("fail"), example->name))
        return tel_error_set(err, TEL_ERR_IO, "as asked");
    printf("ready %s %zu\n", example->name, example->kafka_brokers.len);
    fflush(stdout);
    tel_log_debug("waiting");
    tel_program_wait(run_, on_reload, NULL);
    printf("stopped\n");
    fflush(stdout);
    while (strcmp(example->name, "hang") == 0)
        pause();
    return TEL_OK;
}

static void write_metrics_page(struct tel_buf *out)
{
    TEL_BUF_ADD_LIT(out, "# Metrics\n");
}

int main(int argc, char **argv)
{
    static const struct tel_program_flag flags[] = {
        {"--name", "NAME", "name", "what to say", false},
        {"--broker", "HOST:PORT", "kafka.brokers", "a broker", true},
        {"--spool", NULL, "batch.spool.on", "spool to disk", false},
    };
    static const struct tel_program_doc docs[] = {{"metrics", write_metrics_page}};
    static const struct tel_program program = {
        .name = "conf_program",
        .summary = "Shows how programs start.",
        .table = &example_table,
        .flags = flags,
        .flag_count = TEL_ARRAY_LEN(flags),
        .docs = docs,
        .doc_count = TEL_ARRAY_LEN(docs),
        .check = check,
        .run = run,
    };
    return tel_program_main(&program, argc, argv);
}
