#include <wire/secret_file.hpp>

#include <arpa/inet.h>
#include <sodium.h>
#include <unistd.h>
#include <web/limits.hpp>
#include <web/web_access.hpp>

#include <algorithm>
#include <cctype>

namespace sublet::manager::web {
namespace {

/// Nothing but the token is in it, so that other programs can read it too.
constexpr wire::SecretFileKind kTokenFile{
    .what = "HTTP token file",
    .word = "",
    .about = "",
    .advice = "`(umask 077; head -c 32 /dev/urandom | base64 > FILE)` makes one"};
static_assert(WebAccess::kTokenBytes == wire::kSecretBytes);

std::string in_small_letters(std::string_view text) {
  std::string small(text);
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return small;
}

/// "name:80" and "[::1]:80" without the port; empty when it is neither.
std::string host_part(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end == std::string_view::npos ? std::string() : std::string(host.substr(1, end - 1));
  }
  return in_small_letters(host.substr(0, host.find(':')));
}

bool is_numeric(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

std::string own_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return in_small_letters(name.data());
}

}  // namespace

Result<WebAccess> WebAccess::load(const std::vector<std::string>& token_files,
                                  const std::vector<std::string>& hosts) {
  if (token_files.size() > kMaxTokenFiles || hosts.size() > kMaxHostNames) {
    return fail(ErrorKind::kInvalid, "there may be " + std::to_string(kMaxTokenFiles) +
                                         " --http-token-file and " + std::to_string(kMaxHostNames) +
                                         " --http-host at most");
  }
  WebAccess access;
  for (const std::string& path : token_files) {
    auto secret = wire::SecretFile::read(path, kTokenFile);
    if (!secret) return tl::unexpected<Error>(std::move(secret.error()));
    access.tokens_.push_back({secret->bytes, secret->uid});
  }
  for (const std::string& host : hosts) access.hosts_.insert(in_small_letters(host));
  access.hosts_.insert("localhost");
  if (const std::string name = own_name(); !name.empty()) {
    access.hosts_.insert(name);
    access.hosts_.insert(name.substr(0, name.find('.')));
  }
  return access;
}

Result<WebAccess::Asker> WebAccess::asker(const Caller& at_socket, const Claims& claims) const {
  if (claims.authorization.empty()) {
    if (!claims.via_proxy) return Asker{at_socket, false};
    return Asker{{.uid = kUnknownUid,
                  .gid = kUnknownGid,
                  .pid = 0,
                  .host = "behind a proxy",
                  .proof = Proof::kNone},
                 false};
  }
  constexpr std::string_view kScheme = "bearer ";
  std::string_view text = claims.authorization;
  std::array<unsigned char, kTokenBytes> bytes{};
  std::size_t length = 0;
  const char* end = nullptr;
  const bool is_token = text.size() > kScheme.size() &&
                        in_small_letters(text.substr(0, kScheme.size())) == kScheme &&
                        sodium_base642bin(bytes.data(), bytes.size(), text.data() + kScheme.size(),
                                          text.size() - kScheme.size(), nullptr, &length, &end,
                                          sodium_base64_VARIANT_ORIGINAL) == 0 &&
                        length == kTokenBytes && end == text.data() + text.size();
  std::optional<std::uint32_t> uid;
  for (const Token& token : tokens_) {  // all of them: time says nothing of the first bytes
    if (sodium_memcmp(token.bytes.data(), bytes.data(), kTokenBytes) == 0) uid = token.uid;
  }
  sodium_memzero(bytes.data(), bytes.size());
  if (!is_token || !uid) {
    return fail(ErrorKind::kDenied,
                "the token of the request is none that this resource manager knows; it must be "
                "what a file named by --http-token-file holds");
  }
  return Asker{{.uid = *uid,
                .gid = kUnknownGid,
                .pid = 0,
                .host = at_socket.host.empty() ? "this node" : at_socket.host,
                .proof = Proof::kKey},
               true};
}

Result<void> WebAccess::check_host(const Claims& claims) const {
  if (claims.over_unix) return {};  // no browser connects there
  if (claims.host.empty()) return fail(ErrorKind::kInvalid, "the request names no Host");
  const std::string host = host_part(claims.host);
  if (is_numeric(host) || hosts_.contains(host)) return {};
  return fail(ErrorKind::kInvalid,
              "the request is for another host than this one; --http-host names those that this "
              "one has beside its own name");
}

Result<void> WebAccess::check_origin(const Claims& claims) {
  const bool foreign_site = claims.fetch_site == "cross-site" || claims.fetch_site == "same-site";
  bool foreign_origin = false;
  if (!claims.origin.empty()) {
    const std::size_t at = claims.origin.find("://");
    foreign_origin =
        at == std::string_view::npos ||
        in_small_letters(claims.origin.substr(at + 3)) != in_small_letters(claims.host);
  }
  if (!foreign_site && !foreign_origin) return {};
  return fail(ErrorKind::kDenied, "a page of another site asks; only this one's own may");
}

}  // namespace sublet::manager::web
