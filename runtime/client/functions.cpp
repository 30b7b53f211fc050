#include <base/fd.hpp>
#include <base/function_records.hpp>
#include <client/functions.hpp>
#include <wire/limits.hpp>

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sublet::client {
namespace {

/// A function library's content, read at once.
Result<std::vector<std::byte>> read_library(const std::string& path) {
  const auto failed = [&](const char* what) {
    return fail(ErrorKind::kInvalid,
                std::string(what) + " function library '" + path + "': " + std::strerror(errno),
                errno);
  };
  // Not blocking: a FIFO is refused below, not waited for.
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return failed("opening");
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return failed("looking at");
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorKind::kInvalid, "function library '" + path + "' is not a regular file");
  }
  if (static_cast<std::size_t>(info.st_size) > wire::kMaxLibraryBytes) {
    return fail(ErrorKind::kTooLarge, "function library '" + path + "' has " +
                                          std::to_string(info.st_size) + " bytes; at most " +
                                          std::to_string(wire::kMaxLibraryBytes) + " are allowed");
  }
  std::vector<std::byte> content(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("reading");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

std::array<std::uint8_t, 32> sha256_of(std::span<const std::byte> content) {
  std::array<std::uint8_t, 32> hash{};
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  return hash;
}

Result<void> check(const std::string& name, const FunctionOptions& options) {
  if (name.empty() || name.size() > wire::kMaxFunctionName) {
    return fail(ErrorKind::kInvalid, "a function's name has 1 to 255 bytes; '" + name + "' has " +
                                         std::to_string(name.size()));
  }
  if (options.timeout.count() < 0) {
    return fail(ErrorKind::kInvalid, "the timeout of function '" + name + "' is negative");
  }
  return {};
}

bool same(const FunctionRequest& a, const FunctionRequest& b) {
  return a.sha256 == b.sha256 && a.name == b.name && a.timeout == b.timeout;
}

}  // namespace

Result<Functions::Prepared> Functions::prepare(const std::string& path, const std::string& name,
                                               const FunctionOptions& options) const {
  if (auto checked = check(name, options); !checked) {
    return tl::unexpected<Error>(checked.error());
  }
  auto content = read_library(path);
  if (!content) return tl::unexpected<Error>(content.error());
  Prepared prepared;
  FunctionRequest& request = prepared.function.request;
  request.name = name;
  prepared.function.shown_name = name;
  request.library = path.substr(path.rfind('/') + 1);
  request.sha256 = sha256_of(*content);
  request.timeout = options.timeout;
  auto placed = place(std::move(prepared));
  if (placed && placed->is_new && !placed->function.content) {
    placed->function.content = std::make_shared<const std::vector<std::byte>>(std::move(*content));
  }
  return placed;
}

Result<Functions::Prepared> Functions::prepare_own(const Application& application,
                                                   const std::string& record_name,
                                                   const FunctionOptions& options) const {
  if (auto checked = check(record_name, options); !checked) {
    return tl::unexpected<Error>(checked.error());
  }
  Prepared prepared;
  prepared.function.request.name = record_name;
  prepared.function.shown_name = base::name_for_people(record_name);
  prepared.function.request.library = application.name;
  prepared.function.request.sha256 = application.sha256;
  prepared.function.request.timeout = options.timeout;
  return place(std::move(prepared));
}

Result<Functions::Prepared> Functions::place(Prepared prepared) const {
  FunctionRequest& request = prepared.function.request;
  for (const OpenFunction& other : functions_) {
    if (same(other.request, request)) return Prepared{other, false};
    if (other.request.sha256 == request.sha256) prepared.function.content = other.content;
  }
  if (functions_.size() >= wire::kMaxFunctions) {
    return fail(ErrorKind::kOverloaded, "the lease has " + std::to_string(functions_.size()) +
                                            " functions open, the most there can be");
  }
  request.index = static_cast<std::uint16_t>(functions_.size());
  return prepared;
}

void Functions::add(OpenFunction function) {
  const std::lock_guard lock(mutex_);
  functions_.push_back(std::move(function));
}

std::size_t Functions::size() const {
  const std::lock_guard lock(mutex_);
  return functions_.size();
}

Result<std::size_t> Functions::open_all(NodeLink& node, std::size_t first) const {
  for (std::size_t i = first;; ++i) {
    OpenFunction function;
    {
      const std::lock_guard lock(mutex_);
      if (i >= functions_.size()) return functions_.size();
      function = functions_[i];
    }
    if (auto opened = open_on(node, function); !opened) {
      return tl::unexpected<Error>(opened.error());
    }
  }
}

Result<void> Functions::open_on(NodeLink& node, const OpenFunction& function) {
  const FunctionRequest& request = function.request;
  auto opened = node.open(request);
  if (opened && !*opened && !function.content) {
    return fail(ErrorKind::kInvalid, "node " + node.grant().node_name +
                                         " runs another program: the lease is older than the call "
                                         "of sublet::init");
  }
  if (opened && !*opened) {
    if (auto installed = node.install(*function.content, request.sha256); !installed) {
      return installed;
    }
    opened = node.open(request);
    if (opened && !*opened) {
      return fail(ErrorKind::kInternal, "node " + node.grant().node_name + " forgot library '" +
                                            request.library + "' at once; is its cache too small?");
    }
  }
  if (!opened) return tl::unexpected<Error>(opened.error());
  return {};
}

}  // namespace sublet::client
