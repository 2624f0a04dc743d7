/* telescope COMMAND ...: finds the command. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"standalone", "all of Telescope in one process", cli_standalone},
    {"search", "find log events", cli_search},
    {"tail", "matching events as they come in", cli_tail},
    {"patterns", "templates of the matching events with counts", cli_patterns},
    {"import", "JSON lines or plain text into a server", cli_import},
    {"status", "shards, lags, sizes", cli_status},
};

static int usage(FILE *out, int code)
{
    fputs("usage: telescope COMMAND [OPTION]...\n\n", out);
    for (size_t i = 0; i < TEL_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\ntelescope COMMAND --help tells more.\n", out);
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr, CLI_ERROR);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout, 0);
    if (strcmp(argv[1], "--version") == 0) {
        puts("telescope " TEL_VERSION);
        return 0;
    }
    for (size_t i = 0; i < TEL_ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    cli_complain("there is no command %s", argv[1]);
    return usage(stderr, CLI_ERROR);
}
