#include <base/function_records.hpp>

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <map>
#include <memory>

namespace sublet::base {
namespace {

constexpr std::size_t kKeyDigits = 16;
constexpr std::size_t kMostNameBytes = 255 - kKeyDigits - 1;

/// FNV-1a: the same in every process, unlike std::hash.
void add_to(std::uint64_t& hash, std::string_view text) noexcept {
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  hash *= 0x100000001b3u;  // an end of its own
}

/// The file name of the shared object that has the function; empty for the program itself, which
/// has another name in an executor.
std::string_view object_of(const sublet_function_record& record) {
  Dl_info info{};
  link_map* map = nullptr;
  auto* const address = reinterpret_cast<void*>(record.run);
  if (::dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 ||
      map == nullptr || map->l_name == nullptr) {
    return {};
  }
  const std::string_view path = map->l_name;
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

/// Of "sublet::detail::Target<Bare, Arguments<...>>" what stands for the function.
std::string readable(const char* mangled) {
  std::string text = demangled(mangled);
  constexpr std::string_view kBefore = "sublet::detail::Target<";
  constexpr std::string_view kAfter = ", sublet::detail::Arguments<";
  constexpr std::string_view kConstant = "sublet::detail::Constant<";
  if (text.starts_with(kBefore)) text.erase(0, kBefore.size());
  if (const auto end = text.rfind(kAfter); end != std::string::npos) text.erase(end);
  if (text.starts_with(kConstant)) {
    text.erase(0, kConstant.size());
    while (!text.empty() && (text.back() == '>' || text.back() == ' ')) text.pop_back();
    if (text.starts_with("&")) text.erase(0, 1);
    if (text.starts_with("(") && text.ends_with(")")) text = text.substr(1, text.size() - 2);
  }
  return text;
}

}  // namespace

std::uint64_t record_key(const sublet_function_record& record) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  add_to(hash, record.name);
  add_to(hash, object_of(record));
  return hash;
}

std::string record_name(const sublet_function_record& record) {
  std::array<char, kKeyDigits> digits{};
  const std::uint64_t key = record_key(record);
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), key, 16).ptr;
  const std::string_view hex(digits.data(), static_cast<std::size_t>(end - digits.data()));
  std::string name = readable(record.name);
  if (name.size() > kMostNameBytes) name.replace(kMostNameBytes - 3, std::string::npos, "...");
  return name + "#" + std::string(kKeyDigits - hex.size(), '0') + std::string(hex);
}

std::string_view name_for_people(std::string_view record_name) noexcept {
  return record_name.substr(0, record_name.rfind('#'));
}

const sublet_function_record* find_record(const sublet_function_record* first,
                                          std::string_view record_name) {
  const std::string_view digits = record_name.substr(record_name.rfind('#') + 1);
  std::uint64_t key = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), key, 16);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) {
    return nullptr;
  }
  for (const auto* record = first; record != nullptr; record = record->next) {
    if (record_key(*record) == key) return record;
  }
  return nullptr;
}

Result<void> check_records(const sublet_function_record* first) {
  std::map<std::uint64_t, const sublet_function_record*> known;
  for (const auto* record = first; record != nullptr; record = record->next) {
    if (record->version != SUBLET_FUNCTION_RECORD_VERSION) {
      return fail(ErrorKind::kUnsupported,
                  "the function '" + readable(record->name) + "' is recorded in version " +
                      std::to_string(record->version) + " of the interface, this Sublet has " +
                      std::to_string(SUBLET_FUNCTION_RECORD_VERSION) +
                      ": build the program and its shared objects with the same Sublet");
    }
    const auto [entry, is_new] = known.emplace(record_key(*record), record);
    if (!is_new && entry->second->run != record->run) {
      return fail(
          ErrorKind::kAmbiguous,
          "two different functions are called '" + readable(record->name) +
              "', and a call could reach the wrong one: give one of them (or the function "
              "that its lambda is in) another name, or put it into a namespace with a name");
    }
  }
  return {};
}

}  // namespace sublet::base
