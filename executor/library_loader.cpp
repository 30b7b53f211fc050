#include <base/shared_memory.hpp>
#include <base/system_text.hpp>
#include <executor/backtrace.hpp>
#include <executor/fatal.hpp>
#include <executor/library/elf_functions.hpp>
#include <executor/library_loader.hpp>
#include <sublet/function_abi.h>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <utility>

namespace sublet::executor {
namespace {

tl::unexpected<Error> invalid(const std::string& text) {
  return fail(ErrorKind::kInvalid, text);
}

std::string quoted(const std::string& library) {
  return "library '" + library + "'";
}

/// A library's content, mapped for reading.
class Content {
 public:
  Content() = default;
  Content(Content&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Content& operator=(Content&&) = delete;
  Content(const Content&) = delete;
  Content& operator=(const Content&) = delete;
  ~Content() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  /// kInvalid unless nobody can change the content any more: it is checked first and run later, and
  /// a file that shrinks under a mapping kills its reader.
  static Result<Content> map(int memory, const std::string& library) {
    constexpr int kNeeded = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    const int seals = ::fcntl(memory, F_GET_SEALS);
    if (seals < 0 || (seals & kNeeded) != kNeeded) {
      return invalid(quoted(library) + " did not come as sealed memory");
    }
    struct stat info {};
    if (::fstat(memory, &info) != 0 || info.st_size <= 0 ||
        static_cast<std::size_t>(info.st_size) > wire::kMaxLibraryBytes) {
      return invalid(quoted(library) + " is empty or larger than " +
                     std::to_string(wire::kMaxLibraryBytes >> 20) + " MiB");
    }
    const auto size = static_cast<std::size_t>(info.st_size);
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, memory, 0);
    if (address == MAP_FAILED) {
      return fail(ErrorKind::kOverloaded,
                  "mapping " + quoted(library) + ": " + base::system_text(errno), errno);
    }
    Content content;
    content.bytes_ = {static_cast<const std::byte*>(address), size};
    return content;
  }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// What decides how numbers are computed; not the flags of what happened so far.
std::uint64_t control_bits([[maybe_unused]] const std::fenv_t& floats) noexcept {
#if defined(__x86_64__)
  constexpr std::uint32_t kFlags = 0x3f;
  return std::uint64_t{floats.__control_word} << 32 | (floats.__mxcsr & ~kFlags);
#elif defined(__aarch64__)
  return floats.__fpcr;
#else
  return 0;  // what a library changes is not noticed
#endif
}

/// Keeps the loading thread's floating-point environment as it was, for the next library.
class FloatWatch {
 public:
  FloatWatch() noexcept { std::fegetenv(&before_); }
  ~FloatWatch() { std::fesetenv(&before_); }
  FloatWatch(const FloatWatch&) = delete;
  FloatWatch& operator=(const FloatWatch&) = delete;

  [[nodiscard]] std::unique_ptr<const std::fenv_t> changed() const {
    std::feclearexcept(FE_ALL_EXCEPT);
    std::fenv_t now;
    std::fegetenv(&now);
    if (control_bits(now) == control_bits(before_)) return nullptr;
    return std::make_unique<const std::fenv_t>(now);
  }

