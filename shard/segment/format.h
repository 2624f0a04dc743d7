/* Constants of the segment format; shard/FORMAT.md draws it. */
#ifndef SHARD_SEGMENT_FORMAT_H
#define SHARD_SEGMENT_FORMAT_H

#define SEGMENT_MAGIC        UINT64_C(0x0031746e656d6773) /* "sgment1" */
#define SEGMENT_SECTION_HEAD 0u

/* Caps that a reader enforces before it allocates. */
#define SEGMENT_ROWS_MAX   (1u << 24)
#define SEGMENT_BLOCK_MAX  (64u << 20)

#endif
