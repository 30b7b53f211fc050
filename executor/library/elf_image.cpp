#include <executor/library/elf_image.hpp>

#include <algorithm>
#include <bit>
#include <string>

namespace sublet::executor {
namespace {

static_assert(std::endian::native == std::endian::little,
              "a big-endian machine needs its own idea of a wrong byte order");

/// Program headers of real libraries are about ten.
constexpr std::size_t kMaxSegments = 1024;
constexpr std::size_t kMaxDynamicEntries = 65536;
/// Of the name of a library that is needed, and of a list of directories.
constexpr std::size_t kMaxNeed = 4096;

tl::unexpected<Error> bad(const std::string& text) {
  return fail(ErrorKind::kInvalid, text);
}

bool is_pie(const std::vector<Elf64_Dyn>& dynamic) {
  return std::any_of(dynamic.begin(), dynamic.end(), [](const Elf64_Dyn& entry) {
    return entry.d_tag == DT_FLAGS_1 && (entry.d_un.d_val & DF_1_PIE) != 0;
  });
}

std::string machine_name(unsigned machine, bool is_64_bit) {
  switch (machine) {
    case EM_X86_64:
      return is_64_bit ? "x86-64" : "x32 (x86-64 with 32-bit pointers)";
    case EM_386:
      return "32-bit x86";
    case EM_AARCH64:
      return "AArch64";
    case EM_ARM:
      return "32-bit ARM";
    case EM_PPC64:
      return "POWER (64-bit)";
    case EM_PPC:
      return "PowerPC (32-bit)";
    case EM_RISCV:
      return is_64_bit ? "RISC-V (64-bit)" : "RISC-V (32-bit)";
    case EM_S390:
      return "s390x";
    case EM_SPARCV9:
      return "SPARC V9";
    case EM_MIPS:
      return "MIPS";
    case EM_IA_64:
      return "Itanium";
    case EM_CUDA:
      return "NVIDIA CUDA";
    default:
      return "ELF machine " + std::to_string(machine);
  }
}

std::string cut_text(std::size_t size, const std::string& before) {
  return "the library is cut: it has " + std::to_string(size) + " bytes and ends before its " +
         before;
}

/// The first bytes, before anything that depends on class and byte order.
Result<void> check_identity(std::span<const std::byte> bytes) {
  constexpr std::size_t kMachineAt = offsetof(Elf64_Ehdr, e_machine);  // the same in 32-bit files
  static_assert(offsetof(Elf32_Ehdr, e_machine) == kMachineAt);
  if (bytes.size() < SELFMAG || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) {
    return bad(bytes.empty() ? "the library is empty"
                             : "the library is no ELF file (it does not begin with \\x7fELF)");
  }
  if (bytes.size() < kMachineAt + 2) return bad(cut_text(bytes.size(), "header's end"));
  const auto byte = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  const bool big = byte(EI_DATA) == ELFDATA2MSB;
  const unsigned machine = big ? byte(kMachineAt) << 8 | byte(kMachineAt + 1)
                               : byte(kMachineAt + 1) << 8 | byte(kMachineAt);
  const bool is_64_bit = byte(EI_CLASS) == ELFCLASS64;
  if (machine != kNativeMachine || !is_64_bit) {
    return bad("the library is built for " + machine_name(machine, is_64_bit) + ", this node is " +
               machine_name(kNativeMachine, true));
  }
  if (byte(EI_DATA) != ELFDATA2LSB) {
    return bad(
        "the library is built for the other byte order (big-endian), this node is "
        "little-endian");
  }
  if (byte(EI_VERSION) != EV_CURRENT) return bad("the library has an unknown version of ELF");
  return {};
}

}  // namespace

Result<ElfImage> ElfImage::open(std::span<const std::byte> bytes) {
  if (auto identity = check_identity(bytes); !identity) {
    return tl::unexpected<Error>(identity.error());
  }
  ElfImage image(bytes);
  const auto header = read<Elf64_Ehdr>(bytes, 0);
  if (!header) return bad(cut_text(bytes.size(), "header's end"));
  switch (header->e_type) {
    case ET_DYN:
      break;
    case ET_EXEC:
      return bad("this is an executable program, not a shared object");
    case ET_REL:
      return bad("this is an object file, not a shared object; link it with -shared");
    case ET_CORE:
      return bad("this is a core dump, not a shared object");
    default:
      return bad("this is no shared object (ELF type " + std::to_string(header->e_type) + ")");
  }
  // Nothing here reads the section headers, but they end the file: a library that was cut anywhere
  // lacks them.
  const std::uint64_t sections_size = std::uint64_t{header->e_shnum} * header->e_shentsize;
  if (header->e_shoff > bytes.size() || sections_size > bytes.size() - header->e_shoff) {
    return bad(cut_text(bytes.size(), "section headers"));
  }
  if (auto read = image.read_program_headers(*header); !read) {
    return tl::unexpected<Error>(read.error());
  }
  auto dynamic = image.dynamic_entries();
  if (!dynamic) return tl::unexpected<Error>(dynamic.error());
  if (is_pie(*dynamic)) {
    return bad("this is an executable program, not a shared object; link it with -shared");
  }
  return image;
}

Result<void> ElfImage::check_program(std::span<const std::byte> bytes) {
  if (auto identity = check_identity(bytes); !identity) {
    return fail(ErrorKind::kNoApplication,
                std::string("the application cannot be run: ") + identity.error().what());
  }
  ElfImage image(bytes);
  const auto header = read<Elf64_Ehdr>(bytes, 0);
  if (!header || (header->e_type != ET_EXEC && header->e_type != ET_DYN)) {
    return fail(ErrorKind::kNoApplication,
                "the application cannot be run: it is no executable program");
  }
  if (auto read = image.read_program_headers(*header); !read) return read;
  if (!image.has_interpreter_ && header->e_type == ET_DYN) {
    auto dynamic = image.dynamic_entries();
    if (!dynamic) return tl::unexpected<Error>(dynamic.error());
    if (!is_pie(*dynamic)) {
      return fail(ErrorKind::kNoApplication,
                  "the application cannot be run: it is a shared object, not a program");
    }
  }
  if (!image.has_interpreter_) {
    return fail(
        ErrorKind::kStaticProgram,
        "the application cannot be run: it is linked statically, so that executors cannot take its "
        "main()'s place; link it dynamically");
  }
  return {};
}

Result<void> ElfImage::read_program_headers(const Elf64_Ehdr& header) {
  if (header.e_phnum == 0 || header.e_phentsize != sizeof(Elf64_Phdr) ||
      header.e_phnum > kMaxSegments) {
    return bad("the library has no usable program headers");
  }
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    const std::uint64_t within = i * sizeof(Elf64_Phdr);
    const auto segment = header.e_phoff > bytes_.size()
                             ? std::nullopt
                             : read<Elf64_Phdr>(bytes_, header.e_phoff + within);
    if (!segment) return bad(cut_text(bytes_.size(), "program headers"));
    if (segment->p_type == PT_INTERP) has_interpreter_ = true;
    const bool used = segment->p_type == PT_LOAD || segment->p_type == PT_DYNAMIC;
    if (!used) continue;
    if (segment->p_offset > bytes_.size() ||
        segment->p_filesz > bytes_.size() - segment->p_offset) {
      return bad(cut_text(bytes_.size(), "segments' end"));
    }
    segments_.push_back(*segment);
  }
  return {};
}

