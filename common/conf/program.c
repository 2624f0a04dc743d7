#define TEL_LOG_COMPONENT "program"

#include "common/conf/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/vec.h"
#include "common/conf/doc.h"
#include "common/sys/signals.h"
#include "common/sys/thread.h"

struct common_config {
#define CONF TEL_CONF_MEMBER
#include "common/conf/program.def"
#undef CONF
};

#define CONF(...) TEL_CONF_ITEM(struct common_config, __VA_ARGS__)
static const struct tel_conf_item common_items[] = {
#include "common/conf/program.def"
};
#undef CONF
static const struct tel_conf_table common_table =
    TEL_CONF_TABLE(common_items, struct common_config);

struct loaded {
    struct tel_conf *conf;
    struct common_config common;
    void *config; /* the program's struct */
};

struct tel_program_run {
    const struct tel_program *program;
    const char *file;
    TEL_VEC(const char *) overrides;
    TEL_VEC(char *) made; /* overrides that were put together here */
    bool check, print_config;
    const char *print_docs;
    struct loaded now;
};

enum parse { PARSE_OK, PARSE_DONE, PARSE_WRONG };

static void print_help(const struct tel_program *program)
{
    struct tel_buf out = {0};
    tel_buf_printf(&out, "usage: %s [options]\n\n%s\n\nOptions:\n", program->name,
                   program->summary);
    for (size_t i = 0; i < program->flag_count; i++) {
        const struct tel_program_flag *flag = &program->flags[i];
        char text[64];
        snprintf(text, sizeof text, "%s %s", flag->flag, flag->value ? flag->value : "");
        tel_buf_printf(&out, "  %-26s %s%s\n", text, flag->doc,
                       flag->many ? " (may be repeated)" : "");
    }
    tel_buf_printf(&out,
                   "  --config FILE              read this configuration (libconfig)\n"
                   "  -o KEY=VALUE               set a key over the file (may be repeated)\n"
                   "  --check                    list every mistake in the configuration and exit\n"
                   "  --print-config             print the configuration in effect and exit\n"
                   "  --print-docs NAME          print a page of documentation and exit: config");
    for (size_t i = 0; i < program->doc_count; i++)
        tel_buf_printf(&out, ", %s", program->docs[i].name);
    tel_buf_printf(&out, "\n"
                         "  --log-level LEVEL          debug, info, warn, error, off\n"
                         "  --log-format FORMAT        text, json\n"
                         "  --help, --version\n\n"
                         "Keys:\n");
    const struct tel_conf_table *tables[] = {program->table, &common_table};
    tel_conf_doc_help(&out, tables, 2);
    fwrite(out.ptr, 1, out.len, stdout);
    tel_buf_free(&out);
}

static const struct tel_program_flag shared_flags[] = {
    {"--log-level", "LEVEL", "log.level", NULL, false},
    {"--log-format", "FORMAT", "log.format", NULL, false},
};

static const struct tel_program_flag *find_flag(const struct tel_program *program,
                                                struct tel_span name)
{
    for (size_t i = 0; i < program->flag_count; i++) {
        if (tel_span_eq_cstr(name, program->flags[i].flag))
            return &program->flags[i];
    }
    for (size_t i = 0; i < TEL_ARRAY_LEN(shared_flags); i++) {
        if (tel_span_eq_cstr(name, shared_flags[i].flag))
            return &shared_flags[i];
    }
    return NULL;
}

/* A flag that may be repeated adds to the list that an earlier one began. */
static void add_override(struct tel_program_run *run, const struct tel_program_flag *flag,
                         const char *value)
{
    struct tel_buf text = {0};
    size_t key_len = strlen(flag->key);
    char **earlier = NULL;
    for (size_t i = 0; flag->many && i < run->made.len; i++) {
        if (strncmp(run->made.items[i], flag->key, key_len) == 0 &&
            run->made.items[i][key_len] == '=')
            earlier = &run->made.items[i];
    }
    if (flag->many) {
        if (earlier) {
            struct tel_span list = tel_span_cstr(*earlier);
            tel_buf_add_span(&text, tel_span_slice(list, 0, list.len - 1));
            TEL_BUF_ADD_LIT(&text, ", \"");
        } else {
            tel_buf_printf(&text, "%s=[\"", flag->key);
        }
        for (const char *p = value; *p; p++) {
            if (*p == '"' || *p == '\\')
                tel_buf_add_char(&text, '\\');
            tel_buf_add_char(&text, *p);
        }
        TEL_BUF_ADD_LIT(&text, "\"]");
    } else {
        tel_buf_printf(&text, "%s=%s", flag->key, value);
    }
    char *made = tel_strdup(tel_buf_cstr(&text));
    tel_buf_free(&text);
    if (!earlier) {
        tel_vec_push(&run->made, made);
        tel_vec_push(&run->overrides, made);
        return;
    }
    for (size_t i = 0; i < run->overrides.len; i++) {
        if (run->overrides.items[i] == *earlier)
            run->overrides.items[i] = made;
    }
    free(*earlier);
    *earlier = made;
}

