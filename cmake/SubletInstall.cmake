# What `cmake --install` puts where, and how other projects find it: find_package(Sublet),
# find_package(Sublet COMPONENTS mpi fortran), pkg-config sublet, sublet-mpi, sublet-f08, sublet-mpi-f08.
#
#   include/                  the public headers: sublet.h and sublet_mpi.h for C, sublet/ for C++
#   include/sublet/fortran/   the Fortran modules, for the version of gfortran that made them
#   lib/libsublet.so.MAJOR    Sublet::runtime
#   lib/libsublet_mpi_KIND.*  Sublet::mpi, for each MPI: the package and sublet-mpi-KIND.pc choose
#   share/sublet/mpi_source/  the same as sources, for other MPIs: find_package(Sublet COMPONENTS mpi_source)
#   lib/libsublet_f08.a       Sublet::fortran;  lib/libsublet_mpi_f08.a  Sublet::mpi_fortran
#   bin/sublet                the command
#   libexec/sublet/           what it starts or loads: sublet-executor with its libsublet_application.so, the benchmarks' parts
#   share/sublet/slurm/       batch scripts for Slurm, which `sublet slurm template` prints as well
#
# Included last, when all targets are known. A target that this configuration leaves out is left out
# here too. The tree can be moved as a whole: everything is found relative to where it lies.

include(CMakePackageConfigHelpers)

