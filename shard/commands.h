/* Commands of telescope-shard that are no server: each gets the whole command line and returns the exit
 * code. */
#ifndef SHARD_COMMANDS_H
#define SHARD_COMMANDS_H

int shard_command_verify(int argc, char **argv);   /* telescope-shard verify DIR */
int shard_command_snapshot(int argc, char **argv); /* telescope-shard snapshot [--admin URL] DEST */
int shard_command_restore(int argc, char **argv);  /* telescope-shard restore SNAPSHOT --data DIR */

#endif
