/* CRC-32C (Castagnoli, RFC 3720 B.4): SSE4.2 where the machine has it, a table elsewhere. */
#ifndef TEL_BASE_CRC32C_H
#define TEL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc of `len` bytes continued from `crc` (0 to begin). */
uint32_t tel_crc32c(uint32_t crc, const void *data, size_t len);
/* The portable version, for the test that compares the two. */
uint32_t tel_crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
