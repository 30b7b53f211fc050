#include <executor/backtrace.hpp>

#include <link.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <limits>

namespace sublet::executor {
namespace {

/// For the unwinding and the writing: its stack may be damaged, its reader may not read.
constexpr unsigned kMostSeconds = 2;

constexpr std::size_t kMostLibraries = 256;

/// What is loaded, as long as it stays: a library that a function closes again may still be here.
struct Library {
  std::uintptr_t base;  ///< What addresses in the file are relative to.
  std::uintptr_t begin;
  std::uintptr_t end;
  const ElfW(Dyn) * dynamic;
  std::array<char, 64> name;
};
std::array<Library, kMostLibraries> g_libraries;
/// Release by the loading thread, acquire by handlers: what is below it does not change any more.
std::atomic<std::size_t> g_count{0};

void set_name(Library& library, const char* path, std::string_view otherwise) noexcept {
  std::string_view name = path == nullptr ? "" : path;
  const bool memory_file = name.starts_with("/proc/self/fd/");
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  if (name.empty() || memory_file) name = otherwise;
  const std::size_t size = std::min(name.size(), library.name.size() - 1);
  name.copy(library.name.data(), size);
  library.name[size] = '\0';
}

int note(dl_phdr_info* info, std::size_t, void* otherwise) noexcept {
  Library library{info->dlpi_addr, std::numeric_limits<std::uintptr_t>::max(), 0, nullptr, {}};
  for (ElfW(Half) i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    const std::uintptr_t begin = library.base + part.p_vaddr;
    if (part.p_type == PT_DYNAMIC) library.dynamic = reinterpret_cast<const ElfW(Dyn)*>(begin);
    if (part.p_type != PT_LOAD) continue;
    library.begin = std::min(library.begin, begin);
    library.end = std::max(library.end, begin + part.p_memsz);
  }
  const std::size_t count = g_count.load(std::memory_order_relaxed);
  const auto known = g_libraries.begin() + static_cast<std::ptrdiff_t>(count);
  const bool is_known = std::any_of(g_libraries.begin(), known, [&](const Library& other) {
    return other.begin == library.begin && other.end == library.end;
  });
  if (is_known || library.begin >= library.end) return 0;
  if (count == g_libraries.size()) return 1;  // the others' places have no names
  set_name(library, info->dlpi_name, *static_cast<const std::string_view*>(otherwise));
  g_libraries[count] = library;
  g_count.store(count + 1, std::memory_order_release);
  return 0;
}

const Library* find(std::uintptr_t address) noexcept {
  // The youngest first: it may lie where one was that has been closed.
  for (std::size_t i = g_count.load(std::memory_order_acquire); i-- > 0;) {
    if (address >= g_libraries[i].begin && address < g_libraries[i].end) return &g_libraries[i];
  }
  return nullptr;
}

// ---- Names of functions: reads the library's own tables, so only for what may crash ----

struct Symbols {
  const ElfW(Sym) * all = nullptr;
  const char* names = nullptr;
  std::size_t count = 0;
};

/// How many symbols a GNU hash table has: one more than the last one of its last chain.
std::size_t count_symbols(const std::uint32_t* table) noexcept {
  const std::uint32_t buckets = table[0];
  const std::uint32_t first = table[1];
  const auto* bucket =
      table + 4 + std::size_t{table[2]} * (sizeof(ElfW(Addr)) / sizeof(std::uint32_t));
  const std::uint32_t* chains = bucket + buckets;
  std::uint32_t last = *std::max_element(bucket, bucket + buckets);
  if (last < first) return first;
  while ((chains[last - first] & 1) == 0) ++last;
  return std::size_t{last} + 1;
}

Symbols symbols_of(const Library& library) noexcept {
  Symbols symbols;
  if (library.dynamic == nullptr) return symbols;
  for (const auto* entry = library.dynamic; entry->d_tag != DT_NULL; ++entry) {
    // The linker has made addresses of most, but not of those of the kernel's own library.
    const std::uintptr_t at =
        entry->d_un.d_ptr + (entry->d_un.d_ptr < library.base ? library.base : 0);
    if (entry->d_tag == DT_SYMTAB) symbols.all = reinterpret_cast<const ElfW(Sym)*>(at);
    if (entry->d_tag == DT_STRTAB) symbols.names = reinterpret_cast<const char*>(at);
    const auto* table = reinterpret_cast<const std::uint32_t*>(at);
    if (entry->d_tag == DT_HASH && symbols.count == 0) symbols.count = table[1];
    if (entry->d_tag == DT_GNU_HASH) symbols.count = count_symbols(table);
  }
  if (symbols.all == nullptr || symbols.names == nullptr) symbols.count = 0;
  return symbols;
}

/// " (name+0x10)" for a function that the library exports.
void add_function(SignalSafeText& text, std::uintptr_t address) noexcept {
  const Library* library = find(address);
  if (library == nullptr) return;
  const Symbols symbols = symbols_of(*library);
  const std::uintptr_t offset = address - library->base;
  for (std::size_t i = 0; i < symbols.count; ++i) {
    const ElfW(Sym)& symbol = symbols.all[i];
    const bool function = (symbol.st_info & 0xf) == STT_FUNC && symbol.st_shndx != SHN_UNDEF;
    if (!function || offset < symbol.st_value || offset - symbol.st_value >= symbol.st_size) {
      continue;
    }
    text.add(" (").add(symbols.names + symbol.st_name).add("+");
    text.add_address(offset - symbol.st_value).add(")");
    return;
  }
}

// ---- The stack ----

struct Walk {
  std::uintptr_t stopped_at;
  bool in_handler;  ///< The first frames are the handler's own.
  std::size_t frames = 0;
};

void write_frame(Walk& walk, std::uintptr_t address) noexcept {
  SignalSafeText text;
  text.add("  #").add_number(std::uint64_t{walk.frames++}).add(" ");
  if (!add_place(text, address)) text.add_address(address);
  add_function(text, address);
  write_error_line(text.view());
}

_Unwind_Reason_Code on_frame(_Unwind_Context* context, void* data) noexcept {
  Walk& walk = *static_cast<Walk*>(data);
  int exact = 0;
  const std::uintptr_t address = ::_Unwind_GetIPInfo(context, &exact);
  if (walk.in_handler) {
    walk.in_handler = address != walk.stopped_at;
    return _URC_NO_REASON;
  }
  if (address == 0 || walk.frames == kMostFrames) return _URC_END_OF_STACK;
  // A return address is behind the call, which may be its function's last instruction.
  write_frame(walk, exact != 0 ? address : address - 1);
  return _URC_NO_REASON;
}

/// Whatever happens from here on, the process ends.
void limit_time() noexcept {
  ::signal(SIGALRM, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  ::pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
  ::alarm(kMostSeconds);
}

}  // namespace

void note_loaded_libraries(std::string_view library) noexcept {
  ::dl_iterate_phdr(&note, &library);
}

std::uintptr_t stopped_at([[maybe_unused]] const void* context) noexcept {
#if defined(__x86_64__)
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
  return static_cast<std::uintptr_t>(machine.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return static_cast<const ucontext_t*>(context)->uc_mcontext.pc;
#else
  return 0;
#endif
}

bool add_place(SignalSafeText& text, std::uintptr_t address) noexcept {
  const Library* library = find(address);
  if (library == nullptr) return false;
  text.add(library->name.data()).add("+").add_address(address - library->base);
  return true;
}

void write_backtrace(std::string_view headline, const void* context) noexcept {
  limit_time();
  SignalSafeText first;
  write_error_line(first.add(headline).add("; backtrace:").view());
  Walk walk{stopped_at(context), true};
  if (walk.stopped_at != 0) {
    write_frame(walk, walk.stopped_at);
  } else {
    walk.in_handler = false;
  }
  ::_Unwind_Backtrace(&on_frame, &walk);
  ::alarm(0);
}

void write_error_line(std::string_view line) noexcept {
  SignalSafeText who;
  who.add("sublet-executor[").add_number(std::int64_t{::getpid()}).add("]: ");
  const auto part = [](std::string_view text) {
    return iovec{const_cast<char*>(text.data()), text.size()};
  };
  const std::array parts{part(who.view()), part(line), part("\n")};
  (void)!::writev(STDERR_FILENO, parts.data(), parts.size());
}

}  // namespace sublet::executor
