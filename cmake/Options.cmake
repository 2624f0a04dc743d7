# Build options, and the flags that all of our code is compiled with.

set(TEL_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, e.g. address,undefined or thread")
option(TEL_FUZZ "Build the fuzz targets with libFuzzer (needs clang)" OFF)
option(TEL_COVERAGE "Instrument for coverage" OFF)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Assertions guard against our own bugs and stay on in releases: a wrong index must stop a shard,
# not be written to disk. Hence no -DNDEBUG.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(TEL_PLUGIN_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/telescope/plugins)
set(TEL_BENCH_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)

add_library(tel_flags INTERFACE)
target_compile_definitions(tel_flags INTERFACE _GNU_SOURCE TEL_VERSION="${PROJECT_VERSION}")
target_compile_options(tel_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Werror)
target_include_directories(tel_flags INTERFACE ${CMAKE_SOURCE_DIR})

if(TEL_SANITIZE)
  add_compile_options(-fsanitize=${TEL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TEL_SANITIZE})
endif()
if(TEL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(TEL_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
