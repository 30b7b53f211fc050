#include <transport/fabric/fabric_library.hpp>

#include <dlfcn.h>

#include <array>
#include <csignal>
#include <string>

namespace sublet::transport::fabric {
namespace {

/// The name that this code was compiled for; then the place where it was found, should the linker
/// not know that.
constexpr std::array<const char*, 2> kNames{"libfabric.so.1",
                                            SUBLET_LIBFABRIC_DIRECTORY "/libfabric.so.1"};

/// What this process does on each signal, to be put back.
class SignalActions {
 public:
  SignalActions() noexcept {
    for (int number = 1; number < NSIG; ++number) {
      ::sigaction(number, nullptr, &actions_[static_cast<std::size_t>(number)]);
    }
  }

  void restore() const noexcept {
    for (int number = 1; number < NSIG; ++number) {
      const auto& before = actions_[static_cast<std::size_t>(number)];
      struct sigaction now {};
      if (::sigaction(number, nullptr, &now) != 0) continue;  // the C library's own
      // Only what was changed: another thread may be about to change others.
      if (now.sa_sigaction != before.sa_sigaction) ::sigaction(number, &before, nullptr);
    }
  }

 private:
  std::array<struct sigaction, NSIG> actions_{};
};

void* open_library(std::string& why) {
  const SignalActions before;
  void* library = nullptr;
  for (const char* name : kNames) {
    library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    if (why.empty()) why = ::dlerror();
  }
  before.restore();
  return library;
}

template <class Function>
bool look_up(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

Result<FabricLibrary> load_once() {
  std::string why;
  void* library = open_library(why);
  if (library == nullptr) {
    return fail(ErrorKind::kUnsupported, "loading libfabric, for the fabric transport: " + why +
                                             ". Install it (Debian: libfabric1), or choose "
                                             "another transport by SUBLET_TRANSPORT");
  }
  FabricLibrary functions;
  if (!look_up(library, "fi_getinfo", functions.getinfo) ||
      !look_up(library, "fi_freeinfo", functions.freeinfo) ||
      !look_up(library, "fi_dupinfo", functions.dupinfo) ||
      !look_up(library, "fi_fabric", functions.fabric) ||
      !look_up(library, "fi_strerror", functions.strerror)) {
    return fail(ErrorKind::kUnsupported,
                std::string("libfabric lacks a function that it should have: ") + ::dlerror());
  }
  return functions;
}

}  // namespace

Result<const FabricLibrary*> FabricLibrary::load() {
  // Never destroyed: channels may be used until the process has gone.
  static const auto& library = *new Result<FabricLibrary>(load_once());
  if (!library) return tl::unexpected<Error>(library.error());
  return &*library;
}

const FabricLibrary& FabricLibrary::loaded() {
  return **load();
}

}  // namespace sublet::transport::fabric
