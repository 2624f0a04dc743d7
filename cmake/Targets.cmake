# How a folder becomes a target. Every folder names its sources and its links; nothing is inherited.

# tel_library(NAME SOURCES a.c ... LINKS tel_base dep_zstd ...)
function(tel_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PRIVATE tel_flags PUBLIC ${A_LINKS})
endfunction()

# tel_program(NAME SOURCES main.c LINKS ...): goes to bin/ and is installed.
function(tel_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE tel_flags ${A_LINKS})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# tel_plugin(NAME SOURCES ... LINKS ...): a shared object that the sidecar loads.
function(tel_plugin name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS" ${ARGN})
  add_library(plugin_${name} MODULE ${A_SOURCES})
  target_link_libraries(plugin_${name} PRIVATE tel_flags ${A_LINKS})
  set_target_properties(plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME ${name}
    LIBRARY_OUTPUT_DIRECTORY ${TEL_PLUGIN_OUTPUT_DIRECTORY})
  install(TARGETS plugin_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/telescope/plugins)
endfunction()

# tel_test(NAME SOURCES ... LINKS ... [LABELS unit] [TIMEOUT s] [ARGS ...]): one cmocka program, one ctest entry.
function(tel_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LINKS;LABELS;ARGS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE tel_flags ${A_LINKS} dep_cmocka)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
endfunction()

# tel_bench(NAME SOURCES ... LINKS ...)
function(tel_bench name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE tel_flags ${A_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TEL_BENCH_OUTPUT_DIRECTORY})
endfunction()

# tel_fuzz(NAME SOURCES fuzz_x.c LINKS ... CORPUS dir): defines LLVMFuzzerTestOneInput. With TEL_FUZZ it
# is a libFuzzer program; otherwise it is linked with a driver that runs the corpus once, as a ctest.
function(tel_fuzz name)
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE tel_flags ${A_LINKS})
  target_compile_options(${name} PRIVATE -Wno-missing-prototypes)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  if(TEL_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    # libFuzzer writes what it finds into the first folder: that is not the one in the source tree.
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${name}-found)
    add_test(NAME ${name}
      COMMAND ${name} -runs=20000 -max_total_time=60 ${CMAKE_CURRENT_BINARY_DIR}/${name}-found ${A_CORPUS})
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus_driver.c)
    add_test(NAME ${name} COMMAND ${name} ${A_CORPUS})
  endif()
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 180)
endfunction()

# The Python of the tests: build/venv of this checkout, shared by all presets, made by a ctest fixture.
set(TEL_PYTHON ${CMAKE_SOURCE_DIR}/build/venv/bin/python)

# tel_pytest(NAME FILE test_x.py [LABELS integration] [TIMEOUT s] [FIXTURES kafka ...] [ENV A=b ...] [ARGS ...]):
# one Python test file, one ctest entry.
function(tel_pytest name)
  cmake_parse_arguments(A "" "FILE;TIMEOUT" "LABELS;FIXTURES;ENV;ARGS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS integration)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  cmake_path(ABSOLUTE_PATH A_FILE BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE file)
  add_test(NAME ${name} COMMAND ${TEL_PYTHON} -B -m pytest -q -s -p no:cacheprovider ${file} ${A_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT}
    FIXTURES_REQUIRED "venv;${A_FIXTURES}"
    ENVIRONMENT "TEL_BUILD_DIR=${CMAKE_BINARY_DIR};TEL_KAFKA_DIR=${CMAKE_BINARY_DIR}/kafka;${A_ENV}")
endfunction()

# tel_kafka_test(NAME ...): as tel_test, for a program that wants a real broker; it finds its address
# in the file that TEL_KAFKA_BOOTSTRAP_FILE names.
function(tel_kafka_test name)
  tel_test(${name} ${ARGN})
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED "kafka;venv"
    ENVIRONMENT "TEL_KAFKA_BOOTSTRAP_FILE=${CMAKE_BINARY_DIR}/kafka/bootstrap")
endfunction()
