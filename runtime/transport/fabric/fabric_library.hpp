#pragma once

#include <sublet/result.hpp>

#include <rdma/fabric.h>

namespace sublet::transport::fabric {

/// The few functions of libfabric that are not called through one of its objects.
///
/// libfabric is loaded when it is first needed, not linked: Debian's brings libinfinipath along
/// (for its psm provider), which puts handlers of its own on SIGINT, SIGTERM, SIGSEGV, SIGABRT and
/// others as soon as it is loaded. In a program that merely links us a Ctrl-C would then write a
/// file `*.btr` into the current folder, and in an executor a crash would not be reported. Here
/// these handlers are taken back at once. It also keeps what does not use this transport from
/// loading twenty libraries.
struct FabricLibrary {
  decltype(&::fi_getinfo) getinfo = nullptr;
  decltype(&::fi_freeinfo) freeinfo = nullptr;
  decltype(&::fi_dupinfo) dupinfo = nullptr;
  decltype(&::fi_fabric) fabric = nullptr;
  decltype(&::fi_strerror) strerror = nullptr;

  /// Loads it, the first time. kUnsupported, with the linker's reason, where it cannot be loaded.
  /// Any thread. It stays loaded until the process ends.
  static Result<const FabricLibrary*> load();

  /// For code that holds an object of libfabric's: then it is loaded.
  static const FabricLibrary& loaded();
};

}  // namespace sublet::transport::fabric
