#include <base/fd.hpp>
#include <base/function_records.hpp>
#include <client/application.hpp>
#include <sublet/single_source.hpp>
#include <wire/application_text.hpp>
#include <wire/limits.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>

namespace sublet {
namespace {

// One process is one program: what it has is recorded by static constructors, before main().

constinit std::atomic<const sublet_function_record*> g_first{nullptr};
constinit std::atomic<bool> g_initialised{false};
/// What was loaded when init() was called: what the application loads later, executors do not.
wire::ApplicationSurroundings* g_surroundings = nullptr;

/// Before main(): a process that is to be an executor, and will not be, ends here.
[[gnu::constructor]] void never_run_twice() {
  if (std::getenv(wire::kOrderVariable) == nullptr ||
      ::dlsym(RTLD_DEFAULT, "sublet_application_preloaded") != nullptr) {
    return;
  }
  std::fputs(
      "sublet: this process was to become an executor, and libsublet_application.so is not "
      "loaded into it; it ends rather than run the application a second time\n",
      stderr);
  ::_exit(EXIT_FAILURE);
}

bool mpi_is_initialised() {
  const auto ask = reinterpret_cast<int (*)(int*)>(::dlsym(RTLD_DEFAULT, "MPI_Initialized"));
  int is = 0;
  return ask != nullptr && ask(&is) == 0 && is != 0;
}

wire::ApplicationSurroundings surroundings() {
  wire::ApplicationSurroundings found;
  found.objects = base::loaded_shared_objects();
  for (const base::SharedObject& object : found.objects) {
    std::error_code error;
    const auto path = std::filesystem::absolute(object.path, error).parent_path().string();
    // The linker looks there anyway.
    const bool usual = path.starts_with("/lib") || path.starts_with("/usr/lib");
    if (error || usual) continue;
    if (std::find(found.directories.begin(), found.directories.end(), path) ==
        found.directories.end()) {
      found.directories.push_back(path);
    }
  }
  return found;
}

}  // namespace

detail::Registration::Registration(sublet_function_record& record) noexcept {
  record.next = g_first.load(std::memory_order_relaxed);
  while (!g_first.compare_exchange_weak(record.next, &record, std::memory_order_release,
                                        std::memory_order_relaxed)) {
  }
}

void init(int, char**) {
  if (mpi_is_initialised()) {
    throw Error(ErrorKind::kNoInit,
                "sublet::init was called after MPI_Init: make it the first line of main()");
  }
  if (auto checked = base::check_records(sublet_application_records()); !checked) {
    throw Error(checked.error());
  }
  if (g_surroundings == nullptr) g_surroundings = new wire::ApplicationSurroundings(surroundings());
  g_initialised.store(true, std::memory_order_release);
}

}  // namespace sublet

const sublet_function_record* sublet_application_records() {
  return sublet::g_first.load(std::memory_order_acquire);
}

namespace sublet::client {
namespace {

/// Executors run the program with what it is linked to, not with what it loads later.
bool is_linked_to_us() {
  void* const program = ::dlopen(nullptr, RTLD_LAZY);
  if (program == nullptr) return true;  // the executor says so
  const bool found = ::dlsym(program, "sublet_application_records") != nullptr;
  ::dlclose(program);
  return found;
}

Result<Application> read_program() {
  const auto failed = [](const std::string& attempted) {
    const int number = errno;
    return fail(ErrorKind::kInternal, attempted + " this program: " + std::strerror(number),
                number);
  };
  // The file that runs, whatever has its name by now.
  const base::Fd fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return failed("opening");
  Application application;
  std::error_code error;
  application.name = std::filesystem::read_symlink("/proc/self/exe", error).filename().string();
  if (!is_linked_to_us()) {
    return fail(ErrorKind::kNoApplication,
                "the program '" + application.name +
                    "' is no application of Sublet: it is not linked to libsublet, which it has "
                    "loaded itself; link it, or do not call sublet::init and use function "
                    "libraries");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size > wire::kMaxLibraryBytes) {
    return fail(ErrorKind::kTooLarge,
                "the application '" + application.name + "' has " + std::to_string(size >> 20) +
                    " MiB; executors run programs of " +
                    std::to_string(wire::kMaxLibraryBytes >> 20) +
                    " MiB at most: strip it (strip -g), or put functions into a library");
  }
  void* content = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (content == MAP_FAILED) return failed("mapping");
  application.content = {static_cast<const std::byte*>(content), size};
  crypto_hash_sha256(application.sha256.data(), static_cast<const unsigned char*>(content), size);
  application.surroundings = g_surroundings->to_text();
  if (application.surroundings.size() > wire::kMaxSurroundings) {
    return fail(ErrorKind::kUnsupported, "the application '" + application.name +
                                             "' has loaded too many shared objects to tell of");
  }
  return application;
}

}  // namespace

Result<const Application*> this_application() {
  if (!g_initialised.load(std::memory_order_acquire)) {
    if (sublet_application_records() == nullptr) return nullptr;
    return fail(ErrorKind::kNoInit,
                "this program calls functions of its own on workers and has not called "
                "sublet::init: make sublet::init(argc, argv) the first line of main()");
  }
  static std::mutex mutex;
  static const Result<Application>* application = nullptr;
  const std::lock_guard lock(mutex);
  if (application == nullptr) application = new Result<Application>(read_program());
  if (!*application) return tl::unexpected<Error>(application->error());
  return &**application;
}

}  // namespace sublet::client
