#include <web/limits.hpp>
#include <web/request_target.hpp>

#include <optional>

namespace sublet::manager::web {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Nothing: it is encoded wrongly, or has control characters.
std::optional<std::string> decoded(std::string_view text, bool plus_is_space) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    plain += c;
  }
  return plain;
}

std::string_view take_until(std::string_view& text, char end) {
  const std::size_t at = text.find(end);
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return part;
}

tl::unexpected<Error> malformed(const std::string& why) {
  return fail(ErrorKind::kInvalid, "the address of the request " + why);
}

}  // namespace

Result<RequestTarget> RequestTarget::parse(std::string_view text) {
  if (text.size() > kMaxTarget) {
    return malformed("has more than " + std::to_string(kMaxTarget) + " bytes");
  }
  if (!text.starts_with('/')) return malformed("must begin with /");
  RequestTarget target;
  std::string_view query = text.substr(0, text.find('#'));
  std::string_view path = take_until(query, '?');
  path.remove_prefix(1);
  while (!path.empty()) {
    auto part = decoded(take_until(path, '/'), false);
    if (!part || part->empty() || part->size() > kMaxSegment) {
      return malformed("has a part that is empty, too long or encoded wrongly");
    }
    target.path.push_back(std::move(*part));
  }
  while (!query.empty()) {
    std::string_view value = take_until(query, '&');
    auto name = decoded(take_until(value, '='), true);
    auto decoded_value = decoded(value, true);
    if (!name || !decoded_value) return malformed("has a query that is encoded wrongly");
    target.query.insert_or_assign(std::move(*name), std::move(*decoded_value));
    if (target.query.size() > kMaxQuery) {
      return malformed("has a query of more than " + std::to_string(kMaxQuery) + " names");
    }
  }
  return target;
}

std::string RequestTarget::value(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

}  // namespace sublet::manager::web
