/* Values, tables, overrides, references, mistakes, documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/conf/doc.h"
#include "common/conf/value.h"
#include "common/sys/fs.h"
#include "tests/unit/conf/example.h"

struct result {
    struct tel_conf *conf;
    struct example_config config;
    struct tel_conf_mistakes mistakes;
    tel_code rc;
};

static struct result read_text(const char *text)
{
    struct result r = {.rc = TEL_ERR_PARSE};
    r.conf = tel_conf_load_text("test.conf", text, &r.mistakes);
    struct tel_conf_target target = {&example_table, &r.config};
    if (r.conf)
        r.rc = tel_conf_read(r.conf, r.conf->root, &target, 1, &r.mistakes);
    return r;
}

static struct result read_overrides(const char *file, const char *const *overrides, size_t count)
{
    struct result r = {.rc = TEL_ERR_PARSE};
    struct tel_conf_source source = {file, overrides, count};
    r.conf = tel_conf_load(&source, &r.mistakes);
    struct tel_conf_target target = {&example_table, &r.config};
    if (r.conf)
        r.rc = tel_conf_read(r.conf, r.conf->root, &target, 1, &r.mistakes);
    return r;
}

static void drop(struct result *r)
{
    tel_conf_free(r->conf);
    tel_conf_mistakes_free(&r->mistakes);
}

static const char *said(struct result *r)
{
    return tel_buf_cstr(&r->mistakes.text);
}

static void test_defaults(void **state)
{
    (void)state;
    struct result r = read_text("name = \"x\";");
    assert_string_equal(said(&r), "");
    assert_int_equal(r.rc, TEL_OK);
    assert_string_equal(r.config.name, "x");
    assert_int_equal(r.config.kafka_brokers.len, 1);
    assert_string_equal(r.config.kafka_brokers.items[0], "localhost:9092");
    assert_int_equal(r.config.kafka_codec, 1);
    assert_string_equal(r.config.kafka_password, "");
    assert_int_equal(r.config.batch_max_bytes, 1 << 20);
    assert_int_equal(r.config.batch_linger_ms, 200);
    assert_int_equal(r.config.batch_max_events, 10000);
    assert_true(r.config.batch_fill > 0.49 && r.config.batch_fill < 0.51);
    assert_false(r.config.batch_spool_on);
    assert_int_equal(r.config.inputs.len + r.config.outputs.len, 0);
    drop(&r);
}

static void test_every_type(void **state)
{
    (void)state;
    struct result r = read_text(
        "name = \"x\";\n"
        "kafka = { brokers = [\"a:1\", \"b:2\"]; codec = \"zstd\"; };\n"
        "batch: { max_bytes = \"64KiB\"; linger = \"1m\"; max_events = 5;\n"
        "  fill = 1; spool = { on = true; }; };\n"
        "inputs = ( { plugin = \"tail\"; paths = [\"/a\"]; } );\n"
        "outputs = ( { url = \"u1\"; }, { url = \"u2\"; retry = { every = \"2s\"; }; } );");
    assert_string_equal(said(&r), "");
    assert_string_equal(r.config.kafka_brokers.items[1], "b:2");
    assert_int_equal(r.config.kafka_codec, 2);
    assert_int_equal(r.config.batch_max_bytes, 65536);
    assert_int_equal(r.config.batch_linger_ms, 60000);
    assert_int_equal(r.config.batch_max_events, 5);
    assert_true(r.config.batch_fill > 0.99);
    assert_true(r.config.batch_spool_on);
    assert_int_equal(r.config.inputs.len, 1);
    const struct tel_conf_node *input = r.config.inputs.nodes[0];
    assert_string_equal(input->path, "inputs[0]");
    assert_int_equal(input->line, 5);
    assert_string_equal(tel_conf_node_get(input, TEL_SPAN("plugin"))->v.text.ptr, "tail");
    assert_string_equal(tel_conf_node_get(input, TEL_SPAN("paths"))->first->path,
                        "inputs[0].paths[0]");
    assert_int_equal(r.config.outputs.len, 2);
    struct output_config *second = TEL_CONF_SECTION(r.config.outputs, struct output_config, 1);
    assert_string_equal(second->url, "u2");
    assert_int_equal(second->retry_every_ms, 2000);
    assert_int_equal(TEL_CONF_SECTION(r.config.outputs, struct output_config, 0)->retry_every_ms,
                     1000);
    drop(&r);
}

/* All at once, each with file, line and key. */
static void test_all_mistakes(void **state)
{
    (void)state;
    struct result r = read_text("kafka = {\n"
                                "  brokrs = [\"a:1\"];\n"
                                "  codec = \"gzip\";\n"
                                "  password = 7;\n"
                                "};\n"
                                "batch = {\n"
                                "  max_bytes = \"64Mib\";\n"
                                "  linger = 5;\n"
                                "  max_events = 2000000;\n"
                                "  fill = \"much\";\n"
                                "  spool = true;\n"
                                "};\n"
                                "outputs = ( { retry = { evry = \"1s\"; }; }, 5 );\n"
                                "bacth = { linger = \"1s\"; };\n"
                                "quite_other = 1;\n");
    static const char *const wanted[] = {
        "test.conf: name: must be set\n",
        "test.conf:2: kafka.brokrs: no such key; did you mean kafka.brokers?\n",
        "test.conf:3: kafka.codec: \"gzip\" is not one of none, lz4, zstd\n",
        "test.conf:4: kafka.password: 7 is not a string\n",
        ("test.conf:7: batch.max_bytes: \"64Mib\" is not a size: write 4096, \"64KiB\" or "
         "\"10MB\"\n"),
        "test.conf:8: batch.linger: 5 is not a duration: write \"500ms\", \"5s\" or \"1h30m\"\n",
        "test.conf:9: batch.max_events: 2000000 is above the most allowed, 1000000\n",
        "test.conf:10: batch.fill: \"much\" is not a number\n",
        "test.conf:11: batch.spool: is a group of keys: write spool = { ... }\n",
        "test.conf:13: outputs[0].url: must be set\n",
        "test.conf:13: outputs[0].retry.evry: no such key; did you mean retry.every?\n",
        "test.conf:13: outputs[1]: 5 is not a group: write { ... }\n",
        "test.conf:14: bacth: no such key; did you mean batch.linger?\n",
        "test.conf:15: quite_other: no such key\n",
    };
    assert_int_equal(r.rc, TEL_ERR_INVALID);
    for (size_t i = 0; i < TEL_ARRAY_LEN(wanted); i++) {
        if (!strstr(said(&r), wanted[i]))
            fail_msg("missing: %s\nin:\n%s", wanted[i], said(&r));
    }
    assert_int_equal(r.mistakes.count, TEL_ARRAY_LEN(wanted));
    drop(&r);
}