struct args {
    int argc, next;
    char **argv;
};

/* The value of the option at args->next - 1: behind '=', or the next argument. */
static const char *take_value(struct args *args, const char *inline_value)
{
    if (inline_value)
        return inline_value;
    return args->next < args->argc ? args->argv[args->next++] : NULL;
}

static enum parse wrong(const struct tel_program *program, const char *what, const char *arg)
{
    struct tel_buf text = {0};
    tel_buf_printf(&text, "%s: %s ", program->name, what);
    tel_buf_add_escaped(&text, tel_span_cstr(arg), 256);
    tel_buf_printf(&text, "\nTry %s --help.\n", program->name);
    fputs(tel_buf_cstr(&text), stderr);
    tel_buf_free(&text);
    return PARSE_WRONG;
}

static enum parse parse_option(struct tel_program_run *run, struct args *args)
{
    const struct tel_program *program = run->program;
    const char *arg = args->argv[args->next++];
    const char *equals = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    struct tel_span name = equals ? tel_span_make(arg, (size_t)(equals - arg)) : tel_span_cstr(arg);
    const char *inline_value = equals ? equals + 1 : NULL;
    const struct tel_program_flag *flag = find_flag(program, name);

    if (flag && !flag->value) {
        if (inline_value)
            return wrong(program, "no value is wanted by", flag->flag);
        add_override(run, flag, "true");
        return PARSE_OK;
    }
    if (!flag && (tel_span_eq_cstr(name, "--help") || tel_span_eq_cstr(name, "-h"))) {
        print_help(program);
        return PARSE_DONE;
    }
    if (!flag && tel_span_eq_cstr(name, "--version")) {
        printf("%s %s\n", program->name, TEL_VERSION);
        return PARSE_DONE;
    }
    if (!flag && tel_span_eq_cstr(name, "--check")) {
        run->check = true;
        return PARSE_OK;
    }
    if (!flag && tel_span_eq_cstr(name, "--print-config")) {
        run->print_config = true;
        return PARSE_OK;
    }
    bool is_config = tel_span_eq_cstr(name, "--config"), is_o = tel_span_eq_cstr(name, "-o");
    bool is_docs = tel_span_eq_cstr(name, "--print-docs");
    if (!flag && !is_config && !is_o && !is_docs)
        return wrong(program, "unknown option", arg);
    const char *value = take_value(args, inline_value);
    if (!value)
        return wrong(program, "a value is missing behind", arg);
    if (flag)
        add_override(run, flag, value);
    else if (is_config)
        run->file = value;
    else if (is_docs)
        run->print_docs = value;
    else
        tel_vec_push(&run->overrides, value);
    return PARSE_OK;
}

static void loaded_free(struct loaded *loaded)
{
    tel_conf_free(loaded->conf);
    free(loaded->config);
    *loaded = (struct loaded){0};
}

static bool load(const struct tel_program_run *run, struct loaded *ret,
                 struct tel_conf_mistakes *mistakes)
{
    const struct tel_program *program = run->program;
    struct tel_conf_source source = {run->file, run->overrides.items, run->overrides.len};
    struct loaded loaded = {.conf = tel_conf_load(&source, mistakes)};
    if (!loaded.conf)
        return false;
    loaded.config = tel_calloc(1, program->table->struct_size);
    struct tel_conf_target targets[] = {{program->table, loaded.config},
                                        {&common_table, &loaded.common}};
    /* The check is made even when some keys are wrong: they have their defaults then, and whoever
     * mends a configuration sees all of it at once. */
    tel_code rc = tel_conf_read(loaded.conf, loaded.conf->root, targets, 2, mistakes);
    struct tel_conf_mistakes more = {.said = mistakes};
    if (program->check)
        program->check(loaded.config, loaded.conf, &more);
    tel_buf_add_span(&mistakes->text, tel_buf_span(&more.text));
    mistakes->count += more.count;
    tel_conf_mistakes_free(&more);
    if (rc == TEL_OK && mistakes->count == 0) {
        *ret = loaded;
        return true;
    }
    loaded_free(&loaded);
    return false;
}

