#include <base/fd.hpp>
#include <base/system_text.hpp>
#include <wire/secret_file.hpp>

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

namespace sublet::wire {
namespace {

constexpr std::size_t kLongestSecretFile = 4096;
constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL;

/// Text that held a secret.
class SecretText {
 public:
  explicit SecretText(std::size_t bytes) : text_(bytes, '\0') {}
  ~SecretText() { sodium_memzero(text_.data(), text_.size()); }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  std::string& text() { return text_; }

 private:
  std::string text_;
};

Result<void> check_secret_file(const std::string& path, const SecretFileKind& kind,
                               const struct stat& info) {
  const std::string named = "the " + std::string(kind.what) + " " + path;
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::kInvalid, named + " is no regular file");
  if ((info.st_mode & 0077) != 0) {
    return fail(ErrorKind::kDenied,
                named +
                    " may be read or written by others; anybody could have the "
                    "key: " +
                    kind.advice + ", or, if nobody else has read it, `chmod 600 " + path + "`");
  }
  if (info.st_uid != ::geteuid() && info.st_uid != 0 && ::geteuid() != 0) {
    return fail(ErrorKind::kDenied, named + " belongs to uid " + std::to_string(info.st_uid) +
                                        "; this is uid " + std::to_string(::geteuid()) +
                                        ": use one of your own");
  }
  return {};
}

}  // namespace

SecretFile::SecretFile(SecretFile&& other) noexcept
    : bytes(other.bytes), uid(other.uid), gid(other.gid) {
  sodium_memzero(other.bytes.data(), other.bytes.size());
}

SecretFile::~SecretFile() {
  sodium_memzero(bytes.data(), bytes.size());
}

Result<SecretFile> SecretFile::read(const std::string& path, const SecretFileKind& kind) {
  // Not blocking: a FIFO is refused, not waited for.
  const base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    const int error = errno;
    return fail(
        error == EACCES ? ErrorKind::kDenied : ErrorKind::kInvalid,
        "reading the " + std::string(kind.what) + " " + path + ": " + base::system_text(error),
        error);
  }
  if (auto good = check_secret_file(path, kind, info); !good) {
    return tl::unexpected<Error>(good.error());
  }
  SecretText content(kLongestSecretFile);
  const ssize_t size = ::read(fd.get(), content.text().data(), content.text().size());
  const std::string_view text(content.text().data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  const std::size_t at = text.starts_with(kind.word) ? 0 : text.find("\n" + std::string(kind.word));
  if (at != std::string_view::npos) {
    std::string_view word = text.substr(at + (at == 0 ? 0 : 1) + std::strlen(kind.word));
    word = word.substr(0, word.find('\n'));
    SecretFile secret;
    secret.uid = info.st_uid;
    secret.gid = info.st_gid;
    std::size_t length = 0;
    const char* end = nullptr;
    if (sodium_base642bin(secret.bytes.data(), secret.bytes.size(), word.data(), word.size(),
                          nullptr, &length, &end, kBase64) == 0 &&
        length == kSecretBytes && end == word.data() + word.size()) {
      return secret;
    }
  }
  return fail(ErrorKind::kInvalid,
              "the " + std::string(kind.what) + " " + path + " holds no key; " + kind.advice);
}

Result<void> SecretFile::make(const std::string& path, const SecretFileKind& kind) {
  std::error_code ignored;
  const auto directory = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(directory.parent_path(), ignored);
  ::mkdir(directory.c_str(), 0700);
  // Whole from its first moment: another process may be looking for it.
  const std::string draft = path + "." + std::to_string(randombytes_random());
  const auto failed = [&](const char* doing, int error) {
    return fail(
        ErrorKind::kInvalid,
        doing + (" the " + std::string(kind.what)) + " " + path + ": " + base::system_text(error),
        error);
  };
  if (::access(path.c_str(), F_OK) == 0) return failed("making", EEXIST);
  const base::Fd fd(
      ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return failed("making", errno);
  SecretText bytes(kSecretBytes);
  randombytes_buf(bytes.text().data(), kSecretBytes);
  SecretText encoded(sodium_base64_ENCODED_LEN(kSecretBytes, kBase64));
  sodium_bin2base64(encoded.text().data(), encoded.text().size(),
                    reinterpret_cast<const unsigned char*>(bytes.text().data()), kSecretBytes,
                    kBase64);
  SecretText content(0);
  content.text() = kind.about;
  content.text() += kind.word;
  content.text() += encoded.text().c_str();
  content.text() += "\n";
  const ssize_t written = ::write(fd.get(), content.text().data(), content.text().size());
  const bool whole = written == static_cast<ssize_t>(content.text().size());
  const bool made = whole && ::fsync(fd.get()) == 0 && ::link(draft.c_str(), path.c_str()) == 0;
  const int why = whole ? errno : ENOSPC;
  ::unlink(draft.c_str());
  if (made) return {};
  return failed("writing", why);
}

}  // namespace sublet::wire
