/*
 * The transport over journals, one per partition: DIR/p0, DIR/p1, ... The queue of standalone.
 *
 * Trimming: a partition's journal keeps what its consumers have not released, so a partition that
 * nobody consumes fills up to its budget and then refuses (TEL_ERR_AGAIN).
 */
#ifndef TEL_TRANSPORT_JOURNAL_H
#define TEL_TRANSPORT_JOURNAL_H

#include "common/transport/transport.h"

struct tel_fs;
struct tel_journal_stats;

struct tel_transport_journal_options {
    struct tel_fs *fs;        /* NULL: the machine's */
    const char *dir;          /* made if it is not there; locked against a second process */
    uint32_t partitions;      /* fixed when the folder is made; a differing number is refused later.
                                 0: as the folder has it; when it is made, as many as CPUs, at most 8 */
    uint64_t partition_bytes; /* byte budget of each partition's journal; 0: 1 GiB */
    uint64_t disk_reserve_bytes; /* refuse what would leave less free on the disk; 0: none */
    uint32_t sync_interval_ms; /* group fsync: at most this long after an append; 0: 5 ms */
};

TEL_MUST_USE tel_code
tel_transport_journal_new(const struct tel_transport_journal_options *options,
                          struct tel_transport **ret, struct tel_error *err);

/* Of one partition's journal; any thread. t was made by tel_transport_journal_new. */
void tel_transport_journal_stats(struct tel_transport *t, uint32_t partition,
                                 struct tel_journal_stats *ret);

#endif
