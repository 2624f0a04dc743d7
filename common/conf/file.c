/* libconfig's files as our trees. The only file that knows libconfig. */
#include <libconfig.h>

#include <errno.h>
#include <sys/stat.h>

#include "common/base/map.h"
#include "common/conf/build.h"
#include "common/sys/fs.h"

#define FILE_MAX_BYTES (4 << 20)
#define MAX_DEPTH      32

struct reader {
    struct tel_arena *arena;
    struct tel_conf_mistakes *mistakes;
    const char *name;
    const char *dir; /* what @include counts from; NULL for a text */
    bool failed;
    struct tel_map files; /* those looked through for numbers that are cut */
};

static void add_setting(struct reader *reader, struct tel_conf_node *parent,
                        const config_setting_t *setting, int depth);

/* libconfig names an included file as it was written: the path that leads to it. */
static const char *path_of(struct reader *reader, const char *file)
{
    if (!file)
        return reader->name;
    if (!reader->dir || file[0] == '/' || strcmp(file, reader->name) == 0)
        return tel_arena_strdup(reader->arena, file);
    return tel_arena_printf(reader->arena, "%s/%s", reader->dir, file).ptr;
}

/* The file itself, and each that it includes, once. */
static void check_file(struct reader *reader, const char *file)
{
    bool fresh;
    struct tel_buf text = {0};
    tel_map_put(&reader->files, tel_span_cstr(file), &fresh);
    if (fresh && tel_fs_read_all(tel_fs_system(), file, FILE_MAX_BYTES, &text, NULL) == TEL_OK)
        tel_conf_check_literals(file, tel_buf_span(&text), reader->mistakes);
    tel_buf_free(&text);
}

static void add_children(struct reader *reader, struct tel_conf_node *node,
                         const config_setting_t *setting, int depth)
{
    int count = config_setting_length(setting);
    for (int i = 0; i < count; i++)
        add_setting(reader, node, config_setting_get_elem(setting, (unsigned)i), depth + 1);
}

static void add_setting(struct reader *reader, struct tel_conf_node *parent,
                        const config_setting_t *setting, int depth)
{
    const char *key = config_setting_name(setting), *file = config_setting_source_file(setting);
    struct tel_conf_node *node =
        tel_conf_node_new(reader->arena, parent, TEL_NODE_GROUP, tel_span_cstr(key));
    node->file = path_of(reader, file);
    node->line = config_setting_source_line(setting);
    if (file)
        check_file(reader, node->file);
    if (depth > MAX_DEPTH) {
        tel_conf_mistake(reader->mistakes, node, NULL, "nested more than %d deep", MAX_DEPTH);
        reader->failed = true;
        return;
    }
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        add_children(reader, node, setting, depth);
        break;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        node->kind = TEL_NODE_LIST;
        add_children(reader, node, setting, depth);
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        node->kind = TEL_NODE_INT;
        node->v.i64 = config_setting_get_int64(setting);
        break;
    case CONFIG_TYPE_FLOAT:
        node->kind = TEL_NODE_DOUBLE;
        node->v.dbl = config_setting_get_float(setting);
        break;
    case CONFIG_TYPE_BOOL:
        node->kind = TEL_NODE_BOOL;
        node->v.flag = config_setting_get_bool(setting) != 0;
        break;
    default:
        node->kind = TEL_NODE_STRING;
        node->v.text =
            tel_arena_copy(reader->arena, tel_span_cstr(config_setting_get_string(setting)));
        break;
    }
}

static struct tel_conf_node *take(config_t *config, struct tel_arena *arena, const char *name,
                                  const char *dir, struct tel_conf_mistakes *mistakes)
{
    struct reader reader = {
        .arena = arena, .mistakes = mistakes, .name = tel_arena_strdup(arena, name), .dir = dir};
    struct tel_conf_node *root =
        tel_conf_node_new(arena, NULL, TEL_NODE_GROUP, (struct tel_span){0});
    root->file = reader.name;
    add_children(&reader, root, config_root_setting(config), 0);
    tel_map_free(&reader.files);
    return reader.failed ? NULL : root;
}

static void report(const config_t *config, const char *name, struct tel_conf_mistakes *mistakes)
{
    const char *file = config_error_file(config);
    struct tel_conf_node at = {.path = "",
                               .file = file ? file : name,
                               .line = (unsigned)TEL_MAX(config_error_line(config), 0)};
    tel_conf_mistake(mistakes, &at, NULL, "%s", config_error_text(config));
}

/* libconfig reads with stdio and its scanner ends the process when a read fails, as it does for a
 * folder: so look first. */
static bool is_readable(const char *path, struct tel_conf_mistakes *mistakes)
{
    struct tel_conf_node at = {.path = "", .file = path};
    struct tel_error err = {0};
    struct stat st;
    FILE *file = fopen(path, "re");
    if (!file || fstat(fileno(file), &st) != 0) {
        tel_error_errno(&err, errno, "cannot read the configuration");
        tel_conf_mistake(mistakes, &at, NULL, "%s", err.text);
    } else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        tel_conf_mistake(mistakes, &at, NULL, "cannot read the configuration: not a file");
    } else if (st.st_size > FILE_MAX_BYTES) {
        tel_conf_mistake(mistakes, &at, NULL, "larger than %d MiB", FILE_MAX_BYTES >> 20);
    } else {
        fclose(file);
        return true;
    }
    if (file)
        fclose(file);
    return false;
}

struct tel_conf_node *tel_conf_parse_file(struct tel_arena *arena, const char *path,
                                          struct tel_conf_mistakes *mistakes)
{
    if (!is_readable(path, mistakes))
        return NULL;
    config_t config;
    config_init(&config);
    /* Paths in @include count from the file's own folder. */
    const char *slash = strrchr(path, '/');
    struct tel_span dir = slash ? tel_span_make(path, (size_t)(slash - path)) : TEL_SPAN(".");
    const char *include_dir = dir.len ? tel_arena_copy(arena, dir).ptr : "/";
    config_set_include_dir(&config, include_dir);
    struct tel_conf_node *root = NULL;
    if (config_read_file(&config, path))
        root = take(&config, arena, path, include_dir, mistakes);
    else
        report(&config, path, mistakes);
    config_destroy(&config);
    return root;
}

struct tel_conf_node *tel_conf_parse_text(struct tel_arena *arena, const char *name,
                                          const char *text, struct tel_conf_mistakes *mistakes)
{
    config_t config;
    config_init(&config);
    struct tel_conf_node *root = NULL;
    if (config_read_string(&config, text)) {
        root = take(&config, arena, name, NULL, mistakes);
        tel_conf_check_literals(name, tel_span_cstr(text), mistakes);
    } else {
        report(&config, name, mistakes);
    }
    config_destroy(&config);
    return root;
}
