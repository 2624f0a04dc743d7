/*
 * CPU lanes: who of many computing threads may run. Work that has proved long takes a lane for each
 * piece of it and leaves it behind the piece; there are as many lanes as CPUs. Short work takes none:
 * it meets as many long ones as there are CPUs, however many there are. Lanes that become free go to
 * the group (a tenant) that has fewest, and in it to who came first.
 *
 * A thread that waits for anything else meanwhile (a peer, a reader) steps out of its lane.
 */
#ifndef TEL_SYS_LANES_H
#define TEL_SYS_LANES_H

#include <stdbool.h>

#include "common/base/span.h"

struct tel_lanes;

struct tel_lanes *tel_lanes_new(unsigned count);
void tel_lanes_free(struct tel_lanes *lanes); /* nobody is in; NULL is fine */

/* Waits for a lane. gone (may be NULL) is asked every 50 ms: true gives up, and false is returned.
 * Not while the thread has one. */
bool tel_lanes_enter(struct tel_lanes *lanes, struct tel_span group, bool (*gone)(void *ctx),
                     void *ctx);
void tel_lanes_leave(struct tel_lanes *lanes);
unsigned tel_lanes_waiting(struct tel_lanes *lanes); /* threads that want one */

/* Around a wait within a lane: out, and in again, without waiting for a turn (locks may be held).
 * Nothing if the thread has none. */
void tel_lanes_step_out(void);
void tel_lanes_step_in(void);

#endif
