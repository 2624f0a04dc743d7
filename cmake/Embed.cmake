# A file as C arrays: cmake -DOUTPUT=x.c -DSYMBOL=name -DINPUT=file -P Embed.cmake
# Defines `const unsigned char SYMBOL[]`, NUL-terminated behind its end, and `const size_t SYMBOL_len`.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," list "${hex}")
string(REPEAT "0x..," 16 row)
string(REGEX REPLACE "${row}" "\\0\n" list "${list}")
get_filename_component(name ${INPUT} NAME)
file(WRITE ${OUTPUT} "/* ${name}, embedded. */
#include <stddef.h>
extern const unsigned char ${SYMBOL}[];
extern const size_t ${SYMBOL}_len;
const unsigned char ${SYMBOL}[] = {
${list}0x00};
const size_t ${SYMBOL}_len = ${bytes};
")
