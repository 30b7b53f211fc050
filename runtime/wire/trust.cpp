#include <base/fd.hpp>
#include <base/system_text.hpp>
#include <wire/munge.hpp>
#include <wire/trust.hpp>

#include <fcntl.h>
#include <pwd.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>

namespace sublet::wire {
namespace {

constexpr const char* kKeyWord = "sublet-key-1 ";
constexpr std::size_t kLongestKeyFile = 4096;
constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Text that held a key.
class Secret {
 public:
  explicit Secret(std::size_t bytes) : text_(bytes, '\0') {}
  ~Secret() { sodium_memzero(text_.data(), text_.size()); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  std::string& text() { return text_; }

 private:
  std::string text_;
};

Result<void> check_key_file(const std::string& path, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorKind::kInvalid, "the key file " + path + " is no regular file");
  }
  if ((info.st_mode & 0077) != 0) {
    return fail(ErrorKind::kDenied, "the key file " + path +
                                        " may be read or written by others; anybody could have the "
                                        "key: make a new one with `sublet key new`, or, if nobody "
                                        "else has read it, `chmod 600 " +
                                        path + "`");
  }
  if (info.st_uid != ::geteuid() && info.st_uid != 0 && ::geteuid() != 0) {
    return fail(ErrorKind::kDenied, "the key file " + path + " belongs to uid " +
                                        std::to_string(info.st_uid) + "; this is uid " +
                                        std::to_string(::geteuid()) + ": use one of your own");
  }
  return {};
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

Key::Key(Key&& other) noexcept
    : bytes_(other.bytes_),
      id_(other.id_),
      owner_uid_(other.owner_uid_),
      owner_gid_(other.owner_gid_),
      path_(std::move(other.path_)) {
  sodium_memzero(other.bytes_.data(), other.bytes_.size());
}

Key::~Key() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

std::string Key::id_text() const {
  std::array<char, 2 * std::tuple_size_v<Id> + 1> hex{};
  sodium_bin2hex(hex.data(), hex.size(), id_.data(), id_.size());
  return hex.data();
}

Result<Key> Key::read(const std::string& path) {
  // Not blocking: a FIFO is refused, not waited for.
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    const int error = errno;
    return fail(error == EACCES ? ErrorKind::kDenied : ErrorKind::kInvalid,
                "reading the key file " + path + ": " + base::system_text(error), error);
  }
  if (auto good = check_key_file(path, info); !good) return tl::unexpected<Error>(good.error());
  Secret content(kLongestKeyFile);
  const ssize_t size = ::read(fd.get(), content.text().data(), content.text().size());
  Key key;
  key.path_ = path;
  key.owner_uid_ = info.st_uid;
  key.owner_gid_ = info.st_gid;
  const std::string_view text(content.text().data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  const std::size_t at = text.starts_with(kKeyWord) ? 0 : text.find(std::string("\n") + kKeyWord);
  if (at != std::string_view::npos) {
    std::string_view word = text.substr(at + (at == 0 ? 0 : 1) + std::strlen(kKeyWord));
    word = word.substr(0, word.find('\n'));
    std::size_t length = 0;
    const char* end = nullptr;
    if (sodium_base642bin(key.bytes_.data(), key.bytes_.size(), word.data(), word.size(), nullptr,
                          &length, &end, kBase64) == 0 &&
        length == kBytes && end == word.data() + word.size()) {
      crypto_generichash(key.id_.data(), key.id_.size(),
                         reinterpret_cast<const unsigned char*>("sublet key id"), 13,
                         key.bytes_.data(), key.bytes_.size());
      return key;
    }
  }
  return fail(ErrorKind::kInvalid,
              "the key file " + path + " holds no key; `sublet key new` makes one");
}

Result<void> Key::make(const std::string& path) {
  std::error_code ignored;
  const auto directory = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(directory.parent_path(), ignored);
  ::mkdir(directory.c_str(), 0700);
  base::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const int error = errno;
  if (!fd.valid() && error == EEXIST) {
    return fail(ErrorKind::kInvalid, path +
                                         " is there already; whoever uses that key would be locked "
                                         "out: remove it first, or name another file");
  }
  if (!fd.valid()) {
    return fail(ErrorKind::kInvalid,
                "making the key file " + path + ": " + base::system_text(error), error);
  }
  Secret bytes(kBytes);
  randombytes_buf(bytes.text().data(), kBytes);
  Secret encoded(sodium_base64_ENCODED_LEN(kBytes, kBase64));
  sodium_bin2base64(encoded.text().data(), encoded.text().size(),
                    reinterpret_cast<const unsigned char*>(bytes.text().data()), kBytes, kBase64);
  Secret content(0);
  content.text() =
      "# Whoever can read this file may lease cores, and run functions on them, as its owner.\n";
  content.text() += kKeyWord;
  content.text() += encoded.text().c_str();
  content.text() += "\n";
  const ssize_t written = ::write(fd.get(), content.text().data(), content.text().size());
  if (written == static_cast<ssize_t>(content.text().size()) && ::fsync(fd.get()) == 0) return {};
  const int why = errno;
  ::unlink(path.c_str());
  return fail(ErrorKind::kInvalid, "writing the key file " + path + ": " + base::system_text(why),
              why);
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