static void test_ranges(void **state)
{
    (void)state;
    struct result r = read_text("name = \"12345678901234567\"; kafka = { brokers = []; };\n"
                                "batch = { max_bytes = 1023; linger = \"61s\"; fill = 1.01; };");
    assert_non_null(strstr(said(&r), "name: its length 17 is above the most allowed, 16"));
    assert_non_null(strstr(said(&r), "kafka.brokers: the number of entries 0 is below the least"));
    assert_non_null(strstr(said(&r), "batch.max_bytes: 1023B is below the least allowed, 1KiB"));
    assert_non_null(strstr(said(&r), "batch.linger: 61s is above the most allowed, 1m"));
    assert_non_null(strstr(said(&r), "batch.fill: 1.01 is above the most allowed, 1"));
    assert_int_equal(r.mistakes.count, 5);
    drop(&r);
}

static void test_syntax_error(void **state)
{
    (void)state;
    struct result r = read_text("name = \"x\";\nkafka = { brokers = \n};");
    assert_int_equal(r.rc, TEL_ERR_PARSE);
    assert_string_equal(said(&r), "test.conf:3: syntax error\n");
    drop(&r);
    r = read_text("name = \"x\";\nname = \"y\";");
    assert_int_equal(r.rc, TEL_ERR_PARSE);
    assert_string_equal(said(&r), "test.conf:2: duplicate setting name\n");
    drop(&r);
    struct tel_buf deep = {0};
    for (int i = 0; i < 60; i++)
        TEL_BUF_ADD_LIT(&deep, "a = { ");
    for (int i = 0; i < 60; i++)
        TEL_BUF_ADD_LIT(&deep, "}; ");
    r = read_text(tel_buf_cstr(&deep));
    assert_int_equal(r.rc, TEL_ERR_PARSE);
    assert_non_null(strstr(said(&r), "nested more than"));
    tel_buf_free(&deep);
    drop(&r);
    r = read_overrides("/nowhere/x.conf", NULL, 0);
    assert_string_equal(
        said(&r), "/nowhere/x.conf: cannot read the configuration: No such file or directory\n");
    drop(&r);
    r = read_overrides("/tmp", NULL, 0);
    assert_string_equal(said(&r), "/tmp: cannot read the configuration: not a file\n");
    drop(&r);
}

