# Finds cuda.h and nvrtc.h (CUDA 12.0 or later): in a toolkit, or in the wheels nvidia-cuda-runtime
# and nvidia-cuda-nvrtc of PyPI. No library is linked.
#
# CudaHeaders_ROOT, CUDA_HOME and CUDA_PATH (variables or environment) name folders to look in first.
# Sets CudaHeaders_FOUND and CudaHeaders_VERSION; defines the target CudaHeaders::CudaHeaders.

set(_folders ${CUDA_HOME} ${CUDA_PATH} $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda)
find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_Interpreter_FOUND)
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -c "import site, sys; print(';'.join([*site.getsitepackages(), site.getusersitepackages(), *sys.path]))"
    OUTPUT_VARIABLE _sites OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  foreach(_site ${_sites})
    file(GLOB _wheels ${_site}/nvidia/*)
    list(APPEND _folders ${_wheels})
  endforeach()
endif()

# The two headers may lie in different wheels.
find_path(CUDA_INCLUDE_DIR cuda.h HINTS ${_folders} PATH_SUFFIXES include)
find_path(NVRTC_INCLUDE_DIR nvrtc.h HINTS ${CUDA_INCLUDE_DIR} ${_folders} PATH_SUFFIXES include)
mark_as_advanced(CUDA_INCLUDE_DIR NVRTC_INCLUDE_DIR)

if(CUDA_INCLUDE_DIR)
  file(STRINGS ${CUDA_INCLUDE_DIR}/cuda.h _line REGEX "^#define CUDA_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+$" _number "${_line}")
  math(EXPR _major "${_number} / 1000")
  math(EXPR _minor "${_number} % 1000 / 10")
  set(CudaHeaders_VERSION ${_major}.${_minor})
  if(CudaHeaders_VERSION VERSION_LESS 12.0)
    message(STATUS "CUDA headers in ${CUDA_INCLUDE_DIR} are of ${CudaHeaders_VERSION}; 12.0 is the oldest that will do")
    set(CUDA_INCLUDE_DIR CUDA_INCLUDE_DIR-NOTFOUND)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CudaHeaders
  REQUIRED_VARS CUDA_INCLUDE_DIR NVRTC_INCLUDE_DIR VERSION_VAR CudaHeaders_VERSION)

if(CudaHeaders_FOUND AND NOT TARGET CudaHeaders::CudaHeaders)
  add_library(CudaHeaders::CudaHeaders INTERFACE IMPORTED GLOBAL)
  set_target_properties(CudaHeaders::CudaHeaders PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${CUDA_INCLUDE_DIR};${NVRTC_INCLUDE_DIR}")
endif()
