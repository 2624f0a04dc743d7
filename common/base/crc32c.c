/*
 * On x86-64 the crc32 instruction takes eight bytes in one cycle of throughput but three of latency,
 * so long inputs are cut into three lanes that run side by side. The lanes are joined by advancing a
 * CRC over zeros, which is linear: four look-ups in a table made for the lane's length. Elsewhere,
 * slicing by eight (Kounavis and Berry 2005).
 */
#include "common/base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t slices[8][256];

#if defined(__x86_64__)
#define LANE 1024 /* bytes */
static uint32_t skip_lane[4][256]; /* a CRC advanced over LANE zeros, by its four bytes */
#endif

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        slices[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++)
            slices[k][i] = slices[k - 1][i] >> 8 ^ slices[0][slices[k - 1][i] & 0xff];
    }
#if defined(__x86_64__)
    uint32_t bits[32];
    for (int bit = 0; bit < 32; bit++) {
        uint32_t crc = 1u << bit;
        for (int i = 0; i < LANE; i++)
            crc = crc >> 8 ^ slices[0][crc & 0xff];
        bits[bit] = crc;
    }
    for (int byte = 0; byte < 4; byte++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = 0;
            for (int bit = 0; bit < 8; bit++)
                crc ^= i >> bit & 1 ? bits[8 * byte + bit] : 0;
            skip_lane[byte][i] = crc;
        }
    }
#endif
}

uint32_t tel_crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *p = data;
    pthread_once(&tables_once, make_tables);
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint32_t lo = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                             (uint32_t)p[3] << 24);
        crc = slices[7][lo & 0xff] ^ slices[6][lo >> 8 & 0xff] ^ slices[5][lo >> 16 & 0xff] ^
              slices[4][lo >> 24] ^ slices[3][p[4]] ^ slices[2][p[5]] ^ slices[1][p[6]] ^
              slices[0][p[7]];
    }
    for (; len; len--, p++)
        crc = crc >> 8 ^ slices[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
static uint32_t skip(uint32_t crc)
{
    return skip_lane[0][crc & 0xff] ^ skip_lane[1][crc >> 8 & 0xff] ^
           skip_lane[2][crc >> 16 & 0xff] ^ skip_lane[3][crc >> 24];
}

static uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t start, const void *data,
                                                               size_t len)
{
    const unsigned char *p = data;
    uint64_t crc = (uint32_t)~start;
    if (len >= 3 * LANE)
        pthread_once(&tables_once, make_tables);
    for (; len >= 3 * LANE; len -= 3 * LANE, p += 3 * LANE) {
        uint64_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = __builtin_ia32_crc32di(a, load64(p + i));
            b = __builtin_ia32_crc32di(b, load64(p + LANE + i));
            c = __builtin_ia32_crc32di(c, load64(p + 2 * LANE + i));
        }
        crc = skip(skip((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
    }
    for (; len >= 8; len -= 8, p += 8)
        crc = __builtin_ia32_crc32di(crc, load64(p));
    for (; len; len--, p++)
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *p);
    return ~(uint32_t)crc;
}
#endif

uint32_t tel_crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, data, len);
#endif
    return tel_crc32c_portable(crc, data, len);
}
