/* Any bytes as a checkpoint on the disk: it is read, or refused with a reason, and what was read can be
 * stored and read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/sys/fs.h"
#include "sidecar/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];

static void remove_dir(void)
{
    (void)rmdir(dir); /* empty between inputs */
}

static void put(struct tel_span bytes)
{
    char path[128];
    struct tel_error err;
    snprintf(path, sizeof(path), "%s/checkpoint", dir);
    TEL_CHECK(tel_fs_write_atomic(tel_fs_system(), path, bytes, &err) == TEL_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint *c = NULL, *again = NULL;
    struct tel_error err = {0};
    struct tel_buf bytes = {0};
    if (!*dir) {
        tel_log_set_level(TEL_LOG_OFF);
        snprintf(dir, sizeof(dir), "/tmp/telescope-fuzz-XXXXXX");
        TEL_CHECK(mkdtemp(dir) && atexit(remove_dir) == 0);
    }
    /* With a right checksum, so that what lies behind it is tried. */
    TEL_BUF_ADD_LIT(&bytes, "TELCKPT1");
    tel_buf_add(&bytes, data, size);
    tel_buf_add_le32(&bytes, tel_crc32c(0, bytes.ptr, bytes.len));
    put(tel_buf_span(&bytes));
    tel_code rc = checkpoint_open(tel_fs_system(), dir, false, &c, &err);
    TEL_CHECK(rc == TEL_OK || (rc == TEL_ERR_CORRUPT && err.text[0]));
    if (rc == TEL_OK) {
        size_t count = checkpoint_count(c);
        TEL_CHECK(checkpoint_save(c, &err) == TEL_OK);
        TEL_CHECK(checkpoint_open(tel_fs_system(), dir, false, &again, &err) == TEL_OK);
        TEL_CHECK(checkpoint_count(again) == count);
    }
    checkpoint_free(c);
    checkpoint_free(again);
    tel_buf_free(&bytes);
    TEL_CHECK(tel_fs_remove_all(tel_fs_system(), dir, &err) == TEL_OK);
    TEL_CHECK(tel_fs_mkdir_all(tel_fs_system(), dir, &err) == TEL_OK);
    return 0;
}
