/* Any text as a configuration: a tree or mistakes, and what is right prints as what reads the same. */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/conf/doc.h"
#include "common/conf/value.h"
#include "tests/unit/conf/example.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the buffer of a string that never ends, once per syntax error. */
const char *__lsan_default_suppressions(void)
{
    return "leak:strbuf_append\nleak:libconfig\n";
}

static void fuzz_values(struct tel_span s)
{
    int64_t v;
    struct tel_buf text = {0};
    if (tel_conf_parse_size(s, &v)) {
        int64_t again;
        tel_conf_format_size(&text, v);
        TEL_CHECK(tel_conf_parse_size(tel_buf_span(&text), &again) && again == v);
    }
    tel_buf_clear(&text);
    if (tel_conf_parse_duration(s, &v)) {
        int64_t again;
        tel_conf_format_duration(&text, v);
        TEL_CHECK(tel_conf_parse_duration(tel_buf_span(&text), &again) && again == v);
    }
    tel_conf_is_host_port(s);
    tel_buf_free(&text);
}

static void print(struct tel_conf_target *target, struct tel_buf *out)
{
    tel_conf_print(out, target, 1);
}

static void fuzz_text(const char *text)
{
    struct tel_conf_mistakes mistakes = {0};
    struct tel_conf *conf = tel_conf_load_text("fuzz", text, &mistakes);
    TEL_CHECK(!conf == (mistakes.count > 0));
    struct example_config config, again;
    struct tel_conf_target target = {&example_table, &config}, target_again = {&example_table, &again};
    if (conf && tel_conf_read(conf, conf->root, &target, 1, &mistakes) == TEL_OK) {
        struct tel_buf once = {0}, twice = {0};
        print(&target, &once);
        struct tel_conf *copy = tel_conf_load_text("again", tel_buf_cstr(&once), &mistakes);
        TEL_CHECK(copy && tel_conf_read(copy, copy->root, &target_again, 1, &mistakes) == TEL_OK);
        print(&target_again, &twice);
        TEL_CHECK(tel_span_eq(tel_buf_span(&once), tel_buf_span(&twice)));
        tel_conf_free(copy);
        tel_buf_free(&once);
        tel_buf_free(&twice);
    }
    tel_conf_free(conf);
    tel_conf_mistakes_free(&mistakes);
}

static void fuzz_override(const char *text)
{
    struct tel_conf_mistakes mistakes = {0};
    struct tel_conf_source source = {NULL, &text, 1};
    struct tel_conf *conf = tel_conf_load(&source, &mistakes);
    struct example_config config;
    struct tel_conf_target target = {&example_table, &config};
    if (conf)
        (void)!tel_conf_read(conf, conf->root, &target, 1, &mistakes);
    tel_conf_free(conf);
    tel_conf_mistakes_free(&mistakes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tel_span s = tel_span_make(data, size);
    /* Files of the machine are not part of the input. */
    if (size > 4096 || tel_span_find(s, TEL_SPAN("file:")) != SIZE_MAX ||
        tel_span_find(s, TEL_SPAN("@include")) != SIZE_MAX)
        return 0;
    fuzz_values(s);
    char *text = tel_strndup(s);
    fuzz_text(text);
    fuzz_override(text);
    free(text);
    return 0;
}
