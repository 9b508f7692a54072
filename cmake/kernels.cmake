# The CPU driver is compiled once per instruction set and chosen at run time. All of them give the same bits: the
# source fixes the order of every sum and contraction is off.
add_library(dither_kernels INTERFACE)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(kernel_isas baseline avx2 avx512)
  set(kernel_flags_avx2 -march=x86-64-v3)
  set(kernel_flags_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
  target_compile_definitions(dither_build INTERFACE DITHER_X86_64=1)
else()
  set(kernel_isas baseline)
endif()
foreach(isa IN LISTS kernel_isas)
  add_library(dither_kernels_${isa} OBJECT ${PROJECT_SOURCE_DIR}/kernels/launch_cpu.c)
  target_link_libraries(dither_kernels_${isa} PRIVATE dither_build)
  target_compile_definitions(dither_kernels_${isa} PRIVATE DK_ISA=${isa})
  target_compile_options(dither_kernels_${isa} PRIVATE ${kernel_flags_${isa}}
    $<$<CONFIG:Release>:-O3> $<$<CONFIG:RelWithDebInfo>:-O3>)
  target_link_libraries(dither_kernels INTERFACE $<TARGET_OBJECTS:dither_kernels_${isa}>)
endforeach()
if(DITHER_CUDA_FOUND)
  add_library(dither_kernels_cuda OBJECT ${PROJECT_SOURCE_DIR}/kernels/launch_cuda.cu)
  target_link_libraries(dither_kernels_cuda PRIVATE dither_build CUDA::cudart_static)
  # -fmad=false: a fused multiply-add rounds once where the CPU rounds twice
  target_compile_options(dither_kernels_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false -Xcompiler=-Wall,-Wextra,-fno-exceptions>)
  target_link_libraries(dither_kernels INTERFACE $<TARGET_OBJECTS:dither_kernels_cuda> CUDA::cudart_static)
endif()
