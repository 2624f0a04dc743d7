/*
 * The telescope command: what its subcommands share. Each is a function that gets its own arguments
 * and returns the exit code.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/net/http/http_client.h"

/* As grep's, and one more. */
enum { CLI_MATCH = 0, CLI_NOTHING = 1, CLI_ERROR = 2, CLI_PARTIAL = 3 };

int cli_standalone(int argc, char **argv);
int cli_search(int argc, char **argv);
int cli_tail(int argc, char **argv);
int cli_patterns(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_status(int argc, char **argv);

/* ---- the server that a command talks to ---------------------------------------------------- */

struct cli_server {
    const char *url;     /* without a slash at its end; from --url, $TELESCOPE_URL, or the default */
    const char *tenant;  /* --tenant, $TELESCOPE_TENANT; NULL: the server's default */
    const char *ca_file; /* --ca, $TELESCOPE_CA */
    struct tel_http_client *client;
    struct tel_buf tenant_header;
};

#define CLI_DEFAULT_URL "http://127.0.0.1:7070"

void cli_server_init(struct cli_server *server);
/* Takes --url, --tenant and --ca with their values; false if argv[*at] is none of them. Moves *at. */
bool cli_server_flag(struct cli_server *server, int argc, char **argv, int *at);
void cli_server_open(struct cli_server *server);
void cli_server_close(struct cli_server *server);
/* One call below the server's URL, with tenant. Fills call->url and call->headers. */
tel_code cli_server_call(struct cli_server *server, const char *path, struct tel_http_call *call,
                         unsigned *ret_status, struct tel_buf *ret_text, struct tel_error *err);

/* ---- odds and ends ------------------------------------------------------------------------- */

/* The value of a flag: "-n 5", "-n5" for one-letter flags, "--name 5", "--name=5". NULL, with *at as
 * it was, if argv[*at] is not this flag; exits with 2 if the value is missing. */
const char *cli_flag(int argc, char **argv, int *at, const char *flag);
/* "telescope: ..." on stderr. */
void cli_complain(const char *fmt, ...) TEL_PRINTF(1, 2);
/* "1h" or "2d" ago, or a time as RFC 3339 or Unix; into RFC 3339 or as it is. */
bool cli_time(const char *text, struct tel_buf *out);
/* Adds "&name=value", encoded. */
void cli_form_add(struct tel_buf *form, const char *name, struct tel_span value);
/* 12.3 MB */
void cli_size_text(char out[32], uint64_t bytes);

/* ---- lines out of pieces ------------------------------------------------------------------- */

/* Calls line(ctx, ...) for each whole line of the pieces fed, without its line feed. */
struct cli_lines {
    struct tel_buf rest;
    bool (*line)(void *ctx, struct tel_span line); /* false: stop */
    void *ctx;
};
bool cli_lines_feed(struct cli_lines *lines, struct tel_span piece);
bool cli_lines_end(struct cli_lines *lines); /* what is left without a line feed */

#endif
