#pragma once

// Private to executor/library: reading an ELF file that may be anything.

#include <sublet/result.hpp>

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::executor {

#if defined(__aarch64__)
inline constexpr unsigned kNativeMachine = EM_AARCH64;
#elif defined(__x86_64__)
inline constexpr unsigned kNativeMachine = EM_X86_64;
#elif defined(__powerpc64__)
inline constexpr unsigned kNativeMachine = EM_PPC64;
#elif defined(__riscv)
inline constexpr unsigned kNativeMachine = EM_RISCV;
#else
#error "teach elf_image.hpp the machine of this architecture"
#endif

/// The parts of a 64-bit shared object that its loader looks at: program headers, and through them
/// the dynamic section's symbols. Section headers are not needed (stripped libraries lack some).
/// Owner: the caller keeps the bytes alive.
class ElfImage {
 public:
  /// Checks the header and the program headers.
  static Result<ElfImage> open(std::span<const std::byte> bytes);

  /// Of a library or a program that has been checked: for section() alone.
  static ElfImage of_checked(std::span<const std::byte> bytes) { return ElfImage(bytes); }

  /// Of a program: its machine, and that it names its dynamic linker.
  static Result<void> check_program(std::span<const std::byte> bytes);

  /// Finds the symbols. A library without any has none: no error.
  Result<void> find_symbols();

  [[nodiscard]] std::uint64_t symbol_count() const noexcept { return symbol_count_; }
  /// `i` below symbol_count().
  [[nodiscard]] Elf64_Sym symbol(std::uint64_t i) const noexcept;
  /// Nothing when the name lies outside of the string table or has no end within `max_length`.
  [[nodiscard]] std::optional<std::string_view> name(const Elf64_Sym& symbol,
                                                     std::size_t max_length) const noexcept {
    return text_at(strings_, symbol.st_name, max_length);
  }

  /// Where symbol `i` lies in the file.
  [[nodiscard]] std::size_t symbol_offset(std::uint64_t i) const noexcept {
    return static_cast<std::size_t>(symbols_.data() - bytes_.data()) + i * sizeof(Elf64_Sym);
  }
  /// After find_symbols: the libraries that it needs, and where it says that they are (RUNPATH or
  /// RPATH).
  [[nodiscard]] const std::vector<std::string>& needed() const noexcept { return needed_; }
  [[nodiscard]] const std::string& run_path() const noexcept { return run_path_; }

  /// The content of a section; nothing when there is none of that name, or no section headers (they
  /// can be stripped).
  [[nodiscard]] std::span<const std::byte> section(std::string_view name) const noexcept;

  /// The text that begins there; nothing when it has no end within `max_length`.
  [[nodiscard]] static std::optional<std::string_view> text_at(std::span<const std::byte> strings,
                                                               std::uint64_t at,
                                                               std::size_t max_length) noexcept;

  /// The bytes of the file that are loaded at `address`, as many as there are up to `size`.
  [[nodiscard]] std::span<const std::byte> at_address(std::uint64_t address,
                                                      std::uint64_t size) const noexcept;

 private:
  explicit ElfImage(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Result<void> read_program_headers(const Elf64_Ehdr& header);
  Result<std::vector<Elf64_Dyn>> dynamic_entries() const;
  void read_needs(const std::vector<Elf64_Dyn>& dynamic);
  [[nodiscard]] std::optional<std::uint64_t> count_by_gnu_hash(
      std::uint64_t address) const noexcept;

  /// A copy of the T at `offset`; nothing when the file ends before. The file's own alignment is
  /// not to be relied on.
  template <class T>
  [[nodiscard]] static std::optional<T> read(std::span<const std::byte> bytes,
                                             std::uint64_t offset) noexcept {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
  }

  std::span<const std::byte> bytes_;
  std::vector<Elf64_Phdr> segments_;
  std::span<const std::byte> symbols_;
  std::span<const std::byte> strings_;
  std::uint64_t symbol_count_ = 0;
  bool has_interpreter_ = false;
  std::vector<std::string> needed_;
  std::string run_path_;
};

}  // namespace sublet::executor
