# The libraries that Telescope stands on, each as one imported target dep_<name>.
# Only the folder that wraps a library may link it (tests/checks enforces this).

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(tel_pkg name module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
  add_library(dep_${name} INTERFACE)
  target_link_libraries(dep_${name} INTERFACE PkgConfig::${name})
endfunction()

tel_pkg(kafka rdkafka)
tel_pkg(avro avro-c)
tel_pkg(protobuf_c libprotobuf-c)
tel_pkg(config libconfig)
tel_pkg(zstd libzstd)
tel_pkg(xxhash libxxhash)
tel_pkg(openssl openssl)
tel_pkg(microhttpd libmicrohttpd)
tel_pkg(jansson jansson)
tel_pkg(pcre2 libpcre2-8)
tel_pkg(cmocka cmocka)
tel_pkg(zlib zlib)
tel_pkg(curl libcurl)

# LevelDB ships no pkg-config file on Debian 12. pkg-config for gRPC drags in every abseil library,
# while the C core needs only these two.
function(tel_find_library name header)
  find_path(${name}_INCLUDE ${header} REQUIRED)
  add_library(dep_${name} INTERFACE)
  target_include_directories(dep_${name} SYSTEM INTERFACE ${${name}_INCLUDE})
  foreach(lib ${ARGN})
    find_library(${name}_${lib}_LIBRARY ${lib} REQUIRED)
    target_link_libraries(dep_${name} INTERFACE ${${name}_${lib}_LIBRARY})
  endforeach()
endfunction()

tel_find_library(leveldb leveldb/c.h leveldb)
tel_find_library(grpc grpc/grpc.h grpc gpr)
tel_find_library(snappy snappy-c.h snappy)

find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_GEN_C protoc-gen-c REQUIRED)