Result<std::vector<Elf64_Dyn>> ElfImage::dynamic_entries() const {
  const auto dynamic = std::find_if(segments_.begin(), segments_.end(),
                                    [](const Elf64_Phdr& s) { return s.p_type == PT_DYNAMIC; });
  if (dynamic == segments_.end()) {
    return bad("this is a statically linked program, not a shared object");
  }
  const auto section = bytes_.subspan(dynamic->p_offset, dynamic->p_filesz);
  std::vector<Elf64_Dyn> entries;
  for (std::size_t i = 0; i < kMaxDynamicEntries; ++i) {
    const auto entry = read<Elf64_Dyn>(section, i * sizeof(Elf64_Dyn));
    if (!entry || entry->d_tag == DT_NULL) break;
    entries.push_back(*entry);
  }
  return entries;
}

std::span<const std::byte> ElfImage::at_address(std::uint64_t address,
                                                std::uint64_t size) const noexcept {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD || address < segment.p_vaddr) continue;
    const std::uint64_t within = address - segment.p_vaddr;
    if (within >= segment.p_filesz) continue;
    // In range of the file: read_program_headers has checked the segment.
    return bytes_.subspan(segment.p_offset + within,
                          std::min<std::uint64_t>(size, segment.p_filesz - within));
  }
  return {};
}

/// The table says how long it is only by its chains: the last symbol is the one at which the chain
/// of the highest bucket ends.
std::optional<std::uint64_t> ElfImage::count_by_gnu_hash(std::uint64_t address) const noexcept {
  const auto table = at_address(address, ~std::uint64_t{0});
  const auto buckets = read<std::uint32_t>(table, 0);
  const auto first_hashed = read<std::uint32_t>(table, 4);
  const auto bloom_words = read<std::uint32_t>(table, 8);
  if (!buckets || !first_hashed || !bloom_words) return std::nullopt;
  const std::uint64_t buckets_at = 16 + std::uint64_t{*bloom_words} * 8;
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < *buckets; ++i) {
    const auto symbol = read<std::uint32_t>(table, buckets_at + i * 4);
    if (!symbol) return std::nullopt;
    last = std::max<std::uint64_t>(last, *symbol);
  }
  if (last < *first_hashed) return *first_hashed;  // none is exported
  const std::uint64_t chains_at = buckets_at + std::uint64_t{*buckets} * 4;
  for (;; ++last) {
    const auto hash = read<std::uint32_t>(table, chains_at + (last - *first_hashed) * 4);
    if (!hash) return std::nullopt;
    if ((*hash & 1) != 0) return last + 1;
  }
}

