#include <wire/munge.hpp>
#include <wire/trust.hpp>

#include <pwd.h>
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <utility>

namespace sublet::wire {
namespace {

constexpr SecretFileKind kKeyFile{
    .what = "key file",
    .word = "sublet-key-1 ",
    .about =
        "# Whoever can read this file may lease cores, and run functions on them, as its "
        "owner.\n",
    .advice = "`sublet key new` makes one"};

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::uint32_t to_uid(const std::string& user) {
  if (!user.empty() && user.size() < 10 &&
      user.find_first_not_of("0123456789") == std::string::npos) {
    return static_cast<std::uint32_t>(std::stoul(user));
  }
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  return found == nullptr ? kNobodyKnown : found->pw_uid;
}

}  // namespace

const char* to_string(ProofKind kind) noexcept {
  switch (kind) {
    case ProofKind::kKey:
      return "a key file";
    case ProofKind::kMunge:
      return "MUNGE";
    case ProofKind::kNone:
      break;
  }
  return "nothing";
}

std::vector<std::string> default_key_files() {
  std::vector<std::string> files;
  if (const std::string base = variable("XDG_CONFIG_HOME"); !base.empty()) {
    files.push_back(base + "/sublet/key");
  } else if (const std::string home = variable("HOME"); !home.empty()) {
    files.push_back(home + "/.config/sublet/key");
  }
  files.emplace_back("/etc/sublet/key");
  return files;
}

std::vector<std::string> key_files(const std::string& text) {
  std::vector<std::string> files;
  std::istringstream named(text);
  for (std::string file; std::getline(named, file, ',');) {
    if (!file.empty()) files.push_back(file);
  }
  return files;
}

// ---- keys ----

std::string Key::id_text() const {
  std::array<char, 2 * std::tuple_size_v<Id> + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), id_.data(), id_.size());
  return hex.data();
}

Result<Key> Key::read(const std::string& path) {
  auto secret = SecretFile::read(path, kKeyFile);
  if (!secret) return tl::unexpected<Error>(std::move(secret.error()));
  Key key(std::move(*secret));
  key.path_ = path;
  crypto_generichash(key.id_.data(), key.id_.size(),
                     reinterpret_cast<const unsigned char*>("sublet key id"), 13,
                     key.bytes().data(), key.bytes().size());
  return key;
}

Result<void> Key::make(const std::string& path) {
  auto made = SecretFile::make(path, kKeyFile);
  if (made || made.error().system_errno() != EEXIST) return made;
  return fail(ErrorKind::kInvalid, path +
                                       " is there already; whoever uses that key would be locked "
                                       "out: remove it first, or name another file");
}

// ---- trust ----

std::shared_ptr<const Trust> Trust::load(const TrustOptions& options) {
  auto trust = std::make_shared<Trust>();
  trust->self_ = ::geteuid();
  trust->insecure_ = options.insecure || variable("SUBLET_INSECURE") == "1";
  if (sodium_init() < 0) trust->problem_ = Error(ErrorKind::kInternal, "libsodium does not start");
  std::vector<std::string> files = options.key_files;
  if (files.empty() && options.keys) files = key_files(variable("SUBLET_KEY_FILE"));
  if (files.empty() && options.keys) {
    for (const std::string& file : default_key_files()) {
      // The system's may be root's alone.
      if (::access(file.c_str(), R_OK) != 0) continue;
      files.push_back(file);
      break;
    }
  }
  for (const std::string& file : files) {
    auto key = Key::read(file);
    if (key) {
      trust->keys_.push_back(std::move(*key));
    } else {
      trust->problem_ = std::move(key.error());
    }
  }
  const std::string user =
      options.manager_user.empty() ? variable("SUBLET_MANAGER_USER") : options.manager_user;
  if (!user.empty()) {
    trust->manager_uid_ = to_uid(user);
    if (trust->manager_uid_ == kNobodyKnown) {
      trust->problem_ = Error(ErrorKind::kInvalid, "the managers' user '" + user +
                                                       "' (manager-user, SUBLET_MANAGER_USER) is "
                                                       "not known on this node");
    }
  }
  return trust;
}

Result<void> Trust::problem() const {
  if (problem_) return tl::unexpected<Error>(*problem_);
  return {};
}

Result<void> Trust::can_prove() const {
  if (problem_) return tl::unexpected<Error>(*problem_);
  if (!keys_.empty() || insecure_) return {};
  const auto munge = munge_available();
  if (munge) return {};
  return fail(ErrorKind::kDenied,
              "nothing here proves who asks: there is no key file (" + default_key_files().front() +
                  "), and " + munge.error().what() +
                  ". Make a key with `sublet key new` and copy it to all nodes, or start munged; "
                  "where whoever reaches the network may do everything, set SUBLET_INSECURE=1 on "
                  "both ends");
}

const Key* Trust::find(const Key::Id& id) const noexcept {
  const auto found =
      std::find_if(keys_.begin(), keys_.end(), [&](const Key& key) { return key.id() == id; });
  return found == keys_.end() ? nullptr : &*found;
}

bool Trust::munge() const {
  return munge_available().has_value();
}

bool Trust::believes_manager_of(std::uint32_t uid) const noexcept {
  return uid == 0 || uid == self_ || (manager_uid_ && uid == *manager_uid_);
}

std::string Trust::to_string() const {
  std::string text;
  const auto add = [&text](const std::string& proof) {
    text += (text.empty() ? "" : " or ") + proof;
  };
  for (const Key& key : keys_) add("key " + key.id_text() + " (" + key.path() + ")");
  if (munge()) add("MUNGE");
  if (insecure_) add("nothing (insecure)");
  return text.empty() ? "no proof at all" : text;
}

}  // namespace sublet::wire
