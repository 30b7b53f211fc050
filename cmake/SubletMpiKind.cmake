# sublet_mpi_kind(RESULT [TARGET]): which MPI the headers of TARGET, or those that the compiler finds by
# itself, are of: openmpi, mpich, other, or none. Only MPIs that share one binary interface share a kind:
# those built on MPICH by others are `other`. Here and in the installed package.
include_guard()

# True when a program of MPI that demands `condition` of its headers compiles and links.
function(_sublet_mpi_program_with result condition)
  set(CMAKE_REQUIRED_LIBRARIES ${ARGN})
  set(CMAKE_REQUIRED_DEFINITIONS -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX)
  set(CMAKE_REQUIRED_QUIET ON)
  get_property(_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  set(_language C)
  if(CXX IN_LIST _languages)
    set(_language CXX)
  endif()
  unset(SUBLET_MPI_PROGRAM_WITH CACHE)
  check_source_compiles(${_language}
    "#include <mpi.h>\n#if !(${condition})\n#error another one\n#endif\nint main(int n, char** v) { return MPI_Init(&n, &v); }\n"
    SUBLET_MPI_PROGRAM_WITH)
  set(${result} "${SUBLET_MPI_PROGRAM_WITH}" PARENT_SCOPE)
  unset(SUBLET_MPI_PROGRAM_WITH CACHE)
endfunction()

function(sublet_mpi_kind result)
  include(CheckSourceCompiles)
  foreach(_case
      "openmpi=defined(OMPI_MAJOR_VERSION)"
      "mpich=defined(MPICH_NUMVERSION) && !defined(I_MPI_VERSION) && !defined(MVAPICH2_VERSION) && !defined(CRAY_MPICH_VERSION)"
      "other=1" "none=")
    string(REGEX MATCH "^([a-z]+)=(.*)$" _matched "${_case}")
    set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
    if(CMAKE_MATCH_1 STREQUAL "none")
      return()
    endif()
    _sublet_mpi_program_with(_is_it "${CMAKE_MATCH_2}" ${ARGN})
    if(_is_it)
      return()
    endif()
  endforeach()
endfunction()
