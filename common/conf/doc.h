/* A table's own documentation, and a configuration as it is in effect. */
#ifndef TEL_CONF_DOC_H
#define TEL_CONF_DOC_H

#include "common/conf/conf.h"

/* A page in Markdown: a table of keys per group, sections' tables behind. */
void tel_conf_doc_markdown(struct tel_buf *out, const char *program,
                           const struct tel_conf_table *const *tables, size_t count);
/* For --help: a line or two per key. */
void tel_conf_doc_help(struct tel_buf *out, const struct tel_conf_table *const *tables,
                       size_t count);
/* The values in effect, in the syntax of a configuration file; secrets that are set are masked. */
void tel_conf_print(struct tel_buf *out, const struct tel_conf_target *targets, size_t count);

#endif
