/*
 * A configuration as it was written: a tree of groups, lists and plain values, each with the file
 * and line that it comes from. Made by tel_conf_load, read-only, and valid as long as its tel_conf.
 */
#ifndef TEL_CONF_NODE_H
#define TEL_CONF_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/span.h"

enum tel_conf_kind {
    TEL_NODE_GROUP, /* { key = value; ... } */
    TEL_NODE_LIST,  /* ( ... ) or [ ... ] */
    TEL_NODE_BOOL,
    TEL_NODE_INT,
    TEL_NODE_DOUBLE,
    TEL_NODE_STRING, /* "..." */
    TEL_NODE_TEXT,   /* from -o key=text: becomes whatever the key wants */
};

struct tel_conf_node {
    enum tel_conf_kind kind;
    const char *key;  /* the last part of path; "" at the root */
    const char *path; /* "inputs[0].paths" */
    const char *file; /* "-o" for an override */
    unsigned line;    /* 0: none */
    union {
        bool flag;
        int64_t i64;
        double dbl;
        struct tel_span text; /* NUL-terminated; ${...} not resolved */
    } v;
    struct tel_conf_node *first, *last, *next; /* children, and the next child of the parent */
    size_t count;
};

/* The child of a group, or NULL. */
struct tel_conf_node *tel_conf_node_get(const struct tel_conf_node *group, struct tel_span key);
/* Along a dotted path below a group, or NULL. */
struct tel_conf_node *tel_conf_node_find(const struct tel_conf_node *group, const char *path);
/* "a group", "a list", "the number 5", ...: for messages; never the text of a string. */
const char *tel_conf_kind_name(enum tel_conf_kind kind);

#endif
