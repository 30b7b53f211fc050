#include <executor/library/elf_functions.hpp>
#include <executor/library/elf_image.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace sublet::executor {
namespace {

constexpr std::string_view kInfoPrefix = "sublet_function_info_";
constexpr std::string_view kSection = "sublet_functions";
constexpr std::size_t kLongestName = kInfoPrefix.size() + wire::kMaxFunctionName;

/// More than any library has; a hostile one would make the list larger than itself.
constexpr std::size_t kMaxListed = 65536;

bool is_exported(const Elf64_Sym& symbol) {
  const unsigned binding = ELF64_ST_BIND(symbol.st_info);
  const unsigned visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  return symbol.st_shndx != SHN_UNDEF &&
         (binding == STB_GLOBAL || binding == STB_WEAK || binding == STB_GNU_UNIQUE) &&
         (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

/// Names reach terminals and JSON; a hostile library's may hold anything.
bool is_printable(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

void describe(ExportedFunction& function, const sublet_function_info& info) {
  function.typed = true;
  function.abi_version = info.abi_version;
  function.input_size = info.input_size;
  function.output_size = info.output_size;
}

void describe(ExportedFunction& function, std::span<const std::byte> info_bytes) {
  sublet_function_info info{};
  if (info_bytes.size() >= sizeof(info)) std::memcpy(&info, info_bytes.data(), sizeof(info));
  describe(function, info);
}

using Descriptions = std::map<std::string, sublet_function_info, std::less<>>;

/// The section is a row of descriptions, each followed by the function's name with its zero, and
/// aligned as they are.
void add_of_section(std::span<const std::byte> section, Descriptions& found) {
  constexpr std::size_t kAlign = alignof(sublet_function_info);
  sublet_function_info info{};
  while (section.size() > sizeof(info) && found.size() < kMaxListed) {
    std::memcpy(&info, section.data(), sizeof(info));
    if (info.abi_version == 0) {  // a linker's padding
      section = section.subspan(kAlign);
      continue;
    }
    const auto rest = section.subspan(sizeof(info));
    const auto* text = reinterpret_cast<const char*>(rest.data());
    const std::string_view name(text, ::strnlen(text, std::min(rest.size(), kLongestName)));
    found.emplace(name, info);
    const std::size_t size = (sizeof(info) + name.size() + 1 + kAlign - 1) / kAlign * kAlign;
    section = section.subspan(std::min(size, section.size()));
  }
}

/// Companions that somebody has written by hand, and a version script hides: the symbols that are
/// left of them for debuggers, unless the library is stripped.
void add_for_debuggers(const ElfImage& image, Descriptions& found) {
  const auto symbols = image.section(".symtab");
  const auto strings = image.section(".strtab");
  for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size(); at += sizeof(Elf64_Sym)) {
    Elf64_Sym symbol;
    std::memcpy(&symbol, symbols.data() + at, sizeof(symbol));
    if (symbol.st_shndx == SHN_UNDEF || found.size() >= kMaxListed) continue;
    const auto name = ElfImage::text_at(strings, symbol.st_name, kLongestName);
    if (!name || !name->starts_with(kInfoPrefix)) continue;
    sublet_function_info info{};  // one that cannot be read has a version that is refused
    const auto bytes = image.at_address(symbol.st_value, sizeof(info));
    if (bytes.size() == sizeof(info)) std::memcpy(&info, bytes.data(), sizeof(info));
    found.emplace(name->substr(kInfoPrefix.size()), info);
  }
}

/// Of functions whose companion symbol may be hidden.
Descriptions hidden_descriptions(const ElfImage& image) {
  Descriptions found;
  add_of_section(image.section(kSection), found);
  add_for_debuggers(image, found);
  return found;
}

}  // namespace

Result<void> check_library(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  return {};
}

Result<void> check_program(std::span<const std::byte> bytes) {
  return ElfImage::check_program(bytes);
}

Result<LibraryNeeds> library_needs(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  if (auto found = image->find_symbols(); !found) return tl::unexpected<Error>(found.error());
  return LibraryNeeds{image->needed(), image->run_path()};
}

const char* sanitizer_flag(std::string_view needed) noexcept {
  struct Sanitizer {
    std::string_view runtime;
    const char* flag;
  };
  constexpr std::array<Sanitizer, 5> kSanitizers{{{"libasan.so", "-fsanitize=address"},
                                                  {"libtsan.so", "-fsanitize=thread"},
                                                  {"liblsan.so", "-fsanitize=leak"},
                                                  {"libhwasan.so", "-fsanitize=hwaddress"},
                                                  {"libclang_rt.", "-fsanitize"}}};
  for (const Sanitizer& sanitizer : kSanitizers) {
    if (needed.starts_with(sanitizer.runtime)) return sanitizer.flag;
  }
  return nullptr;
}

std::optional<sublet_function_info> hidden_description(std::span<const std::byte> bytes,
                                                       std::string_view function) {
  const auto image = ElfImage::open(bytes);
  if (!image) return std::nullopt;
  const Descriptions found = hidden_descriptions(*image);
  const auto description = found.find(function);
  if (description == found.end()) return std::nullopt;
  return description->second;
}

std::string image_named_in(std::span<const std::byte> bytes) {
  constexpr std::string_view kImageSection = "sublet_image";
  constexpr std::size_t kMostName = 256;
  const auto section = ElfImage::of_checked(bytes).section(kImageSection);
  return std::string(ElfImage::text_at(section, 0, kMostName).value_or(std::string_view()));
}

std::vector<std::size_t> unique_symbols(std::span<const std::byte> bytes) {
  std::vector<std::size_t> offsets;
  auto image = ElfImage::open(bytes);
  if (!image || !image->find_symbols()) return offsets;
  for (std::uint64_t i = 0; i < image->symbol_count(); ++i) {
    if (ELF64_ST_BIND(image->symbol(i).st_info) == STB_GNU_UNIQUE) {
      offsets.push_back(image->symbol_offset(i));
    }
  }
  return offsets;
}

Result<std::vector<ExportedFunction>> elf_functions(std::span<const std::byte> bytes) {
  auto image = ElfImage::open(bytes);
  if (!image) return tl::unexpected<Error>(image.error());
  if (auto found = image->find_symbols(); !found) return tl::unexpected<Error>(found.error());

  std::map<std::string, ExportedFunction, std::less<>> functions;
  std::map<std::string, std::uint64_t, std::less<>> infos;  // function name to address
  for (std::uint64_t i = 0; i < image->symbol_count(); ++i) {
    const Elf64_Sym symbol = image->symbol(i);
    if (!is_exported(symbol)) continue;
    const auto name = image->name(symbol, kLongestName);
    if (!name || name->empty() || name->front() == '_' || !is_printable(*name)) continue;
    const unsigned type = ELF64_ST_TYPE(symbol.st_info);
    if (functions.size() >= kMaxListed || infos.size() >= kMaxListed) break;
    if (type == STT_OBJECT && name->starts_with(kInfoPrefix)) {
      infos.emplace(name->substr(kInfoPrefix.size()), symbol.st_value);
    } else if ((type == STT_FUNC || type == STT_GNU_IFUNC) &&
               name->size() <= wire::kMaxFunctionName) {
      functions.emplace(*name, ExportedFunction{.name = std::string(*name)});
    }
  }
  const Descriptions hidden = hidden_descriptions(*image);
  std::vector<ExportedFunction> list;
  list.reserve(functions.size());
  for (auto& [name, function] : functions) {
    if (const auto info = infos.find(name); info != infos.end()) {
      describe(function, image->at_address(info->second, sizeof(sublet_function_info)));
    } else if (const auto described = hidden.find(name); described != hidden.end()) {
      describe(function, described->second);
    }
    list.push_back(std::move(function));
  }
  return list;
}

}  // namespace sublet::executor
