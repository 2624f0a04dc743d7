/*
 * A segment file with any bytes in it: the journal opens or says why not, a reader gets through to the
 * end by the gaps that it is told, and a record appended then is read back.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/journal/journal.h"
#include "common/sys/fs.h"

static char dir[64];

static void write_segment(const unsigned char *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/00000000000000000000.seg", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
}

static void read_through(struct tel_journal *j, int64_t end)
{
    struct tel_journal_reader *r = tel_journal_reader_open(j, 0);
    struct tel_error err;
    for (int64_t at = 0; at < end;) {
        const struct tel_journal_record *records = NULL;
        size_t count = 0;
        int64_t next = -1;
        tel_code rc = tel_journal_read(r, 0, 16, &records, &count, &next, &err);
        if (rc == TEL_ERR_CORRUPT || rc == TEL_ERR_GAP) {
            if (next <= at || next > end)
                abort();
            tel_journal_reader_seek(r, at = next);
            continue;
        }
        if (rc != TEL_OK || count == 0)
            abort();
        for (size_t i = 0; i < count; i++)
            if (records[i].offset != at++)
                abort();
    }
    tel_journal_reader_close(r);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct tel_error err;
    if (!dir[0]) {
        const char *shm = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(dir, sizeof(dir), "%s/fuzz-journal-XXXXXX", shm);
        if (!mkdtemp(dir))
            abort();
        tel_log_set_level(TEL_LOG_OFF);
    }
    write_segment(data, size);
    struct tel_journal_options o = {.dir = dir, .sync_interval_ms = 1};
    struct tel_journal *j = NULL;
    if (tel_journal_open(&o, &j, &err) == TEL_OK) {
        if (tel_journal_append(j, TEL_SPAN("k"), TEL_SPAN("v"), NULL, NULL, &err) != TEL_OK ||
            tel_journal_flush(j, 10000, &err) != TEL_OK)
            abort();
        int64_t low = 0, high = 0;
        tel_journal_watermarks(j, &low, &high);
        if (low != 0 || high < 1)
            abort();
        read_through(j, high);
        tel_journal_close(j);
    }
    if (tel_fs_remove_all(tel_fs_system(), dir, &err) != TEL_OK || tel_fs_mkdir(tel_fs_system(), dir, &err) != TEL_OK)
        abort();
    return 0;
}