/* libconfig cuts these in silence; we do not. */
static void test_large_numbers(void **state)
{
    (void)state;
    struct result r =
        read_text("name = \"5000000000 \\\" 5000000000\"; # 5000000000\n"
                  "/* 5000000000\n */ batch = { max_events = 5000000000; };\n"
                  "// 5000000000\n"
                  "inputs = ( { a-5000000000 = 2147483647; b = ( -2147483648, 6000000000L );\n"
                  "c = 1.5e300; d = -2147483649; e = 0xffffffff; f = 0x7fffffff; } );");
    assert_non_null(
        strstr(said(&r), "test.conf:3: a number this large needs an L: write 5000000000L\n"));
    assert_non_null(
        strstr(said(&r), "test.conf:6: a number this large needs an L: write -2147483649L\n"));
    assert_non_null(
        strstr(said(&r), "test.conf:6: a number this large needs an L: write 0xffffffffL\n"));
    assert_null(strstr(said(&r), "6000000000"));
    if (r.mistakes.count != 3)
        fail_msg("%s", said(&r));
    drop(&r);
    r = read_text("name = \"x\"; batch = { max_bytes = 2000000000; };");
    assert_non_null(strstr(said(&r), "batch.max_bytes: 2GB is above the most allowed, 16MiB"));
    drop(&r);

    /* Included files are looked at too. */
    char dir[] = "/tmp/tel-test-conf-XXXXXX", main_path[64], part_path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(main_path, sizeof main_path, "%s/main.conf", dir);
    snprintf(part_path, sizeof part_path, "%s/part.conf", dir);
    struct tel_fs *fs = tel_fs_system();
    assert_int_equal(tel_fs_write_atomic(fs, main_path,
                                         TEL_SPAN("name = \"x\";\n@include \"part.conf\"\n"), NULL),
                     TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, part_path,
                                         TEL_SPAN("batch = {\nmax_events = 5000000001; };"), NULL),
                     TEL_OK);
    r = read_overrides(main_path, NULL, 0);
    assert_non_null(
        strstr(said(&r), "part.conf:2: a number this large needs an L: write 5000000001L"));
    drop(&r);
    assert_int_equal(
        tel_fs_write_atomic(fs, part_path, TEL_SPAN("batch = { max_events = 5; };"), NULL), TEL_OK);
    r = read_overrides(main_path, NULL, 0);
    assert_string_equal(said(&r), "");
    assert_int_equal(r.config.batch_max_events, 5);
    drop(&r);
    assert_int_equal(tel_fs_remove_all(fs, dir, NULL), TEL_OK);
}

