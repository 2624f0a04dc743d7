/* Constants of the segment format; shard/FORMAT.md draws it. */
#ifndef SHARD_SEGMENT_FORMAT_H
#define SHARD_SEGMENT_FORMAT_H

#define SEGMENT_MAGIC UINT64_C(0x0033746e656d6773) /* "sgment3" */

enum segment_section_id {
    SEGMENT_SECTION_HEAD,
    SEGMENT_SECTION_NODES,
    SEGMENT_SECTION_FILTER,
    SEGMENT_SECTION_DATA, /* the first of them */
};

/* What an attribute column holds. */
enum segment_attribute_kind {
    SEGMENT_ATTRIBUTE,
    SEGMENT_TRACE_ID,
    SEGMENT_SPAN_ID,
};

/* Caps that a reader enforces before it allocates. */
#define SEGMENT_ROWS_MAX      (1u << 21)
#define SEGMENT_DIRECTORY_MAX (256u << 20)
#define SEGMENT_SECTIONS_MAX  (1u << 20)

#ifndef __BYTE_ORDER__
#error "the byte order is not known"
#elif __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "segments are written and read on little-endian machines"
#endif

#endif
