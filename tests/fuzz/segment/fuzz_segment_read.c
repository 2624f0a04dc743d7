/* A damaged segment: errors, never a wrong read. */
#include "tests/fuzz/segment/mutant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 400)
        mutant_run(data, size);
    return 0;
}
