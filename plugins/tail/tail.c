/*
 * The tail plugin: files that others append to, as records. tail.h says which part does what.
 *
 * One call of work() takes what inotify says, scans the patterns if that is due, and reads the files
 * that have grown in turn, a share each, so that one big file does not starve the rest.
 */
#include "plugins/tail/tail.h"

#include <stdio.h>

#include "plugins/tail/memory.h"

#define WORK_BYTES        ((size_t)1 << 20) /* about what one call of work() reads */
#define SHARE_BYTES       ((size_t)256 << 10)
#define SCAN_PAUSE_NS     (50 * NS_PER_MS) /* between scans, however many events ask for one */
#define BLIND_INTERVAL_NS (250 * NS_PER_MS) /* between scans without inotify, at most */

static const struct telescope_option tail_options[OPTION_COUNT] = {
    [OPTION_PATHS] = {"paths", TELESCOPE_STRINGS, TELESCOPE_REQUIRED, NULL, 0, 0,
                      "Files to read: paths with *, ?, [a-z], {a,b}, and ** for any folders."},
    [OPTION_EXCLUDE] = {"exclude", TELESCOPE_STRINGS, 0, "", 0, 0,
                        "Paths to leave out; a pattern without a slash is tried on the file's name."},
    [OPTION_START_AT] = {"start_at", TELESCOPE_STRING, 0, "beginning", 0, 0,
                         "Where to begin in files that are there at the first start: beginning or end."},
    [OPTION_MAX_LINE] = {"max_line_bytes", TELESCOPE_SIZE, 0, "1MiB", 16, 1 << 20,
                         "Longer lines are split; each piece is marked with telescope.split."},
    [OPTION_STRIP_CR] = {"strip_cr", TELESCOPE_BOOL, 0, "false", 0, 0,
                         "Take a carriage return before the line end away."},
    [OPTION_SKIP_BINARY] = {"skip_binary", TELESCOPE_BOOL, 0, "true", 0, 0,
                            "Leave out files that are compressed or otherwise not lines of text."},
    [OPTION_MAX_OPEN] = {"max_open_files", TELESCOPE_INT, 0, "1024", 1, 1000000,
                         "Beyond this many, those that were quiet for longest are closed until they grow."},
    [OPTION_SCAN_INTERVAL] = {"scan_interval", TELESCOPE_DURATION, 0, "2s", 10, 3600000,
                              "How often to look for changes that inotify did not tell."},
    [OPTION_READ_DELAY] = {"read_delay", TELESCOPE_DURATION, 0, "25ms", 0, 10000,
                           "Pause between reads, so that a trickle does not cost a wake-up a line."},
    [OPTION_CLOSE_IDLE] = {"close_idle", TELESCOPE_DURATION, 0, "5m", 0, 0,
                           "Close a file that was quiet for this long until it grows; 0: never."},
    [OPTION_ROTATE_GRACE] = {"rotate_grace", TELESCOPE_DURATION, 0, "5s", 0, 3600000,
                             "How long a file that was renamed or deleted must be quiet to be finished."},
    [OPTION_PARTIAL_TIMEOUT] = {"partial_timeout", TELESCOPE_DURATION, 0, "0s", 0, 0,
                                "Emit a line without an end after this long; 0: wait for its end."},
    [OPTION_FORGET_AFTER] = {"forget_after", TELESCOPE_DURATION, 0, "24h", 0, 0,
                             "How long to keep the position of a file that was gone at the start."},
    [OPTION_INOTIFY] = {"inotify", TELESCOPE_BOOL, 0, "true", 0, 0,
                        "Learn of changes from the kernel; otherwise look four times a second."},
    [OPTION_FILE_LABEL] = {"file_label", TELESCOPE_STRING, 0, "file", 0, 0,
                           "Name of the stream label that holds the path; empty: none."},
};

static enum telescope_result fail(struct telescope_error *err, const char *what, const char *value)
{
    snprintf(err->text, sizeof(err->text), "%s: %.300s", what, value);
    return TELESCOPE_FAILED;
}

static enum telescope_result add_globs(struct glob_list *list, const struct telescope_value *value,
                                       struct telescope_error *err)
{
    for (size_t i = 0; i < value->list_len; i++)
        if (!glob_add(list, value->list[i].ptr))
            return fail(err, "not a valid pattern", value->list[i].ptr);
    return TELESCOPE_OK;
}

static void config_done(struct tail_config *config)
{
    glob_free(&config->paths);
    glob_free(&config->exclude);
}

