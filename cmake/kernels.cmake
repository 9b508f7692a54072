# The CPU driver is compiled once per instruction set and chosen at run time. All of them give the same bits: the
# source fixes the order of every sum and contraction is off.
set(kernel_sources kernels/blas.c kernels/cpu.c kernels/pool.c kernels/layout.c)
set(kernel_objects "")
set(kernel_isas baseline)
if(DITHER_ISAS AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
  set(kernel_isas baseline avx2 avx512)
  check_c_compiler_flag(-march=x86-64-v4 DITHER_KNOWS_X86_64_LEVELS)
  if(DITHER_KNOWS_X86_64_LEVELS)
    set(kernel_flags_avx2 -march=x86-64-v3)
    set(kernel_flags_avx512 -march=x86-64-v4)
  else() # the same by name, for gcc before 11 and clang before 12
    set(kernel_flags_avx2 -mavx2 -mbmi -mbmi2 -mf16c -mfma -mlzcnt -mmovbe)
    set(kernel_flags_avx512 ${kernel_flags_avx2} -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl)
  endif()
  list(APPEND kernel_flags_avx512 -mprefer-vector-width=512)
  target_compile_definitions(dither_build INTERFACE DITHER_X86_64=1)
endif()
foreach(isa IN LISTS kernel_isas)
  add_library(dither_kernels_${isa} OBJECT ${PROJECT_SOURCE_DIR}/kernels/launch_cpu.c)
  target_link_libraries(dither_kernels_${isa} PRIVATE dither_build)
  target_compile_definitions(dither_kernels_${isa} PRIVATE DK_ISA=${isa})
  target_compile_options(dither_kernels_${isa} PRIVATE ${kernel_flags_${isa}})
  list(APPEND kernel_objects $<TARGET_OBJECTS:dither_kernels_${isa}>)
endforeach()

# -fmad=false: a fused multiply-add rounds once where the CPU rounds twice. tests/test_ptx.sh compiles with these flags.
set(kernel_flags_cuda -std=c++17 -fmad=false)
if(NOT DITHER_CUDA_FOUND)
  list(APPEND kernel_sources kernels/no_cuda.c)
else()
  add_library(dither_kernels_cuda OBJECT ${PROJECT_SOURCE_DIR}/kernels/launch_cuda.cu)
  target_link_libraries(dither_kernels_cuda PRIVATE dither_build)
  # no exceptions, no guarded statics: the library stays one that a C compiler links
  target_compile_options(dither_kernels_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:${kernel_flags_cuda} -Xcompiler=-Wall,-Wextra,-fno-exceptions,-fno-threadsafe-statics>)
  list(APPEND kernel_objects $<TARGET_OBJECTS:dither_kernels_cuda>)
endif()
