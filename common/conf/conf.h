/*
 * Configuration behind declarative tables. A program lists its keys in a .def file, one line each:
 *
 *     CONF("batch.max_bytes", batch_max_bytes, SIZE, NULL, "1MiB", 1024, 16 << 20, false,
 *          "A batch is sent when it has so many bytes")
 *          path               member           type unit default min   max       secret doc
 *
 * and makes a struct and a table of it:
 *
 *     struct sidecar_config {
 *     #define CONF TEL_CONF_MEMBER
 *     #include "sidecar/config.def"
 *     #undef CONF
 *     };
 *
 *     #define CONF(...) TEL_CONF_ITEM(struct sidecar_config, __VA_ARGS__)
 *     static const struct tel_conf_item items[] = {
 *     #include "sidecar/config.def"
 *     };
 *     #undef CONF
 *     const struct tel_conf_table sidecar_conf_table = TEL_CONF_TABLE(items, struct sidecar_config);
 *
 * A default is written as a user would write it; NULL means that the key must be set. min and max
 * bound the value (bytes for SIZE, milliseconds for DURATION), the length of a STRING, or the count
 * of a list; max TEL_CONF_ANY does not bound. The unit is text for the documentation ("host:port" is
 * checked too); for ENUM it is the choices, "none|lz4|zstd", and the value is the index; for SECTIONS
 * it is the table of a section, or NULL if the program reads the sections itself (tel_conf_read), as
 * it does when what a section may hold is only known at run time.
 *
 * Strings may hold ${env:NAME} and ${file:/path} (without its trailing newline); $${ is a plain ${.
 * A string that holds one can stand for a value of any type. All that was read belongs to the
 * tel_conf and lives as long.
 */
#ifndef TEL_CONF_CONF_H
#define TEL_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/conf/node.h"

#define TEL_CONF_ANY 9.2e18

enum tel_conf_type {
    TEL_CONF_BOOL,
    TEL_CONF_INT,
    TEL_CONF_DOUBLE,
    TEL_CONF_SIZE,
    TEL_CONF_DURATION,
    TEL_CONF_STRING,
    TEL_CONF_STRINGS,
    TEL_CONF_ENUM,
    TEL_CONF_SECTIONS,
};

struct tel_conf_strings {
    char **items;
    size_t len;
};

struct tel_conf_sections {
    const struct tel_conf_node **nodes;
    void *structs; /* an array of the section table's struct, if it has one */
    size_t len;
};

/* The i-th section as its struct. */
#define TEL_CONF_SECTION(sections, type, i) (&((type *)(sections).structs)[i])

typedef bool tel_conf_ctype_BOOL;
typedef int64_t tel_conf_ctype_INT;
typedef double tel_conf_ctype_DOUBLE;
typedef int64_t tel_conf_ctype_SIZE;     /* bytes */
typedef int64_t tel_conf_ctype_DURATION; /* milliseconds */
typedef char *tel_conf_ctype_STRING;     /* never NULL */
typedef struct tel_conf_strings tel_conf_ctype_STRINGS;
typedef int tel_conf_ctype_ENUM;
typedef struct tel_conf_sections tel_conf_ctype_SECTIONS;

struct tel_conf_table;

struct tel_conf_item {
    const char *path;
    enum tel_conf_type type;
    const void *unit; /* text or, for SECTIONS, a struct tel_conf_table */
    const char *def;
    double min, max;
    bool secret;
    const char *doc;
    size_t offset;
};

struct tel_conf_table {
    const struct tel_conf_item *items;
    size_t count;
    size_t struct_size;
};

#define TEL_CONF_MEMBER(path, member, type, unit, def, min, max, secret, doc)                      \
    tel_conf_ctype_##type member;
#define TEL_CONF_ITEM(strct, path, member, type, unit, def, min, max, secret, doc)                 \
    {path, TEL_CONF_##type, unit, def, min, max, secret, doc, offsetof(strct, member)},
#define TEL_CONF_TABLE(items, strct) {(items), sizeof(items) / sizeof((items)[0]), sizeof(strct)}

/* A table and the struct that it fills. Several can share one configuration. */
struct tel_conf_target {
    const struct tel_conf_table *table;
    void *out;
};

/* What is wrong, all of it, each with its place. */
struct tel_conf_mistakes {
    struct tel_buf text; /* lines "file:line: key: what" */
    size_t count;
    /* NULL, or what was found before: nothing more is said of a key that stands there. */
    const struct tel_conf_mistakes *said;
};

void tel_conf_mistakes_free(struct tel_conf_mistakes *mistakes);
/* At a node; key NULL means the node's own. A key that is written below the node gives its place. */
void tel_conf_mistake(struct tel_conf_mistakes *mistakes, const struct tel_conf_node *node,
                      const char *key, const char *fmt, ...) TEL_PRINTF(4, 5);

struct tel_conf {
    struct tel_arena arena;
    struct tel_conf_node *root;
};

struct tel_conf_source {
    const char *file; /* NULL: none, only defaults and overrides */
    const char *const *overrides; /* "key=value" */
    size_t override_count;
};

/* Reads a file and overrides into a tree. NULL, with everything in mistakes, if the file cannot be
 * read or has a syntax error or an override has nowhere to go. */
struct tel_conf *tel_conf_load(const struct tel_conf_source *source,
                               struct tel_conf_mistakes *mistakes);
/* As tel_conf_load, from text; name stands for the file in messages. */
struct tel_conf *tel_conf_load_text(const char *name, const char *text,
                                    struct tel_conf_mistakes *mistakes);
void tel_conf_free(struct tel_conf *conf);

/* Fills the targets from a group (conf->root, or a section): every member is set, from the group or
 * from its default. Adds all that is wrong to mistakes, unknown keys included, and returns
 * TEL_ERR_INVALID if anything is. */
TEL_MUST_USE tel_code tel_conf_read(struct tel_conf *conf, const struct tel_conf_node *group,
                                    const struct tel_conf_target *targets, size_t count,
                                    struct tel_conf_mistakes *mistakes);

#endif
