#include <base/fd.hpp>
#include <base/node_identity.hpp>
#include <base/printable_text.hpp>
#include <base/private_path.hpp>
#include <base/system_text.hpp>
#include <wire/address.hpp>
#include <wire/manager_address.hpp>
#include <wire/reachable_address.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace sublet::wire {
namespace {

constexpr std::size_t kMostLines = 64;
constexpr std::size_t kMostBytes = 16u << 10;
constexpr const char* kWriter = "# sublet resource manager on ";
constexpr const char* kInstance = "# instance ";

/// At most kMostBytes of a regular file; else what is wrong, as errno has it.
tl::expected<std::string, int> read_small_file(const std::string& path) {
  // Not blocking: a FIFO is refused, not waited for.
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return tl::unexpected<int>(errno);
  if (!S_ISREG(info.st_mode)) return tl::unexpected<int>(EINVAL);
  std::string content(kMostBytes, '\0');
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + size, content.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected<int>(errno);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  content.resize(size);
  return content;
}

std::string or_variable(const std::string& value, const char* variable) {
  if (!value.empty()) return value;
  const char* const set = std::getenv(variable);
  return set == nullptr ? "" : set;
}

}  // namespace

Result<ManagerAddressFile> ManagerAddressFile::read(const std::string& directory) {
  ManagerAddressFile found;
  found.path = directory + "/" + kManagerAddressFile;
  const auto content = read_small_file(found.path);
  if (!content) {
    const int error = content.error();
    if (error == ENOENT) {
      return fail(ErrorKind::kDisconnected,
                  "no resource manager has written its address to '" + found.path +
                      "'; start one with 'sublet resource-manager --address-dir " + directory +
                      "', or set SUBLET_MANAGER to its address",
                  error);
    }
    return fail(ErrorKind::kInvalid,
                "reading the address file '" + found.path + "': " + base::system_text(error),
                error);
  }
  std::istringstream file(*content);
  std::string line;
  for (std::size_t i = 0; i < kMostLines && std::getline(file, line); ++i) {
    if (line.starts_with(kWriter)) {
      found.written_by = base::printable(line.substr(std::strlen(kWriter)));
    } else if (line.starts_with(kInstance)) {
      found.instance = line.substr(std::strlen(kInstance));
    } else if (!line.empty() && line.front() != '#') {
      if (const auto address = Address::parse(line); !address) {
        return fail(ErrorKind::kInvalid,
                    "the address file '" + found.path + "': " + address.error().what());
      }
      found.addresses.push_back(line);
    }
  }
  if (found.addresses.empty()) {
    return fail(ErrorKind::kInvalid, "the address file '" + found.path +
                                         "' holds no address; remove it, and start the resource "
                                         "manager again");
  }
  return found;
}

std::string ManagerAddressFile::to_text() const {
  std::string text = kWriter + written_by + "\n" + kInstance + instance + "\n";
  for (const std::string& address : addresses) text += address + "\n";
  return text;
}

std::string ManagerLocation::to_string() const {
  return "the resource manager at " + address + (file.empty() ? "" : ", as " + file + " says,");
}

std::string ManagerLocation::advice() const {
  if (file.empty()) return "is it running, and is this its address?";
  return "the address file is stale: its manager has died or its node is gone; start a resource "
         "manager again with --address-dir, or remove the file";
}

Result<ManagerLocation> find_manager(const std::string& named, const std::string& directory) {
  ManagerLocation location;
  location.address = or_variable(named, "SUBLET_MANAGER");
  if (!location.address.empty()) return location;
  const std::string where = or_variable(directory, "SUBLET_MANAGER_DIR");
  if (where.empty()) return location;
  auto file = ManagerAddressFile::read(where);
  if (!file) return tl::unexpected<Error>(std::move(file.error()));
  return location_of(*file);
}

Result<std::string> local_manager_address() {
  const std::string directory = base::runtime_directory();
  // Where there is none, nothing listens either: connecting will say so.
  if (auto own = base::check_private_directory(directory);
      !own && own.error().system_errno() != ENOENT) {
    return tl::unexpected<Error>(std::move(own.error()));
  }
  return "unix:" + directory + "/manager.sock";
}

}  // namespace sublet::wire