Result<void> ElfImage::find_symbols() {
  auto dynamic = dynamic_entries();
  if (!dynamic) return tl::unexpected<Error>(dynamic.error());
  std::optional<std::uint64_t> symbols;
  std::optional<std::uint64_t> strings;
  std::optional<std::uint64_t> hash;
  std::optional<std::uint64_t> gnu_hash;
  std::uint64_t strings_size = 0;
  for (const Elf64_Dyn& entry : *dynamic) {
    if (entry.d_tag == DT_SYMTAB) symbols = entry.d_un.d_ptr;
    if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
    if (entry.d_tag == DT_HASH) hash = entry.d_un.d_ptr;
    if (entry.d_tag == DT_GNU_HASH) gnu_hash = entry.d_un.d_ptr;
    if (entry.d_tag == DT_STRSZ) strings_size = entry.d_un.d_val;
    if (entry.d_tag == DT_SYMENT && entry.d_un.d_val != sizeof(Elf64_Sym)) {
      return bad("the library's symbols have an unknown format");
    }
  }
  if (strings) {
    strings_ = at_address(*strings, strings_size);
    read_needs(*dynamic);
  }
  if (!symbols || !strings || (!hash && !gnu_hash)) return {};
  std::optional<std::uint64_t> count;
  if (gnu_hash) {
    count = count_by_gnu_hash(*gnu_hash);
  } else if (const auto chains = read<std::uint32_t>(at_address(*hash, 8), 4)) {
    count = *chains;
  }
  if (!count) return bad("the library's symbol hash table is damaged");
  symbols_ = at_address(*symbols, *count * sizeof(Elf64_Sym));
  if (symbols_.size() != *count * sizeof(Elf64_Sym) || strings_.size() != strings_size) {
    return bad("the library's symbol table is damaged");
  }
  symbol_count_ = *count;
  return {};
}

Elf64_Sym ElfImage::symbol(std::uint64_t i) const noexcept {
  Elf64_Sym symbol;
  std::memcpy(&symbol, symbols_.data() + i * sizeof(Elf64_Sym), sizeof(Elf64_Sym));
  return symbol;
}

std::optional<std::string_view> ElfImage::text_at(std::span<const std::byte> strings,
                                                  std::uint64_t at,
                                                  std::size_t max_length) noexcept {
  if (at >= strings.size()) return std::nullopt;
  const auto rest = strings.subspan(at, std::min(max_length + 1, strings.size() - at));
  const void* end = std::memchr(rest.data(), 0, rest.size());
  if (end == nullptr) return std::nullopt;
  const char* begin = reinterpret_cast<const char*>(rest.data());
  return std::string_view(begin, static_cast<std::size_t>(static_cast<const char*>(end) - begin));
}

void ElfImage::read_needs(const std::vector<Elf64_Dyn>& dynamic) {
  for (const Elf64_Dyn& entry : dynamic) {
    const bool path = entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH;
    if (!path && entry.d_tag != DT_NEEDED) continue;
    const auto text = text_at(strings_, entry.d_un.d_val, kMaxNeed);
    if (!text) continue;
    if (path) {
      run_path_ = *text;
    } else {
      needed_.emplace_back(*text);
    }
  }
}

std::span<const std::byte> ElfImage::section(std::string_view name) const noexcept {
  const auto header = read<Elf64_Ehdr>(bytes_, 0);
  if (!header || header->e_shentsize != sizeof(Elf64_Shdr)) return {};
  const auto at = [&](std::uint64_t i) {
    return read<Elf64_Shdr>(bytes_, header->e_shoff + i * sizeof(Elf64_Shdr));
  };
  const auto content = [&](const Elf64_Shdr& section) -> std::span<const std::byte> {
    if (section.sh_type == SHT_NOBITS || section.sh_offset > bytes_.size()) return {};
    return bytes_.subspan(section.sh_offset,
                          std::min(section.sh_size, bytes_.size() - section.sh_offset));
  };
  const auto names = at(header->e_shstrndx);
  if (header->e_shstrndx >= header->e_shnum || !names) return {};
  for (std::uint64_t i = 0; i < header->e_shnum; ++i) {
    const auto section = at(i);
    if (section && text_at(content(*names), section->sh_name, name.size()) == name) {
      return content(*section);
    }
  }
  return {};
}

}  // namespace sublet::executor
