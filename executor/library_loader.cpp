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
#include <cstring>
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
                  "mapping " + quoted(library) + ": " + std::strerror(errno), errno);
    }
    Content content;
    content.bytes_ = {static_cast<const std::byte*>(address), size};
    return content;
  }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
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

Result<FunctionForm> form_of(void* handle, const std::string& library,
                             const std::string& function) {
  const ElfW(Sym)* symbol = nullptr;
  const void* address = own_symbol(handle, "sublet_function_info_" + function, symbol);
  if (address == nullptr) return FunctionForm::kRfaas;
  if (symbol == nullptr || symbol->st_size < sizeof(sublet_function_info)) {
    return invalid(quoted(library) + " describes its function '" + function +
                   "' with a symbol that is too small");
  }
  sublet_function_info info;
  std::memcpy(&info, address, sizeof(info));
  if (info.abi_version != SUBLET_FUNCTION_ABI_VERSION) {
    return invalid("function '" + function + "' of " + quoted(library) + " is built for version " +
                   std::to_string(info.abi_version) + " of the function interface, this node has " +
                   std::to_string(SUBLET_FUNCTION_ABI_VERSION) + ": build it again");
  }
  return FunctionForm::kTyped;
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
  }
  const std::string path = "/proc/self/fd/" + std::to_string(memory.get());
  void* handle = nullptr;
  {
    // An exception of a constructor does not get past the loader: it ends in abort().
    const LoadingGuard guard(library.c_str());
    handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  // The library may have registered exit handlers of its own; ours come first again.
  register_exit_handlers();
  if (handle == nullptr) {
    const char* why = ::dlerror();
    return invalid(quoted(library) + " does not load: " +
                   replace_all(why != nullptr ? why : "unknown error", path, library));
  }
  libraries_.push_back({hash, std::move(memory), handle});
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
  const auto form = form_of((*loaded)->handle, library, function);
  if (!form) return tl::unexpected<Error>(form.error());
  return LoadedFunction{code, *form};
}

}  // namespace sublet::executor
