/* A node as the value that an item wants; for conf.c only. */
#ifndef TEL_CONF_READ_H
#define TEL_CONF_READ_H

#include "common/conf/conf.h"

struct tel_conf_reader {
    struct tel_conf *conf;
    struct tel_conf_mistakes *mistakes;
};

/* Fills the member behind out, or leaves it and adds to the reader's mistakes. */
void tel_conf_read_value(struct tel_conf_reader *reader, const struct tel_conf_item *item,
                         const struct tel_conf_node *node, void *out);

#endif