static void apply_log(const struct common_config *common)
{
    tel_log_set_level((enum tel_log_level)common->log_level);
    tel_log_set_format((enum tel_log_format)common->log_format);
}

static int print_docs(const struct tel_program_run *run)
{
    const struct tel_program *program = run->program;
    struct tel_buf out = {0};
    const struct tel_conf_table *tables[] = {program->table, &common_table};
    if (strcmp(run->print_docs, "config") == 0)
        tel_conf_doc_markdown(&out, program->name, tables, 2);
    for (size_t i = 0; i < program->doc_count; i++) {
        if (strcmp(run->print_docs, program->docs[i].name) == 0)
            program->docs[i].write(&out);
    }
    if (out.len == 0) {
        wrong(program, "there is no page", run->print_docs);
        return TEL_EXIT_USAGE;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    tel_buf_free(&out);
    return TEL_EXIT_OK;
}

static int print_config(struct tel_program_run *run)
{
    struct tel_buf out = {0};
    struct tel_conf_target targets[] = {{run->program->table, run->now.config},
                                        {&common_table, &run->now.common}};
    tel_conf_print(&out, targets, 2);
    fwrite(out.ptr, 1, out.len, stdout);
    tel_buf_free(&out);
    return TEL_EXIT_OK;
}

static int start(struct tel_program_run *run)
{
    struct tel_conf_mistakes mistakes = {0};
    if (!load(run, &run->now, &mistakes)) {
        fwrite(mistakes.text.ptr, 1, mistakes.text.len, stderr);
        fprintf(stderr, "%s: %zu mistake%s in the configuration\n", run->program->name,
                mistakes.count, mistakes.count == 1 ? "" : "s");
        tel_conf_mistakes_free(&mistakes);
        return TEL_EXIT_USAGE;
    }
    tel_conf_mistakes_free(&mistakes);
    if (run->print_config)
        return print_config(run);
    if (run->check) {
        printf("%s: the configuration is right\n", run->program->name);
        return TEL_EXIT_OK;
    }
    apply_log(&run->now.common);
    tel_signals_block();
    struct tel_error err = {0};
    tel_code rc = run->program->run(run->now.config, run, &err);
    if (rc != TEL_OK)
        tel_log_error("failed", tel_kv_str("code", tel_code_name(rc)), tel_kv_error(&err));
    tel_log_flush();
    return rc == TEL_OK ? TEL_EXIT_OK : TEL_EXIT_FAILED;
}

int tel_program_main(const struct tel_program *program, int argc, char **argv)
{
    struct tel_program_run run = {.program = program};
    struct args args = {argc, 1, argv};
    enum parse parsed = PARSE_OK;
    while (parsed == PARSE_OK && args.next < argc)
        parsed = parse_option(&run, &args);
    int code = parsed == PARSE_WRONG ? TEL_EXIT_USAGE : TEL_EXIT_OK;
    if (parsed == PARSE_OK)
        code = run.print_docs ? print_docs(&run) : start(&run);
    /* What was printed counts only if it got there. */
    if (fflush(stdout) != 0 && code == TEL_EXIT_OK)
        code = TEL_EXIT_FAILED;
    loaded_free(&run.now);
    for (size_t i = 0; i < run.made.len; i++)
        free(run.made.items[i]);
    tel_vec_free(&run.made);
    tel_vec_free(&run.overrides);
    return code;
}

struct tel_conf *tel_program_conf(struct tel_program_run *run)
{
    return run->now.conf;
}

static void log_mistakes(const struct tel_conf_mistakes *mistakes)
{
    struct tel_span rest = tel_buf_span(&mistakes->text);
    while (rest.len) {
        struct tel_span line = tel_span_split(&rest, '\n');
        tel_log_error("the configuration is wrong, the old one stays",
                      tel_kv_span("mistake", line));
    }
}

void tel_program_wait(struct tel_program_run *run,
                      void (*on_reload)(const void *config, struct tel_conf *conf, void *arg),
                      void *arg)
{
    while (tel_signals_wait(TEL_NO_DEADLINE) == TEL_SIGNAL_RELOAD) {
        struct tel_conf_mistakes mistakes = {0};
        struct loaded again;
        if (load(run, &again, &mistakes)) {
            apply_log(&again.common);
            tel_log_info("configuration read again");
            if (on_reload)
                on_reload(again.config, again.conf, arg);
            loaded_free(&again);
        } else {
            log_mistakes(&mistakes);
        }
        tel_conf_mistakes_free(&mistakes);
    }
    /* Whoever asks a second time does not want to wait until all is drained. */
    tel_signals_unblock_stop();
}
