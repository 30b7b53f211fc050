# The MPIs that the MPI layer is built for: what find_package(MPI) finds, and each other one that is
# installed beside it (its compiler: mpicc.mpich or mpicc.openmpi as on Debian, or what
# -DSUBLET_MPICC_MPICH=... or -DSUBLET_MPICC_OPENMPI=... names).
#
#   SUBLET_MPIS                 their kinds (SubletMpiKind.cmake), the build's own first
#   sublet_uses_KIND            what C and C++ compile and link with
#   sublet_uses_KIND_fortran    the same for Fortran, where its mpifort is there
#   SUBLET_MPIEXEC_KIND         its launcher; empty when there is none

include(SubletMpiKind)

# Only the C interface: <mpi.h> would pull in the old C++ bindings, which need a library of their own.
set(SUBLET_MPI_DEFINITIONS OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)

# A target with what the compiler `wrapper` adds to a command line. Open MPI and MPICH both say so.
function(_sublet_mpi_of_wrapper target wrapper)
  execute_process(COMMAND "${wrapper}" -show OUTPUT_VARIABLE _command RESULT_VARIABLE _code
    ERROR_VARIABLE _error)
  if(NOT _code EQUAL 0)
    message(FATAL_ERROR "${wrapper} -show fails: ${_error}")
  endif()
  separate_arguments(_words UNIX_COMMAND "${_command}")
  set(_directories "")
  set(_includes "")
  set(_libraries "")
  foreach(_word IN LISTS _words)
    if(_word MATCHES "^-I(.+)$")
      list(APPEND _includes "${CMAKE_MATCH_1}")
    elseif(_word MATCHES "^-L(.+)$")
      list(APPEND _directories "${CMAKE_MATCH_1}")
    elseif(_word MATCHES "^-l(.+)$")
      list(APPEND _libraries "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  set(_paths "")
  foreach(_library IN LISTS _libraries)
    find_library(_path "${_library}" PATHS ${_directories} NO_CACHE NO_DEFAULT_PATH)
    if(NOT _path)
      set(_path "${_library}")
    endif()
    list(APPEND _paths "${_path}")
    unset(_path)
  endforeach()
  set_target_properties(${target} PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_includes}" INTERFACE_LINK_LIBRARIES "${_paths}")
endfunction()

function(_sublet_find_another_mpi kind)
  string(TOUPPER "${kind}" _upper)
  find_program(SUBLET_MPICC_${_upper} mpicc.${kind} DOC "The C compiler of ${kind}")
  set(_wrapper "${SUBLET_MPICC_${_upper}}")
  if(NOT _wrapper)
    message(STATUS "MPI: no mpicc.${kind}, so Sublet is built for ${SUBLET_MPIS} alone "
      "(-DSUBLET_MPICC_${_upper}=... names it)")
    return()
  endif()
  _sublet_mpi_of_wrapper(sublet_uses_${kind} "${_wrapper}")
  set_property(TARGET sublet_uses_${kind} PROPERTY
    INTERFACE_COMPILE_DEFINITIONS ${SUBLET_MPI_DEFINITIONS})
  sublet_mpi_kind(_found sublet_uses_${kind})
  if(NOT _found STREQUAL kind)
    message(FATAL_ERROR "${_wrapper} is not the compiler of ${kind}, but of ${_found}")
  endif()

  get_filename_component(_directory "${_wrapper}" DIRECTORY)
  get_filename_component(_name "${_wrapper}" NAME)
  string(REPLACE mpicc mpiexec _mpiexec "${_name}")
  find_program(SUBLET_MPIEXEC_${_upper} "${_mpiexec}" HINTS "${_directory}"
    DOC "The launcher of ${kind}")
  string(REPLACE mpicc mpifort _mpifort "${_name}")
  find_program(SUBLET_MPIFORT_${_upper} "${_mpifort}" HINTS "${_directory}"
    DOC "The Fortran compiler of ${kind}")
  if(SUBLET_HAS_FORTRAN AND SUBLET_MPIFORT_${_upper})
    _sublet_mpi_of_wrapper(sublet_uses_${kind}_fortran "${SUBLET_MPIFORT_${_upper}}")
  endif()
  set(SUBLET_MPIS ${SUBLET_MPIS} ${kind} PARENT_SCOPE)
  set(SUBLET_MPIEXEC_${kind} "${SUBLET_MPIEXEC_${_upper}}" PARENT_SCOPE)
endfunction()

find_package(MPI REQUIRED COMPONENTS C)
if(SUBLET_HAS_FORTRAN)
  find_package(MPI COMPONENTS Fortran)
endif()
set_property(TARGET MPI::MPI_C APPEND PROPERTY
  INTERFACE_COMPILE_DEFINITIONS ${SUBLET_MPI_DEFINITIONS})
if(NOT SUBLET_OWN_MPI)
  sublet_mpi_kind(_kind MPI::MPI_C)
  set(SUBLET_OWN_MPI "${_kind}" CACHE INTERNAL "The kind of what find_package(MPI) finds")
endif()
set(SUBLET_MPIS "${SUBLET_OWN_MPI}")
set(SUBLET_MPIEXEC_${SUBLET_OWN_MPI} "${MPIEXEC_EXECUTABLE}")
add_library(sublet_uses_${SUBLET_OWN_MPI} INTERFACE IMPORTED GLOBAL)
target_link_libraries(sublet_uses_${SUBLET_OWN_MPI} INTERFACE MPI::MPI_C)
if(TARGET MPI::MPI_Fortran)
  add_library(sublet_uses_${SUBLET_OWN_MPI}_fortran INTERFACE IMPORTED GLOBAL)
  target_link_libraries(sublet_uses_${SUBLET_OWN_MPI}_fortran INTERFACE MPI::MPI_Fortran)
endif()
foreach(_kind openmpi mpich)
  if(NOT _kind STREQUAL SUBLET_OWN_MPI)
    _sublet_find_another_mpi(${_kind})
  endif()
endforeach()
message(STATUS "MPI: the layer is built for ${SUBLET_MPIS}")
