#pragma once

#include <common/auth/caller.hpp>
#include <sublet/result.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager::web {

// clang-format off
/// Who asks over HTTP, and whether he may ask at all.
///
/// RULE  A caller is, the first of these that is so:
///         - the owner of the token file whose token the request has (Authorization: Bearer ...);
///         - the user whose process is at the other end, over a Unix socket or on this node's
///           loopback interface, unless a proxy says that it asks for somebody else;
///         - nobody that is proved.
///       What a caller may do is `authorize`'s to say (common/auth), as for everybody. What changes
///       anything needs the token on top, because browsers send all else along for other sites.
/// HOST  Names that only this node or an operator can have given it, and numeric addresses: a page
///       of another site, whose name was made to lead here, is refused (DNS rebinding).
// clang-format on
/// Owner: the web server. A value; no I/O but in load().
class WebAccess {
 public:
  static constexpr std::size_t kTokenBytes = 32;

  /// A token, and whose rights it gives.
  struct Token {
    std::array<unsigned char, kTokenBytes> bytes{};
    std::uint32_t uid = kUnknownUid;
  };

  /// Names this node's own name and `hosts`. kDenied when others may read a token file; kInvalid
  /// when it holds no token, or there are too many.
  static Result<WebAccess> load(const std::vector<std::string>& token_files,
                                const std::vector<std::string>& hosts);

  WebAccess() = default;
  WebAccess(std::vector<Token> tokens, std::set<std::string> hosts)
      : tokens_(std::move(tokens)), hosts_(std::move(hosts)) {}

  [[nodiscard]] bool has_tokens() const { return !tokens_.empty(); }

  /// What a request says of itself, as far as it counts here. Empty: it says nothing.
  struct Claims {
    std::string_view host;
    std::string_view authorization;
    std::string_view origin;
    std::string_view fetch_site;  ///< What a browser says of the page that asks.
    bool via_proxy = false;       ///< It asks for somebody else, as it says.
    bool over_unix = false;
  };
  struct Asker {
    Caller caller;
    bool by_token = false;
  };
  /// `at_socket` is who is at the other end of the connection. kDenied: the token is none of ours.
  [[nodiscard]] Result<Asker> asker(const Caller& at_socket, const Claims& claims) const;

  /// kInvalid: it asks for another host.
  [[nodiscard]] Result<void> check_host(const Claims& claims) const;
  /// kDenied: a page of another site asks.
  [[nodiscard]] static Result<void> check_origin(const Claims& claims);

 private:
  std::vector<Token> tokens_;
  std::set<std::string> hosts_;  ///< In small letters.
};

}  // namespace sublet::manager::web
