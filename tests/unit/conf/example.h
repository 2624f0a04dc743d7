/* The tables of the tests. */
#ifndef TEST_CONF_EXAMPLE_H
#define TEST_CONF_EXAMPLE_H

#include "common/conf/conf.h"

struct output_config {
#define CONF TEL_CONF_MEMBER
#include "tests/unit/conf/output.def"
#undef CONF
};

struct example_config {
#define CONF TEL_CONF_MEMBER
#include "tests/unit/conf/example.def"
#undef CONF
};

#define CONF(...) TEL_CONF_ITEM(struct output_config, __VA_ARGS__)
static const struct tel_conf_item output_items[] = {
#include "tests/unit/conf/output.def"
};
#undef CONF
static const struct tel_conf_table output_table = TEL_CONF_TABLE(output_items, struct output_config);

#define CONF(...) TEL_CONF_ITEM(struct example_config, __VA_ARGS__)
static const struct tel_conf_item example_items[] = {
#include "tests/unit/conf/example.def"
};
#undef CONF
static const struct tel_conf_table example_table =
    TEL_CONF_TABLE(example_items, struct example_config);

#endif
