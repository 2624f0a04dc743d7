/* Building a tree of nodes; for file.c, literal.c, node.c and conf.c only. */
#ifndef TEL_CONF_BUILD_H
#define TEL_CONF_BUILD_H

#include "common/base/arena.h"
#include "common/conf/conf.h"
#include "common/conf/node.h"

/* A node in the arena, appended to its parent (NULL: a root). In a list the key is "[index]". */
struct tel_conf_node *tel_conf_node_new(struct tel_arena *arena, struct tel_conf_node *parent,
                                        enum tel_conf_kind kind, struct tel_span key);

/* libconfig: a file or a text into a tree. NULL, with the place in mistakes, on an error. */
struct tel_conf_node *tel_conf_parse_file(struct tel_arena *arena, const char *path,
                                          struct tel_conf_mistakes *mistakes);
struct tel_conf_node *tel_conf_parse_text(struct tel_arena *arena, const char *name,
                                          const char *text, struct tel_conf_mistakes *mistakes);

/* Numbers that libconfig would cut, each a mistake. */
void tel_conf_check_literals(const char *name, struct tel_span text,
                             struct tel_conf_mistakes *mistakes);

/* Puts "key=value" over the tree. */
void tel_conf_override(struct tel_arena *arena, struct tel_conf_node *root, const char *override,
                       struct tel_conf_mistakes *mistakes);

#endif