set(SUBLET_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/Sublet")
set(SUBLET_INSTALL_LIBEXECDIR "${CMAKE_INSTALL_LIBEXECDIR}/sublet")
set(_from_bin "\$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
set(_from_libexec "\$ORIGIN/../../${CMAKE_INSTALL_LIBDIR}")

# Before 1.0 a minor version may break the interface, so it is part of the name.
set(_soversion "${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")

# A program that runs from here and, when it was linked to libsublet.so, finds it there.
function(_sublet_install_program target destination rpath)
  if(TARGET ${target})
    set_target_properties(${target} PROPERTIES INSTALL_RPATH "${rpath}")
    install(TARGETS ${target} RUNTIME DESTINATION "${destination}")
  endif()
endfunction()

# A .pc file that finds its prefix from its own place; its template has its name, or that given.
function(_sublet_install_pc name)
  set(_template "${name}")
  if(ARGC GREATER 1)
    set(_template "${ARGV1}")
  endif()
  file(RELATIVE_PATH _up "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  string(REGEX REPLACE "/$" "" _up "${_up}")
  set(SUBLET_PC_PREFIX "\${pcfiledir}/${_up}")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/${_template}.pc.in"
    "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()

if(TARGET sublet_runtime)
  set_target_properties(sublet_runtime PROPERTIES EXPORT_NAME runtime
    VERSION "${PROJECT_VERSION}" SOVERSION "${_soversion}")
  target_compile_features(sublet_runtime INTERFACE cxx_std_20)
  target_include_directories(sublet_runtime INTERFACE
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  install(DIRECTORY runtime/include/sublet "${PROJECT_BINARY_DIR}/runtime/include/sublet"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
  install(FILES runtime/include/sublet.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(TARGETS sublet_runtime EXPORT SubletRuntime
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(EXPORT SubletRuntime NAMESPACE Sublet:: DESTINATION "${SUBLET_INSTALL_CMAKEDIR}")

  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/SubletConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/SubletConfig.cmake" INSTALL_DESTINATION "${SUBLET_INSTALL_CMAKEDIR}"
    NO_SET_AND_CHECK_MACRO)
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/SubletConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/SubletConfig.cmake"
    "${PROJECT_BINARY_DIR}/SubletConfigVersion.cmake" DESTINATION "${SUBLET_INSTALL_CMAKEDIR}")
  _sublet_install_pc(sublet)
endif()

if(SUBLET_BUILD_MPI)
  install(DIRECTORY mpi_bindings/include/sublet DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
  install(FILES mpi_bindings/include/sublet_mpi.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  foreach(_kind IN LISTS SUBLET_MPIS)
    set(_layer sublet_mpi_${_kind})
    set_target_properties(${_layer} PROPERTIES EXPORT_NAME mpi_${_kind}
      VERSION "${PROJECT_VERSION}" SOVERSION "${_soversion}" INSTALL_RPATH "\$ORIGIN")
    target_include_directories(${_layer} INTERFACE
      "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
    target_compile_definitions(${_layer} INTERFACE ${SUBLET_MPI_DEFINITIONS})
    install(TARGETS ${_layer} EXPORT SubletMpi-${_kind}
      LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
      ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(EXPORT SubletMpi-${_kind} NAMESPACE Sublet:: DESTINATION "${SUBLET_INSTALL_CMAKEDIR}")
    set(SUBLET_PC_MPI ${_kind})
    _sublet_install_pc(sublet-mpi-${_kind} sublet-mpi-kind)
  endforeach()
  set(SUBLET_PC_MPI ${SUBLET_OWN_MPI})
  _sublet_install_pc(sublet-mpi)
  install(FILES cmake/SubletMpiKind.cmake DESTINATION "${SUBLET_INSTALL_CMAKEDIR}")
  install(DIRECTORY mpi_bindings/ DESTINATION "${CMAKE_INSTALL_DATADIR}/sublet/mpi_source"
    FILES_MATCHING PATTERN "*.cpp" PATTERN "*.hpp" PATTERN "sources.cmake"
    PATTERN bench EXCLUDE PATTERN fortran EXCLUDE PATTERN include EXCLUDE
    PATTERN installed EXCLUDE PATTERN request_path_program.cpp EXCLUDE)
  install(FILES mpi_bindings/installed/CMakeLists.txt
    DESTINATION "${CMAKE_INSTALL_DATADIR}/sublet/mpi_source")
endif()

# A library of Fortran modules with their .mod files, as Sublet::NAME.
function(_sublet_install_fortran target name export)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  get_target_property(_modules ${target} Fortran_MODULE_DIRECTORY)
  set(_directory "${CMAKE_INSTALL_INCLUDEDIR}/sublet/fortran")
  target_include_directories(${target} INTERFACE "$<INSTALL_INTERFACE:${_directory}>")
  install(DIRECTORY "${_modules}/" DESTINATION "${_directory}" FILES_MATCHING PATTERN "*.mod")
  install(TARGETS ${target} EXPORT ${export} ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(EXPORT ${export} NAMESPACE Sublet:: DESTINATION "${SUBLET_INSTALL_CMAKEDIR}")
endfunction()

if(TARGET sublet_f08)
  _sublet_install_fortran(sublet_f08 fortran SubletFortran)
  _sublet_install_pc(sublet-f08)
endif()
if(TARGET sublet_mpi_f08)
  _sublet_install_fortran(sublet_mpi_f08 mpi_fortran SubletMpiFortran)
  _sublet_install_pc(sublet-mpi-f08)
endif()

_sublet_install_program(sublet "${CMAKE_INSTALL_BINDIR}" "${_from_bin}")
_sublet_install_program(sublet-executor "${SUBLET_INSTALL_LIBEXECDIR}" "${_from_libexec}")
_sublet_install_program(sublet-bench-single-source "${SUBLET_INSTALL_LIBEXECDIR}" "${_from_libexec}")
_sublet_install_program(sublet-bench-call-times "${SUBLET_INSTALL_LIBEXECDIR}" "${_from_libexec}")
if(TARGET sublet-trace-otf2)
  _sublet_install_program(sublet-trace-otf2 "${SUBLET_INSTALL_LIBEXECDIR}" "${_from_libexec}")
endif()
if(TARGET sublet_application)
  install(TARGETS sublet_application LIBRARY DESTINATION "${SUBLET_INSTALL_LIBEXECDIR}")
endif()
_sublet_install_program(sublet-mpi-pingpong "${SUBLET_INSTALL_LIBEXECDIR}" "${_from_libexec}")

foreach(_kind IN LISTS SUBLET_MPIS)
  _sublet_install_program(sublet-mpi-path-${_kind} "${SUBLET_INSTALL_LIBEXECDIR}" "${_from_libexec}")
endforeach()

foreach(_functions sublet_bench_functions sublet_bench_openmp_functions)
  if(TARGET ${_functions})
    install(TARGETS ${_functions} LIBRARY DESTINATION "${SUBLET_INSTALL_LIBEXECDIR}")
  endif()
endforeach()

install(DIRECTORY slurm/templates/ DESTINATION "${CMAKE_INSTALL_DATADIR}/sublet/slurm"
  FILES_MATCHING PATTERN "*.sbatch")

if(TARGET sublet_described)
  install(DIRECTORY "${SUBLET_DESCRIBED}/man/" DESTINATION "${CMAKE_INSTALL_MANDIR}")
  foreach(_place bash-completion/completions zsh/site-functions fish/vendor_completions.d)
    install(DIRECTORY "${SUBLET_DESCRIBED}/${_place}/" DESTINATION "${CMAKE_INSTALL_DATADIR}/${_place}")
  endforeach()
  install(FILES manager/systemd/sublet.sysusers DESTINATION lib/sysusers.d RENAME sublet.conf)
  # With the path that it is installed at, which is chosen as late as that.
  foreach(_daemon resource-manager executor-manager)
    install(CODE "
      set(SUBLET_BIN \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
      set(_unit \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system/sublet-${_daemon}.service\")
      configure_file(\"${PROJECT_SOURCE_DIR}/manager/systemd/sublet-${_daemon}.service.in\"
        \"\$ENV{DESTDIR}\${_unit}\" @ONLY)
      list(APPEND CMAKE_INSTALL_MANIFEST_FILES \"\${_unit}\")")
  endforeach()
endif()
