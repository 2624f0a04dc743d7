/*
 * What is learnt of a partition's lines, kept in the file `learnt` beside its store. It is worth little:
 * without it, or with an old one, the first lines after a start teach again what was known. So it is
 * written now and then, never waited for by anything, and whatever is wrong with it is logged and
 * nothing more.
 */
#include <stdlib.h>

#define TEL_LOG_COMPONENT "ingest"
#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/sys/fs.h"
#include "shard/ingest/partition_private.h"
#include "shard/store/folder.h"

#define WRITE_S 60

void partition_learnt_read(struct partition *p)
{
    struct tel_buf bytes = {0};
    struct tel_error err;
    char *path = folder_path(p->dir, "learnt");
    tel_code rc =
        tel_fs_read_all(tel_fs_system(), path, SEGMENT_LEARNT_BYTES, &bytes, &err);
    if (rc == TEL_OK)
        rc = segment_learnt_load(p->learnt, tel_buf_span(&bytes), &err);
    if (rc != TEL_OK && rc != TEL_ERR_NOTFOUND)
        tel_log_warn("what was learnt of lines cannot be read, and is learnt again",
                     tel_kv_str("file", path), tel_kv_error(&err));
    free(path);
    tel_buf_free(&bytes);
    segment_learnt_age(p->learnt, tel_wall_ns(p->options.clock));
}

void partition_learnt_write(struct partition *p, bool at_once)
{
    int64_t now = tel_mono_ns(p->options.clock);
    segment_learnt_age(p->learnt, tel_wall_ns(p->options.clock));
    if (segment_learnt_changes(p->learnt) == 0 || (!at_once && now < p->learnt_at_ns))
        return;
    p->learnt_at_ns = now + WRITE_S * TEL_NS_PER_S;
    struct tel_buf bytes = {0};
    struct tel_error err;
    char *path = folder_path(p->dir, "learnt");
    segment_learnt_save(p->learnt, &bytes);
    if (tel_fs_write_atomic(tel_fs_system(), path, tel_buf_span(&bytes), &err) != TEL_OK)
        tel_log_warn("what is learnt of lines cannot be written", tel_kv_str("file", path),
                     tel_kv_error(&err));
    free(path);
    tel_buf_free(&bytes);
}
