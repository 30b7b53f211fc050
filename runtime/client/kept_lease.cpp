#include <base/fd.hpp>
#include <base/system_text.hpp>
#include <client/kept_lease.hpp>
#include <client/node_link.hpp>
#include <wire/control.capnp.h>
#include <wire/convert.hpp>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <span>
#include <utility>

namespace sublet::client {
namespace {

constexpr off_t kMostFileBytes = off_t{64} << 20;

Error file_error(const char* doing, const std::string& path, int error) {
  return Error(
      ErrorKind::kInvalid,
      std::string(doing) + " the file of a kept lease, " + path + ": " + base::system_text(error),
      error);
}

Result<void> check_file(const std::string& path, const struct stat& info) {
  if (!S_ISREG(info.st_mode) || info.st_size == 0 || info.st_size > kMostFileBytes) {
    return fail(ErrorKind::kInvalid, path + " is no file of a lease that `sublet lease` keeps");
  }
  if (info.st_uid == ::geteuid() && (info.st_mode & 0077) == 0) return {};
  return fail(ErrorKind::kDenied,
              "the file of a kept lease, " + path + ", must be this user's (uid " +
                  std::to_string(::geteuid()) + "; it is uid " + std::to_string(info.st_uid) +
                  "'s), and nobody else's to read or write: keep a lease of your own with "
                  "`sublet lease`");
}

}  // namespace

Result<void> KeptLeaseFile::write(const std::string& path) const {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::KeptLease>();
  root.setLeaseId(lease_id);
  root.setManager(manager);
  root.setHolderSeed(wire::to_data(std::as_bytes(std::span(holder_seed))));
  auto list = root.initGrants(static_cast<unsigned>(grants.size()));
  for (unsigned i = 0; i < list.size(); ++i) wire::write(list[i], grants[i]);
  const base::Fd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return tl::unexpected<Error>(file_error("making", path, errno));
  try {
    capnp::writeMessageToFd(fd.get(), message);
  } catch (const kj::Exception& exception) {
    ::unlink(path.c_str());
    return fail(ErrorKind::kInvalid, "writing the file of a kept lease, " + path + ": " +
                                         exception.getDescription().cStr());
  }
  return {};
}

Result<KeptLeaseFile> KeptLeaseFile::read(const std::string& path) {
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    Error error = file_error("opening", path, errno);
    return fail(error.kind(),
                std::string(error.what()) +
                    "; SUBLET_LEASE (or the option lease) names it: the lease may have ended, "
                    "`sublet lease` keeps another; processes on other nodes need the file too "
                    "(--file)",
                error.system_errno());
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return tl::unexpected<Error>(file_error("looking at", path, errno));
  }
  if (auto ok = check_file(path, info); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  KeptLeaseFile file;
  try {
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = static_cast<std::uint64_t>(kMostFileBytes) / sizeof(capnp::word);
    capnp::StreamFdMessageReader message(fd.get(), limits);
    const auto root = message.getRoot<wire::KeptLease>();
    file.lease_id = root.getLeaseId();
    file.manager = wire::to_string(root.getManager());
    const auto seed = root.getHolderSeed();
    if (seed.size() != file.holder_seed.size()) {
      return fail(ErrorKind::kInvalid, path + " has no key that its lease could be claimed with");
    }
    std::copy(seed.begin(), seed.end(), file.holder_seed.begin());
    for (const auto grant : root.getGrants()) {
      auto checked = wire::read(grant);
      if (!checked) return tl::unexpected<Error>(std::move(checked.error()));
      file.grants.push_back(std::move(*checked));
    }
  } catch (const kj::Exception& exception) {
    return fail(ErrorKind::kInvalid, path + " is no file of a lease that `sublet lease` keeps: " +
                                         exception.getDescription().cStr());
  }
  if (!file.grants.empty()) return file;
  return fail(ErrorKind::kInvalid, path + " names a lease without grants");
}

std::vector<std::vector<Grant>> KeptLeaseFile::parts() const {
  std::map<std::uint32_t, std::vector<Grant>> by_part;
  for (const Grant& grant : grants) by_part[grant.part].push_back(grant);
  std::vector<std::vector<Grant>> parts;
  for (auto& [part, grants_of_it] : by_part) parts.push_back(std::move(grants_of_it));
  return parts;
}

KeptLease::KeptLease() = default;
KeptLease::~KeptLease() = default;
KeptLease::KeptLease(KeptLease&&) noexcept = default;
KeptLease& KeptLease::operator=(KeptLease&&) noexcept = default;

}  // namespace sublet::client