static void test_overrides(void **state)
{
    (void)state;
    char path[] = "/tmp/tel-test-conf-XXXXXX";
    int fd = mkstemp(path);
    const char *text = "name = \"file\"; batch = { linger = \"1s\"; max_events = 7; };\n"
                       "outputs = ( { url = \"u\"; } );";
    assert_int_equal(write(fd, text, strlen(text)), (long)strlen(text));
    close(fd);
    const char *const overrides[] = {"name=5",
                                     "batch.linger=2s",
                                     "kafka.brokers=a:1, b:2",
                                     "batch.spool.on=true",
                                     "batch.fill=0.25",
                                     "outputs.0.url=v=w",
                                     "inputs=( { plugin = \"p\"; } )",
                                     "kafka.codec=none",
                                     "batch.max_bytes=2MiB"};
    struct result r = read_overrides(path, overrides, TEL_ARRAY_LEN(overrides));
    assert_string_equal(said(&r), "");
    assert_string_equal(r.config.name, "5");
    assert_int_equal(r.config.batch_linger_ms, 2000);
    assert_int_equal(r.config.batch_max_events, 7);
    assert_int_equal(r.config.kafka_brokers.len, 2);
    assert_string_equal(r.config.kafka_brokers.items[1], "b:2");
    assert_true(r.config.batch_spool_on);
    assert_true(r.config.batch_fill < 0.26);
    assert_string_equal(TEL_CONF_SECTION(r.config.outputs, struct output_config, 0)->url, "v=w");
    assert_string_equal(r.config.inputs.nodes[0]->first->v.text.ptr, "p");
    assert_int_equal(r.config.kafka_codec, 0);
    assert_int_equal(r.config.batch_max_bytes, 2 << 20);
    drop(&r);
    unlink(path);

    const char *const bad[] = {"name",   "batch.linger.deep.er=1", "=5", "name=x",
                               "a..b=1", "outputs.7.url=x"};
    r = read_overrides(NULL, bad, TEL_ARRAY_LEN(bad));
    assert_non_null(strstr(said(&r), "-o: name: has no '='"));
    assert_non_null(strstr(said(&r), "-o: a..b: is not a key"));
    drop(&r);
    const char *const unknown[] = {"name=x", "batch.lingr=1s", "batch.max_events=many"};
    r = read_overrides(NULL, unknown, TEL_ARRAY_LEN(unknown));
    assert_non_null(strstr(said(&r), "-o: batch.lingr: no such key; did you mean batch.linger?"));
    assert_non_null(strstr(said(&r), "-o: batch.max_events: \"many\" is not a whole number"));
    drop(&r);
}

static void test_references(void **state)
{
    (void)state;
    char path[] = "/tmp/tel-test-conf-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "s3cret\n", 7), 7);
    close(fd);
    setenv("TEL_TEST_EVENTS", "42", 1);
    unsetenv("TEL_TEST_ABSENT");
    char text[512];
    snprintf(text, sizeof text,
             "name = \"a$${b}\"; kafka = { password = \"${file:%s}\"; brokers = "
             "\"h${env:TEL_TEST_EVENTS}:1\"; };\n"
             "batch = { max_events = \"${env:TEL_TEST_EVENTS}\"; };",
             path);
    struct result r = read_text(text);
    assert_string_equal(said(&r), "");
    assert_string_equal(r.config.name, "a${b}");
    assert_string_equal(r.config.kafka_password, "s3cret");
    assert_string_equal(r.config.kafka_brokers.items[0], "h42:1");
    assert_int_equal(r.config.batch_max_events, 42);
    /* What is printed holds no secret, and reads back as the same configuration. */
    struct tel_buf printed = {0};
    struct tel_conf_target target = {&example_table, &r.config};
    tel_conf_print(&printed, &target, 1);
    assert_null(strstr(tel_buf_cstr(&printed), "s3cret"));
    struct result again = read_text(tel_buf_cstr(&printed));
    assert_string_equal(said(&again), "");
    assert_string_equal(again.config.name, "a${b}");
    assert_int_equal(again.config.batch_max_events, 42);
    tel_buf_free(&printed);
    drop(&again);
    drop(&r);
    unlink(path);

    r = read_text(
        "name = \"${env:TEL_TEST_ABSENT}\"; kafka = { password = \"${file:/nowhere/x}\";\n"
        "brokers = [\"${ftp:x}\", \"${env:X\"]; };");
    assert_non_null(strstr(said(&r), "test.conf:1: name: the environment has no TEL_TEST_ABSENT"));
    assert_non_null(strstr(said(&r), "test.conf:1: kafka.password: cannot open /nowhere/x"));
    assert_non_null(strstr(said(&r), "test.conf:2: kafka.brokers[0]: ${ftp:x}: write"));
    assert_non_null(strstr(said(&r), "test.conf:2: kafka.brokers[1]: a ${ without its }"));
    drop(&r);
}