static enum telescope_result config_init(struct tail_config *config,
                                         const struct telescope_value *values,
                                         struct telescope_error *err)
{
    const char *start = values[OPTION_START_AT].text.ptr;
    *config = (struct tail_config){
        .from_end = strcmp(start, "end") == 0,
        .max_line = (size_t)values[OPTION_MAX_LINE].number,
        .strip_cr = values[OPTION_STRIP_CR].number,
        .skip_binary = values[OPTION_SKIP_BINARY].number,
        .inotify = values[OPTION_INOTIFY].number,
        .max_open = (size_t)values[OPTION_MAX_OPEN].number,
        .scan_interval_ns = values[OPTION_SCAN_INTERVAL].number * NS_PER_MS,
        .close_idle_ns = values[OPTION_CLOSE_IDLE].number * NS_PER_MS,
        .rotate_grace_ns = values[OPTION_ROTATE_GRACE].number * NS_PER_MS,
        .partial_timeout_ns = values[OPTION_PARTIAL_TIMEOUT].number * NS_PER_MS,
        .forget_after_s = values[OPTION_FORGET_AFTER].number / 1000,
        .read_delay_ms = (int32_t)values[OPTION_READ_DELAY].number,
        .file_label = values[OPTION_FILE_LABEL].text.ptr,
    };
    if (!config->from_end && strcmp(start, "beginning") != 0)
        return fail(err, "start_at is neither \"beginning\" nor \"end\"", start);
    if (values[OPTION_PATHS].list_len == 0)
        return fail(err, "paths", "names no file");
    if (add_globs(&config->paths, &values[OPTION_PATHS], err) != TELESCOPE_OK ||
        add_globs(&config->exclude, &values[OPTION_EXCLUDE], err) != TELESCOPE_OK) {
        config_done(config);
        return TELESCOPE_FAILED;
    }
    return TELESCOPE_OK;
}

static enum telescope_result tail_check(const struct telescope_value *values,
                                        struct telescope_error *err)
{
    struct tail_config config;
    enum telescope_result rc = config_init(&config, values, err);
    if (rc == TELESCOPE_OK)
        config_done(&config);
    return rc;
}

static enum telescope_result tail_open(struct telescope_host *host,
                                       const struct telescope_host_api *api,
                                       const struct telescope_value *values, void **ret_instance,
                                       struct telescope_error *err)
{
    struct tail_config config;
    if (config_init(&config, values, err) != TELESCOPE_OK)
        return TELESCOPE_FAILED;
    struct tail *t = tail_alloc(sizeof(*t));
    t->host = host;
    t->api = api;
    t->config = config;
    watch_open(t);
    int64_t blind = BLIND_INTERVAL_NS;
    if (t->inotify_fd < 0 && t->config.scan_interval_ns > blind)
        t->config.scan_interval_ns = blind;
    if (t->config.partial_timeout_ns && t->config.partial_timeout_ns < t->config.scan_interval_ns)
        t->config.scan_interval_ns = t->config.partial_timeout_ns;
    *ret_instance = t;
    return TELESCOPE_OK;
}

static void tail_restore(void *instance, struct telescope_str id, uint64_t position,
                         struct telescope_str state)
{
    scan_restore(instance, id.ptr, id.len, position, state.ptr, state.len);
}

static struct tail_file *pop_ready(struct tail *t)
{
    struct tail_file *f = t->ready_head;
    t->ready_head = f->next_ready;
    if (!t->ready_head)
        t->ready_tail = NULL;
    f->ready = false;
    f->next_ready = NULL;
    return f;
}

/* Reads the files that have grown, in turn. True if there is more to read at once. */
static bool read_ready(struct tail *t)
{
    for (size_t done = 0; t->ready_head && done < WORK_BYTES; done += SHARE_BYTES) {
        struct tail_file *f = pop_ready(t);
        if (!file_look(f) || !file_ensure_source(f))
            continue;
        enum read_result rc = file_read(f, SHARE_BYTES);
        if (rc == READ_END)
            continue;
        file_make_ready(f);
        if (rc == READ_FULL)
            return true;
    }
    return t->ready_head != NULL;
}

static enum telescope_result tail_work(void *instance, struct telescope_wait *ret_wait,
                                       struct telescope_error *err)
{
    struct tail *t = instance;
    (void)err;
    watch_drain(t);
    int64_t now = t->api->mono_ns(t->host);
    if (now >= t->next_scan_ns || (t->scan_wanted && now >= t->last_scan_ns + SCAN_PAUSE_NS)) {
        scan_run(t);
        t->last_scan_ns = now;
        t->next_scan_ns = now + t->config.scan_interval_ns;
    }
    if (read_ready(t)) {
        *ret_wait = (struct telescope_wait){0, 0};
        return TELESCOPE_OK;
    }
    int64_t due = t->scan_wanted ? t->last_scan_ns + SCAN_PAUSE_NS : t->next_scan_ns;
    int64_t wait = (due - t->api->mono_ns(t->host) + NS_PER_MS - 1) / NS_PER_MS;
    *ret_wait = (struct telescope_wait){t->config.read_delay_ms, wait > 0 ? (int32_t)wait : 0};
    return TELESCOPE_OK;
}

static void tail_close(void *instance)
{
    struct tail *t = instance;
    scan_free(t);
    watch_close(t);
    config_done(&t->config);
    free(t->buffer);
    free(t);
}

static const struct telescope_plugin_ops tail_ops = {
    .check = tail_check,
    .open = tail_open,
    .restore = tail_restore,
    .work = tail_work,
    .close = tail_close,
};

static const struct telescope_plugin tail_plugin = {
    TELESCOPE_PLUGIN_ABI,
    .name = "tail",
    .version = TEL_VERSION,
    .doc = "Reads lines from files, through rotation, truncation and restarts.",
    .flags = TELESCOPE_REREADABLE,
    .options = tail_options,
    .option_count = OPTION_COUNT,
    .ops = &tail_ops,
};

const struct telescope_plugin *telescope_input_plugin(void)
{
    return &tail_plugin;
}
