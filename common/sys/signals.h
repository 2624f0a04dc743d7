/*
 * Signals, taken by waiting and never by handlers. main calls tel_signals_block before it starts any
 * thread, so that all threads inherit the mask, and then waits.
 */
#ifndef TEL_SYS_SIGNALS_H
#define TEL_SYS_SIGNALS_H

#include <stdint.h>

enum tel_signal { TEL_SIGNAL_NONE, TEL_SIGNAL_STOP, TEL_SIGNAL_RELOAD };

/* Blocks SIGTERM, SIGINT and SIGHUP; ignores SIGPIPE. Before any thread. */
void tel_signals_block(void);

/* STOP for SIGTERM and SIGINT, RELOAD for SIGHUP, NONE at the deadline (monotonic, TEL_NO_DEADLINE). */
enum tel_signal tel_signals_wait(int64_t deadline_ns);

/* Waits until STOP; calls on_reload(arg), if there is one, for each RELOAD. */
void tel_signals_run(void (*on_reload)(void *arg), void *arg);

/* Makes whoever waits see STOP; for a thread that has met something the program cannot go on with. */
void tel_signals_stop(void);

/* From here a SIGTERM or SIGINT ends the process at once: for a user who will not wait while the
 * program drains. */
void tel_signals_unblock_stop(void);

#endif