static void test_secrets_stay_secret(void **state)
{
    (void)state;
    const char *const overrides[] = {"name=x", "kafka.password=hunter2"};
    struct result r = read_overrides(NULL, overrides, 2);
    assert_non_null(
        strstr(said(&r), "-o: kafka.password: a secret must not stand on the command line"));
    assert_null(strstr(said(&r), "hunter2"));
    drop(&r);
    setenv("TEL_TEST_PASSWORD", "hunter2", 1);
    const char *const fine[] = {"name=x", "kafka.password=${env:TEL_TEST_PASSWORD}"};
    r = read_overrides(NULL, fine, 2);
    assert_string_equal(said(&r), "");
    assert_string_equal(r.config.kafka_password, "hunter2");
    drop(&r);
    /* Too long: the length is told, not the text. */
    r = read_text(
        "name = \"x\"; outputs = ( { url = \"u\"; token = "
        "\"hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2\"; } );");
    assert_non_null(strstr(said(&r), "outputs[0].token: its length 70"));
    assert_null(strstr(said(&r), "hunter2"));
    drop(&r);
}

/* A section whose keys are the host's and, at run time, a plugin's. */
static void test_sections_at_run_time(void **state)
{
    (void)state;
    struct host {
        char *plugin;
    } host;
    struct plugin {
        struct tel_conf_strings paths;
        int64_t max_line_bytes;
    } plugin;
    const struct tel_conf_item host_items[] = {{"plugin", TEL_CONF_STRING, NULL, NULL, 1, 64, false,
                                                "Which", offsetof(struct host, plugin)}};
    const struct tel_conf_item plugin_items[] = {{"paths", TEL_CONF_STRINGS, NULL, NULL, 1, 64,
                                                  false, "What", offsetof(struct plugin, paths)},
                                                 {"max_line", TEL_CONF_SIZE, NULL, "1MiB", 1,
                                                  1 << 20, false, "How long",
                                                  offsetof(struct plugin, max_line_bytes)}};
    const struct tel_conf_table host_table = TEL_CONF_TABLE(host_items, struct host);
    const struct tel_conf_table plugin_table = TEL_CONF_TABLE(plugin_items, struct plugin);
    struct result r =
        read_text("name = \"x\"; inputs = (\n{ plugin = \"tail\"; paths = [\"/a\", \"/b\"]; },\n"
                  "{ plugin = \"tail\"; path = [\"/a\"]; max_line = \"2MiB\"; } );");
    assert_string_equal(said(&r), "");
    struct tel_conf_target targets[] = {{&host_table, &host}, {&plugin_table, &plugin}};
    assert_int_equal(tel_conf_read(r.conf, r.config.inputs.nodes[0], targets, 2, &r.mistakes),
                     TEL_OK);
    assert_string_equal(host.plugin, "tail");
    assert_int_equal(plugin.paths.len, 2);
    assert_int_equal(plugin.max_line_bytes, 1 << 20);
    assert_int_equal(tel_conf_read(r.conf, r.config.inputs.nodes[1], targets, 2, &r.mistakes),
                     TEL_ERR_INVALID);
    assert_string_equal(said(&r),
                        "test.conf:3: inputs[1].path: no such key; did you mean paths?\n"
                        "test.conf:3: inputs[1].paths: must be set\n"
                        "test.conf:3: inputs[1].max_line: 2MiB is above the most allowed, 1MiB\n");
    drop(&r);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } sizes[] = {{"0", 0},
                 {"4096", 4096},
                 {"1B", 1},
                 {"64KiB", 65536},
                 {"1.5KiB", 1536},
                 {"10MB", 10000000},
                 {"2TiB", INT64_C(2) << 40},
                 {"", -1},
                 {"KiB", -1},
                 {"1.0001KiB", -1},
                 {"-1", -1},
                 {"1 KiB", -1},
                 {"64kb", -1},
                 {"1e3", -1},
                 {"99999999TiB", -1},
                 {"1..5KB", -1}},
      durations[] = {{"0", 0},      {"500ms", 500}, {"5s", 5000},      {"1h30m", 5400000},
                     {"0.1s", 100}, {"1.5s", 1500}, {"7d", 604800000}, {"1w", 604800000},
                     {"5", -1},     {"", -1},       {"0.0001s", -1},   {"1x", -1},
                     {"s", -1},     {"-1s", -1},    {"1h 30m", -1}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(sizes); i++) {
        int64_t v = -1;
        assert_int_equal(tel_conf_parse_size(tel_span_cstr(sizes[i].text), &v), sizes[i].want >= 0);
        assert_int_equal(v, sizes[i].want);
    }
    for (size_t i = 0; i < TEL_ARRAY_LEN(durations); i++) {
        int64_t v = -1;
        assert_int_equal(tel_conf_parse_duration(tel_span_cstr(durations[i].text), &v),
                         durations[i].want >= 0);
        assert_int_equal(v, durations[i].want);
    }
    struct tel_buf out = {0};
    tel_conf_format_size(&out, 3 << 20);
    tel_buf_add_char(&out, ' ');
    tel_conf_format_size(&out, 1001);
    tel_buf_add_char(&out, ' ');
    tel_conf_format_duration(&out, 90000);
    tel_buf_add_char(&out, ' ');
    tel_conf_format_duration(&out, 0);
    assert_string_equal(tel_buf_cstr(&out), "3MiB 1001B 90s 0");
    tel_buf_free(&out);
    static const char *const good[] = {"a:1", ":0", "[::1]:65535", "a-b.c_d:9092", "*:80"};
    static const char *const wrong[] = {"",      "a",    "a:",     "a:65536",
                                        "a b:1", "[]:1", "::1:80", "a:-1"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(good); i++)
        assert_true(tel_conf_is_host_port(tel_span_cstr(good[i])));
    for (size_t i = 0; i < TEL_ARRAY_LEN(wrong); i++)
        assert_false(tel_conf_is_host_port(tel_span_cstr(wrong[i])));
}