 private:
  std::fenv_t before_{};
};

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string missing_text(const std::string& library, const std::string& function, int memory) {
  constexpr std::size_t kMostListed = 8;
  std::string text = quoted(library) + " has no function '" + function + "'";
  const auto content = Content::map(memory, library);
  const auto functions =
      content ? elf_functions(content->bytes())
              : Result<std::vector<ExportedFunction>>(tl::unexpected<Error>(content.error()));
  if (!functions) return text;
  if (functions->empty()) return text + "; it exports none (are they extern \"C\" and visible?)";
  text += "; it exports: ";
  for (std::size_t i = 0; i < functions->size() && i < kMostListed; ++i) {
    text += (i == 0 ? "" : ", ") + functions->at(i).name;
  }
  if (functions->size() > kMostListed) {
    text += " and " + std::to_string(functions->size() - kMostListed) + " more";
  }
  return text;
}

/// A symbol of the library itself, not of one that it depends on: dlsym would find libc's exit() in
/// every library.
void* own_symbol(void* handle, const std::string& name, const ElfW(Sym) * &symbol) {
  void* address = ::dlsym(handle, name.c_str());
  if (address == nullptr) return nullptr;
  const link_map* wanted = nullptr;
  link_map* found = nullptr;
  Dl_info info;
  void* extra = nullptr;
  if (::dlinfo(handle, RTLD_DI_LINKMAP, &wanted) != 0 ||
      ::dladdr1(address, &info, reinterpret_cast<void**>(&found), RTLD_DL_LINKMAP) == 0 ||
      found != wanted || ::dladdr1(address, &info, &extra, RTLD_DL_SYMENT) == 0) {
    return nullptr;
  }
  symbol = static_cast<const ElfW(Sym)*>(extra);
  return address;
}

/// Nothing for a function that has none, in the rFaaS form.
Result<std::optional<sublet_function_info>> description_of(void* handle, int memory,
                                                           const std::string& library,
                                                           const std::string& function) {
  const ElfW(Sym)* symbol = nullptr;
  const void* address = own_symbol(handle, "sublet_function_info_" + function, symbol);
  if (address == nullptr) {
    const auto content = Content::map(memory, library);
    if (!content) return tl::unexpected<Error>(content.error());
    return hidden_description(content->bytes(), function);
  }
  if (symbol == nullptr || symbol->st_size < sizeof(sublet_function_info)) {
    return invalid(quoted(library) + " describes its function '" + function +
                   "' with a symbol that is too small");
  }
  sublet_function_info info;
  std::memcpy(&info, address, sizeof(info));
  return info;
}

Result<FunctionForm> form_of(void* handle, int memory, const std::string& library,
                             const std::string& function) {
  const auto described = description_of(handle, memory, library, function);
  if (!described) return tl::unexpected<Error>(described.error());
  if (!*described) return FunctionForm::kRfaas;
  const sublet_function_info& info = **described;
  if (info.abi_version != SUBLET_FUNCTION_ABI_VERSION) {
    return invalid("function '" + function + "' of " + quoted(library) + " is built for version " +
                   std::to_string(info.abi_version) + " of the function interface, this node has " +
                   std::to_string(SUBLET_FUNCTION_ABI_VERSION) + ": build it again");
  }
  return FunctionForm::kTyped;
}

/// A sanitizer's run-time library must be in a process from its start: loaded later it ends the
/// process, and says why only on its stderr.
Result<void> check_needs(std::span<const std::byte> content, const std::string& library) {
  const auto needs = library_needs(content);
  if (!needs) return {};  // the loader says more
  for (const std::string& needed : needs->libraries) {
    const char* flag = sanitizer_flag(needed);
    if (flag == nullptr) continue;
    // Here already in executors that are built so, or where it is preloaded.
    if (void* handle = ::dlopen(needed.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
      ::dlclose(handle);
      continue;
    }
    return invalid(quoted(library) + " is built with " + flag + ": it needs " + needed +
                   ", which must be in a process from its start, and is not in executors; build "
                   "the library without it, and look for the error in a program of its own");
  }
  return {};
}

/// What to do about an error of the dynamic linker; empty when its text says all.
std::string remedy_for(const std::string& error) {
  const auto says = [&](const char* part) { return error.find(part) != std::string::npos; };
  if (says("cannot open shared object file")) {
    const char* path = std::getenv("LD_LIBRARY_PATH");
    return std::string(
               "; only the library's own content travels to a node, not what lies beside it: link "
               "this dependency into it, or install it on the nodes (looked in the system's "
               "directories and LD_LIBRARY_PATH, which is ") +
           (path == nullptr || *path == '\0' ? "not set" : std::string("'") + path + "'") + ")";
  }
  if (says("static TLS")) {
    return "; it, or a library that it needs, is built for programs (-ftls-model=initial-exec): "
           "build it without, or start the executor manager with "
           "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384";
  }
  if (says("undefined symbol: __asan") || says("undefined symbol: __tsan") ||
      says("undefined symbol: __msan") || says("undefined symbol: __ubsan")) {
    return "; it is built with a sanitizer (-fsanitize), which executors lack: build it without";
  }
  if (says("undefined symbol")) {
    return "; link the library with what defines it: an application's own functions are not there "
           "in an executor";
  }
  if (says("version `")) {
    return "; it is built for a newer system than this node's: build it on a system like this one, "
           "or link with -static-libstdc++ -static-libgcc";
  }
  if (says("failed to map") || says("executable stack")) {
    return "; this system does not let memory files be run (noexec, SELinux), or the library asks "
           "for an executable stack (link it with -z noexecstack)";
  }
  return {};
}

/// A copy of the library whose static data of templates and inline functions is its own, and not
/// the whole process's (as -fno-gnu-unique builds it); none when it has no such data.
Result<base::Fd> with_own_data(std::span<const std::byte> content, const std::string& library) {
  const auto offsets = unique_symbols(content);
  if (offsets.empty()) return base::Fd();
  std::vector<std::byte> copy;
  try {
    copy.assign(content.begin(), content.end());
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::kOverloaded, "there is no memory left to copy " + quoted(library));
  }
  for (const std::size_t offset : offsets) {
    auto* info = copy.data() + offset + offsetof(Elf64_Sym, st_info);
    *info = static_cast<std::byte>(
        ELF64_ST_INFO(STB_WEAK, ELF64_ST_TYPE(std::to_integer<unsigned>(*info))));
  }
  return base::SharedMemory::sealed_copy(library, copy);
}

}  // namespace

Result<const LibraryLoader::Library*> LibraryLoader::load(base::Fd memory, const LibraryHash& hash,
                                                          const std::string& library) {
  const auto known = std::find_if(libraries_.begin(), libraries_.end(),
                                  [&](const Library& l) { return l.hash == hash; });
  if (known != libraries_.end()) return &*known;
  {
    const auto content = Content::map(memory.get(), library);
    if (!content) return tl::unexpected<Error>(content.error());
    if (const auto checked = check_library(content->bytes()); !checked) {
      return invalid(quoted(library) + " cannot be loaded: " + checked.error().what());
    }
    if (const auto usable = check_needs(content->bytes(), library); !usable) {
      return tl::unexpected<Error>(usable.error());
    }
    // The loader would give it the first such library's data, which may be another build of it.
    if (!libraries_.empty()) {
      auto own = with_own_data(content->bytes(), library);
      if (!own) return tl::unexpected<Error>(own.error());
      if (own->valid()) memory = std::move(*own);
    }
  }
  const std::string path = "/proc/self/fd/" + std::to_string(memory.get());
  void* handle = nullptr;
  std::unique_ptr<const std::fenv_t> floats;
  {
    const FloatWatch watch;
    // An exception of a constructor does not get past the loader: it ends in abort().
    const LoadingGuard guard(library.c_str());
    handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    floats = watch.changed();
  }
  note_loaded_libraries(library);
  // The library may have registered exit handlers of its own; ours come first again.
  register_exit_handlers();
  if (handle == nullptr) {
    const char* why = ::dlerror();
    const std::string text = replace_all(why != nullptr ? why : "unknown error", path, library);
    return invalid(quoted(library) + " does not load: " + text + remedy_for(text));
  }
  libraries_.push_back({hash, std::move(memory), handle, std::move(floats)});
  return &libraries_.back();
}

Result<LoadedFunction> LibraryLoader::find(base::Fd memory, const LibraryHash& hash,
                                           const std::string& library,
                                           const std::string& function) {
  const auto loaded = load(std::move(memory), hash, library);
  if (!loaded) return tl::unexpected<Error>(loaded.error());
  const ElfW(Sym)* symbol = nullptr;
  void* code = own_symbol((*loaded)->handle, function, symbol);
  if (code == nullptr) return invalid(missing_text(library, function, (*loaded)->memory.get()));
  if (symbol != nullptr && ELF64_ST_TYPE(symbol->st_info) == STT_OBJECT) {
    return invalid("'" + function + "' in " + quoted(library) + " is a variable, not a function");
  }
  const auto form = form_of((*loaded)->handle, (*loaded)->memory.get(), library, function);
  if (!form) return tl::unexpected<Error>(form.error());
  return LoadedFunction{code, *form, (*loaded)->floats.get()};
}

}  // namespace sublet::executor
