# sublet_mpi_kind(RESULT TARGET): which MPI the headers of TARGET are of: openmpi, mpich, or other. Only
# MPIs that share one binary interface share a kind: those built on MPICH by others are `other`. Here
# and in the installed package.
include_guard()

function(_sublet_mpi_headers_define result target)
  list(JOIN ARGN " && " _condition)
  set(CMAKE_REQUIRED_LIBRARIES ${target})
  set(CMAKE_REQUIRED_QUIET ON)
  get_property(_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  set(_language C)
  if(NOT C IN_LIST _languages)
    set(_language CXX)
  endif()
  unset(SUBLET_MPI_HEADERS_DEFINE CACHE)
  check_source_compiles(${_language}
    "#include <mpi.h>\n#if !(${_condition})\n#error another one\n#endif\nint main(void) { return 0; }\n"
    SUBLET_MPI_HEADERS_DEFINE)
  set(${result} "${SUBLET_MPI_HEADERS_DEFINE}" PARENT_SCOPE)
  unset(SUBLET_MPI_HEADERS_DEFINE CACHE)
endfunction()

function(sublet_mpi_kind result target)
  include(CheckSourceCompiles)
  set(${result} other PARENT_SCOPE)
  _sublet_mpi_headers_define(_is_openmpi ${target} "defined(OMPI_MAJOR_VERSION)")
  if(_is_openmpi)
    set(${result} openmpi PARENT_SCOPE)
    return()
  endif()
  _sublet_mpi_headers_define(_is_mpich ${target} "defined(MPICH_NUMVERSION)"
    "!defined(I_MPI_VERSION)" "!defined(MVAPICH2_VERSION)" "!defined(CRAY_MPICH_VERSION)")
  if(_is_mpich)
    set(${result} mpich PARENT_SCOPE)
  endif()
endfunction()
