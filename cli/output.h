/* Rows for people, for programs, and as they were. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "sidecar/insert/json_flat.h"

enum cli_format {
    CLI_TEXT, /* time, stream and message of an event, then its other fields; name=value otherwise */
    CLI_JSON, /* the server's lines */
    CLI_RAW   /* the message alone, unescaped; bytes that are no UTF-8 were lost in the answer's JSON */
};

struct cli_output {
    FILE *out;
    enum cli_format format;
    bool color;
    struct tel_arena arena;
    struct json_flat flat;
    struct tel_buf line;
};

bool cli_format_parse(const char *text, enum cli_format *ret);
/* color: NULL or "auto": when out is a terminal and NO_COLOR is not set; "always", "never". */
bool cli_output_init(struct cli_output *o, FILE *out, enum cli_format format, const char *color);
void cli_output_done(struct cli_output *o);

/* Writes a row. False when it cannot be written any more. A row that holds _error is none: its text
 * is put into *ret_error (valid until the next call) instead. */
bool cli_output_row(struct cli_output *o, struct tel_span row, struct tel_span *ret_error);

#endif