static void test_documentation(void **state)
{
    (void)state;
    const struct tel_conf_table *tables[] = {&example_table};
    struct tel_buf out = {0};
    tel_conf_doc_markdown(&out, "prog", tables, 1);
    const char *page = tel_buf_cstr(&out);
    static const char *const wanted[] = {
        "# Configuration of prog\n",
        "| `name` | string | must be set |  | Must be set |\n",
        "\n## kafka\n\n| Key | Type | Default | Range | |\n",
        ("| `kafka.brokers` | list of strings, host:port | `localhost:9092` | 1 to 3 entries | "
         "Brokers to begin with |\n"),
        "| `kafka.codec` | none, lz4, zstd | `lz4` |  | How batches are compressed |\n",
        "Secret: give it as `${file:/path}`",
        "| `batch.max_bytes` | size | `1MiB` | 1KiB to 16MiB | A batch is sent at this size |\n",
        "| `batch.linger` | duration | `200ms` | 0 to 1m | or at this age |\n",
        "A ratio \\| with a bar",
        "\n## Each group of `outputs`\n",
        "| `retry.every` | duration | `1s` | 1ms to 1m | How often |\n",
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(wanted); i++) {
        if (!strstr(page, wanted[i]))
            fail_msg("missing: %s\nin:\n%s", wanted[i], page);
    }
    tel_buf_clear(&out);
    tel_conf_doc_help(&out, tables, 1);
    assert_non_null(strstr(tel_buf_cstr(&out),
                           "  batch.linger  (duration; 0 to 1m; default 200ms)\n"
                           "      or at this age\n"));
    assert_non_null(strstr(tel_buf_cstr(&out), "  outputs[].retry.every  ("));
    tel_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_all_mistakes),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_syntax_error),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_sections_at_run_time),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
