/*
 * The shared start of every program: flags, configuration, logging, signals, exit codes.
 *
 *     static tel_code run(const void *config, struct tel_program_run *run, struct tel_error *err)
 *     {
 *         ... start threads ...
 *         tel_program_wait(run, on_reload, self);     // until SIGTERM or SIGINT
 *         ... drain, join ...
 *         return TEL_OK;
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const struct tel_program program = {
 *             .name = "telescope-sidecar", .summary = "Collects logs and sends them to Kafka.",
 *             .table = &sidecar_conf_table, .run = run,
 *         };
 *         return tel_program_main(&program, argc, argv);
 *     }
 *
 * Every program understands --config FILE, -o KEY=VALUE, --check, --help, --version, --log-format
 * text|json, --log-level LEVEL, --print-config, --print-docs NAME, and has the keys log.level and
 * log.format. It exits 0 when it is done, 1 when it failed, 2 for wrong usage or configuration.
 */
#ifndef TEL_CONF_PROGRAM_H
#define TEL_CONF_PROGRAM_H

#include "common/conf/conf.h"

enum { TEL_EXIT_OK = 0, TEL_EXIT_FAILED = 1, TEL_EXIT_USAGE = 2 };

/* A flag of the program's own: short for -o key=value. For a list of strings it may be given
 * several times. */
struct tel_program_flag {
    const char *flag;  /* "--data" */
    const char *value; /* "DIR"; NULL: takes none and sets `true` */
    const char *key;   /* "data.dir" */
    const char *doc;
    bool many;
};

/* A page for --print-docs; "config" is always there. */
struct tel_program_doc {
    const char *name; /* "metrics" */
    void (*write)(struct tel_buf *out);
};

struct tel_program_run;

struct tel_program {
    const char *name;
    const char *summary;
    const struct tel_conf_table *table;
    const struct tel_program_flag *flags;
    size_t flag_count;
    const struct tel_program_doc *docs;
    size_t doc_count;
    /* What a table cannot say: keys that depend on each other, sections read at run time. Adds to
     * mistakes. May be NULL. */
    void (*check)(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes);
    /* Does the work; signals are blocked already. An error is logged, and exits 1. */
    tel_code (*run)(const void *config, struct tel_program_run *run, struct tel_error *err);
};

/* Returns the exit code. */
int tel_program_main(const struct tel_program *program, int argc, char **argv);

/* The configuration's tree, for sections read at run time. */
struct tel_conf *tel_program_conf(struct tel_program_run *run);

/* Waits until the program shall stop; a second SIGTERM or SIGINT then ends it at once. For each
 * SIGHUP the configuration is read again; if it is right, the log level and format change and
 * on_reload (may be NULL) gets it. It is valid during the call only. If it is wrong, that is logged
 * and the old one stays. */
void tel_program_wait(struct tel_program_run *run,
                      void (*on_reload)(const void *config, struct tel_conf *conf, void *arg),
                      void *arg);

#endif
