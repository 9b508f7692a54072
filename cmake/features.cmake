# What the machine has. Every feature is optional; one that is absent is refused at run time with the reason, and
# said so in the summary at the end of the configuration.
include(CheckCCompilerFlag)
include(CheckLanguage)

add_library(dither_build INTERFACE) # how every source of the project is compiled and what it is linked with
target_compile_options(dither_build INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Wshadow
    -Wstrict-prototypes -Wmissing-prototypes -Wvla>)
target_compile_definitions(dither_build INTERFACE DITHER_VERSION="${PROJECT_VERSION}")
if(DITHER_REVERSE_LANES)
  target_compile_definitions(dither_build INTERFACE DITHER_REVERSE_LANES)
endif()
if(DITHER_SANITIZE)
  target_compile_options(dither_build INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-fsanitize=${DITHER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(dither_build INTERFACE -fsanitize=${DITHER_SANITIZE})
endif()

set(dither_link m)         # libraries that a program linked with the static library needs too
set(dither_packages "")    # the CMake packages that define them
set(summary_lines "")

# summary_line("what" found "purpose" "what to install")
function(summary_line what found purpose install)
  if(found)
    set(state "found ")
  else()
    set(state "absent")
    string(APPEND purpose " (${install})")
  endif()
  set(summary_lines "${summary_lines};${state}  ${what}: ${purpose}" PARENT_SCOPE)
endfunction()

# feature_define(NAME "what" found "purpose" "what to install" [package target])
macro(feature_define name what found purpose install)
  if(${found})
    target_compile_definitions(dither_build INTERFACE DITHER_HAVE_${name}=1)
    if(${ARGC} GREATER 5)
      list(APPEND dither_packages "${ARGV5}")
      list(APPEND dither_link ${ARGV6})
    endif()
  endif()
  summary_line("${what}" "${${found}}" "${purpose}" "${install}")
endmacro()

find_package(Threads REQUIRED)
list(APPEND dither_packages Threads)
list(APPEND dither_link Threads::Threads)
find_package(ZLIB QUIET)
find_package(BZip2 QUIET)
find_package(LibLZMA QUIET)
feature_define(ZLIB "zlib" ZLIB_FOUND "reads .gz files" "zlib1g-dev" ZLIB ZLIB::ZLIB)
feature_define(BZIP2 "bzip2" BZIP2_FOUND "reads .bz2 files" "libbz2-dev" BZip2 BZip2::BZip2)
feature_define(LZMA "liblzma" LIBLZMA_FOUND "reads .xz files" "liblzma-dev" LibLZMA LibLZMA::LibLZMA)

set(MPI_C_FOUND FALSE)
if(DITHER_MPI)
  find_package(MPI COMPONENTS C QUIET)
endif()
feature_define(MPI "MPI" MPI_C_FOUND "ranks under mpirun and srun" "libopenmpi-dev or libmpich-dev"
               "MPI COMPONENTS C" MPI::MPI_C)

set(DITHER_CUDA_FOUND FALSE)
if(DITHER_CUDA)
  set(asked_architectures "${CMAKE_CUDA_ARCHITECTURES}")
  if(NOT asked_architectures)
    set(CMAKE_CUDA_ARCHITECTURES 80)
  endif()
  check_language(CUDA) # compiles a program: an nvcc that does not get on with the C++ compiler counts as absent
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    find_package(CUDAToolkit QUIET)
    if(NOT asked_architectures AND NOT CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 11.8)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90) # machine code of both, and PTX for what comes after
    endif()
    set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
    set(DITHER_CUDA_FOUND ${CUDAToolkit_FOUND})
  endif()
endif()
feature_define(CUDA "CUDA" DITHER_CUDA_FOUND "kernels on a GPU" "the CUDA toolkit: nvcc and cudart"
               CUDAToolkit CUDA::cudart_static)

find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
mark_as_advanced(NCCL_INCLUDE_DIR)
set(nccl_found FALSE)
if(DITHER_CUDA_FOUND AND NCCL_INCLUDE_DIR) # the library itself is loaded at run time
  set(nccl_found TRUE)
endif()
feature_define(NCCL "NCCL" nccl_found "messages between GPUs" "libnccl-dev of the CUDA repository")
if(nccl_found AND CMAKE_DL_LIBS)
  list(APPEND dither_link ${CMAKE_DL_LIBS})
endif()

if(DITHER_TESTS)
  find_path(CMOCKA_INCLUDE_DIR cmocka.h)
  find_library(CMOCKA_LIBRARY cmocka)
  find_path(RANDOM123_INCLUDE_DIR Random123/philox.h)
  find_program(PYTHON3 python3)
  find_package(CUDAToolkit QUIET)
  mark_as_advanced(CMOCKA_INCLUDE_DIR CMOCKA_LIBRARY RANDOM123_INCLUDE_DIR PYTHON3)
  set(cmocka_found FALSE)
  if(CMOCKA_INCLUDE_DIR AND CMOCKA_LIBRARY)
    set(cmocka_found TRUE)
  endif()
  set(curand_found FALSE)
  if(TARGET CUDA::curand)
    set(curand_found TRUE)
  endif()
  summary_line("cmocka" "${cmocka_found}" "the tests in C" "libcmocka-dev")
  summary_line("Python" "${PYTHON3}" "the tests of the command line" "python3")
  summary_line("Random123" "${RANDOM123_INCLUDE_DIR}" "the generator against its authors' own" "librandom123-dev")
  summary_line("cuRAND" "${curand_found}" "the generator against NVIDIA's" "comes with the CUDA toolkit")
endif()

target_link_libraries(dither_build INTERFACE ${dither_link})
