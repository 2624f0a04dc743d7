/* What a shard may send: any bytes as a RowBatch, opened, and shown as JSON. */
#include <stdint.h>

#include "router/json.h"
#include "router/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Telescope__Shard__V1__RowBatch *batch =
        telescope__shard__v1__row_batch__unpack(NULL, size, data);
    struct rows *rows;
    struct tel_error err;
    if (!batch || rows_open(batch, &rows, &err) != TEL_OK)
        return 0;
    struct tel_buf out = {0};
    size_t shown = rows->block.rows <= 4096 ? json_add_block(&out, &rows->block) : 0;
    TEL_CHECK(shown <= rows->block.rows);
    tel_buf_free(&out);
    rows_free(rows);
    return 0;
}
