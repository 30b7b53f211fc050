# The MPI layer's sources, here and where they are installed.
set(SUBLET_MPI_SOURCES
  agreement.cpp allocator.cpp attachment.cpp creation.cpp datatype.cpp grant_parcel.cpp
  implementation.cpp job_cores.cpp persistent_call.cpp trace_file.cpp
  c/allocator.cpp c/call.cpp c/error_classes.cpp c/hints.cpp)
